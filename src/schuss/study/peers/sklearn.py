"""scikit-learn: `MLPClassifier.partial_fit`, which is one epoch; on float32 data it computes in float32."""

from __future__ import annotations

from typing import Any

import sklearn
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_info

import schuss
from schuss.study.work import Work

__all__ = ["PartialFit"]


class PartialFit:
    """It shuffles by itself when timed."""

    shuffles = True
    compiles_epochs = False

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        self.X, self.y = X, y
        self.model = MLPClassifier(
            work.layers[1:-1],
            activation=work.activation,
            solver=work.optimizer,
            alpha=0,
            batch_size=work.batch,
            learning_rate_init=work.rate,
            momentum=work.momentum,
            nesterovs_momentum=False,
            n_iter_no_change=10**9,  # nothing to watch
            random_state=0,
        )
        # The first call makes the arrays, and trains on something else; then the start takes its place.
        self.model.partial_fit(X[: work.batch], y[: work.batch], classes=range(work.layers[-1]))
        for kept, given in zip(self.model.coefs_, start.weights, strict=True):
            kept[...] = given
        for kept, given in zip(self.model.intercepts_, start.biases, strict=True):
            kept[...] = given
        del self.model._optimizer  # made anew by the next call, for Adam's moments
        self.threads = max(library["num_threads"] for library in threadpool_info())

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order."""
        self.model.shuffle = order is None
        self.model.partial_fit(*((self.X, self.y) if order is None else (self.X[order], self.y[order])))
        return float(self.model.loss_)

    def versions(self) -> dict[str, str]:
        """Of what computes."""
        return {"scikit-learn": sklearn.__version__}
