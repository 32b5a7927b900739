"""PyTensor, which Theano became: one compiled function a minibatch, the parameters shared variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from threadpoolctl import threadpool_info

import schuss
from schuss.study.work import Work

__all__ = ["Loop"]

F = {"relu": lambda z: pt.maximum(z, 0), "logistic": pt.sigmoid, "tanh": pt.tanh, "identity": lambda z: z}


class Loop:
    """Its Numba mode: what pip installs comes without a BLAS for its C mode, and Numba's is SciPy's."""

    shuffles = False
    compiles_epochs = False

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        self.work = work
        pytensor.config.floatX = "float32"
        layers = [
            (pytensor.shared(W), pytensor.shared(b)) for W, b in zip(start.weights, start.biases, strict=True)
        ]
        rows = pt.lvector("rows")
        x, t = pytensor.shared(X)[rows], pytensor.shared(work.targets(y))[rows]
        for W, b in layers[:-1]:
            x = F[work.activation](x @ W + b)
        loss = self._loss(x @ layers[-1][0] + layers[-1][1], t, rows)
        parameters = [array for layer in layers for array in layer]
        gradients = pytensor.grad(loss, parameters)
        update = self._adam if work.optimizer == "adam" else self._sgd
        self.step = pytensor.function(
            [rows], loss, updates=update(parameters, gradients), mode="NUMBA", trust_input=True
        )
        self.threads = max((library["num_threads"] for library in threadpool_info()), default=1)

    def _loss(self, z: Any, t: Any, rows: Any) -> Any:
        n = rows.shape[0].astype("float32")
        if self.work.loss == "log_loss":
            return -pt.sum(pt.special.log_softmax(z, axis=1)[pt.arange(rows.shape[0]), t]) / n
        return np.float32(0.5) * pt.sum((F[self.work.output](z) - t) ** 2) / n

    def _sgd(self, parameters: Any, gradients: Any) -> list[tuple[Any, Any]]:
        rate, momentum = np.float32(self.work.rate), np.float32(self.work.momentum)
        if not momentum:
            return [(p, p - rate * g) for p, g in zip(parameters, gradients, strict=True)]
        velocities = [pytensor.shared(np.zeros_like(p.get_value())) for p in parameters]
        moved = [momentum * v - rate * g for v, g in zip(velocities, gradients, strict=True)]
        new = [p + v for p, v in zip(parameters, moved, strict=True)]
        return [*zip(velocities, moved, strict=True), *zip(parameters, new, strict=True)]

    def _adam(self, parameters: Any, gradients: Any) -> list[tuple[Any, Any]]:
        """Kingma & Ba 2015, with the corrections of both moments gathered in the rate (the end of section 2)."""
        step = pytensor.shared(np.float32(0))
        t = step + np.float32(1)
        rate = np.float32(self.work.rate) * pt.sqrt(1 - np.float32(0.999) ** t) / (1 - np.float32(0.9) ** t)
        updates = [(step, t)]
        for p, g in zip(parameters, gradients, strict=True):
            m, v = (pytensor.shared(np.zeros_like(p.get_value())) for _ in range(2))
            new_m = np.float32(0.9) * m + np.float32(0.1) * g
            new_v = np.float32(0.999) * v + np.float32(0.001) * g * g
            updates += [(m, new_m), (v, new_v), (p, p - rate * new_m / (pt.sqrt(new_v) + np.float32(1e-8)))]
        return updates

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order."""
        return float(np.mean([self.step(rows) for rows in order.reshape(-1, self.work.batch)]))

    def versions(self) -> dict[str, str]:
        """Of what computes."""
        return {"pytensor": pytensor.__version__}
