"""MLPClassifier: scikit-learn's names and defaults, Schuss's training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import validation
from ..network import Network
from ..optimizers import Optimizer
from ..plan import allowed_threads, choose
from ..trainer import Trainer

__all__ = ["MLPClassifier"]

Array = NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseEstimator):
    """Multilayer perceptron classifier with scikit-learn's parameters, trained in parallel.

    The parameters up to `n_iter_no_change` are those of :class:`sklearn.neural_network.MLPClassifier` and mean
    the same; start and shuffles are drawn from `random_state` as there. This version trains with the solvers
    "sgd" and "adam" at a constant learning rate; other values of `solver`, `learning_rate`, `early_stopping` and
    `warm_start` raise ValueError.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int or int, default (100,)
    activation : {"relu", "logistic", "tanh", "identity"}, default "relu"
    solver : {"adam", "sgd"}, default "adam"
    alpha : float, default 0.0001
        L2 penalty alpha / (2 B) ||W||^2 on each minibatch of B examples.
    batch_size : int or "auto", default "auto"
        "auto": min(200, n_examples). A larger number than n_examples is clipped, with a warning.
    learning_rate_init : float, default 0.001
    max_iter : int, default 200
        Epochs at most.
    shuffle : bool, default True
    random_state : int, RandomState or None, default None
    tol : float, default 1e-4
    n_iter_no_change : int, default 10
        Training ends when the loss has not fallen by `tol` for more than this many epochs.
    verbose : bool, default False
    momentum, nesterovs_momentum : default 0.9, True
        For sgd.
    beta_1, beta_2, epsilon : default 0.9, 0.999, 1e-8
        For adam.
    loss : {"log_loss", "squared_error"}, default "log_loss"
    plan : str, default "auto"
        How the work is divided; see :mod:`schuss.plan`.
    n_jobs : int or None, default None
        Threads allowed: None for all (or OMP_NUM_THREADS), -1 for all, a number for that many.
    precision : {"auto", "float32", "float64"}, default "auto"
        auto: float64 input is computed in float64, everything else in float32.

    Attributes
    ----------
    classes_ : ndarray, (n_classes,)
    coefs_, intercepts_ : list of ndarray
        W_l (n_{l-1}, n_l) and b_l (n_l,), read-only.
    history_ : dict of str to list
        An entry an epoch: loss, epoch_seconds, examples_per_second, gflops.
    loss_curve_, loss_, best_loss_, n_iter_, n_layers_, n_outputs_, out_activation_, t_
        As in scikit-learn.
    plan_ : str
        The plan that trained, such as "native:2x1".
    network_ : Network

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from schuss import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> MLPClassifier(random_state=0, max_iter=50).fit(X[:1500], y[:1500]).score(X[1500:], y[1500:]) > 0.9
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        loss: str = "log_loss",
        plan: str = "auto",
        n_jobs: int | None = None,
        precision: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.plan = plan
        self.n_jobs = n_jobs
        self.precision = precision

    def fit(self, X: ArrayLike, y: ArrayLike) -> MLPClassifier:
        """Train on X (n_examples, n_features) with labels y (n_examples,).

        Raises
        ------
        ValueError
            If an argument breaks its rule, or asks for what this version does not have.
        TrainingDiverged
            If the loss is no longer finite.
        """
        self._refuse_what_is_missing()
        X, y = validate_data(self, X, y, dtype="numeric")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold at least 2 classes, got {len(self.classes_)} class")
        X = validation.examples(X, None, np.dtype(np.float32))
        random = check_random_state(self.random_state)
        network = self._network(X, random)
        targets = labels.astype(np.int32)
        batch = self._batch_size(len(X))
        threads = allowed_threads(self.n_jobs)
        plan = choose(self.plan, threads=threads, layer_sizes=network.layer_sizes, batch_size=batch)
        trainer = Trainer(
            network, self._optimizer(), self.learning_rate_init, batch, plan, self._order(len(X), random)
        )
        self.network_, self.history_, self.plan_ = network, network.history, str(plan)
        self.loss_curve_ = network.history["loss"]
        self.n_layers_, self.n_outputs_ = len(network.layer_sizes), network.layer_sizes[-1]
        self.out_activation_ = network.output_activation
        self._run(trainer, X, targets)
        return self

    def _run(self, trainer: Trainer, X: Array, y: Array) -> None:
        self.best_loss_, waited = np.inf, 0
        for n_iter in range(1, validation.positive_integer("max_iter", self.max_iter) + 1):
            trainer.epoch(X, y)
            self.n_iter_, self.t_, self.loss_ = n_iter, n_iter * len(X), self.loss_curve_[-1]
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
            waited = waited + 1 if self.loss_ > self.best_loss_ - self.tol else 0
            self.best_loss_ = min(self.best_loss_, self.loss_)
            if waited > self.n_iter_no_change:
                return
        warnings.warn(
            f"max_iter ({self.max_iter}) epochs were trained and the loss was still falling",
            ConvergenceWarning,
            stacklevel=3,
        )

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probability (n_examples, n_classes) of each class; with squared_error, outputs scaled to sum to 1."""
        check_is_fitted(self)
        outputs = self.network_.forward(validate_data(self, X, dtype="numeric", reset=False))
        if outputs.shape[1] == 1:
            return np.hstack([1 - outputs, outputs])
        return outputs / outputs.sum(axis=1, keepdims=True) if self.out_activation_ == "logistic" else outputs

    def predict(self, X: ArrayLike) -> Array:
        """Label (n_examples,) of the likeliest class."""
        check_is_fitted(self)
        return self.network_.predict(validate_data(self, X, dtype="numeric", reset=False))

    @property
    def coefs_(self) -> list[Array]:
        return self.network_.weights

    @property
    def intercepts_(self) -> list[Array]:
        return self.network_.biases

    def _refuse_what_is_missing(self) -> None:
        available = {
            "solver": ("adam", "sgd"),
            "learning_rate": ("constant",),
            "early_stopping": (False,),
            "warm_start": (False,),
        }
        for name, values in available.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} must be {' or '.join(map(repr, values))}, got {getattr(self, name)!r}"
                )

    def _network(self, X: Array, random: np.random.RandomState) -> Network:
        """A network that starts as scikit-learn's: weights and biases from one interval, layer by layer."""
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        network = Network(
            (X.shape[1], *validation.hidden_sizes(self.hidden_layer_sizes), outputs),
            activation=self.activation,
            loss=self.loss,
            classes=self.classes_,
            dtype=validation.precision(self.precision, X),
            seed=0,
            plan=self.plan,
            n_jobs=self.n_jobs,
        )
        factor = 2 if self.activation == "logistic" else 6
        parts = []
        for inputs, units in pairwise(network.layer_sizes):
            bound = np.sqrt(factor / (inputs + units))
            parts += [random.uniform(-bound, bound, inputs * units), random.uniform(-bound, bound, units)]
        network.parameters = np.concatenate(parts)
        return network

    def _batch_size(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows)
        size = validation.positive_integer("batch_size", self.batch_size)
        if size > rows:
            warnings.warn(f"batch_size {size} is larger than the set and clipped to {rows}", stacklevel=3)
        return min(size, rows)

    def _optimizer(self) -> Optimizer:
        if not 0 < self.learning_rate_init < np.inf:
            raise ValueError(
                f"learning_rate_init must be positive and finite, got {self.learning_rate_init!r}"
            )
        return Optimizer(
            solver=self.solver,
            momentum=self.momentum,
            nesterov=self.nesterovs_momentum,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            alpha=self.alpha,
        )

    def _order(self, rows: int, random: np.random.RandomState) -> Any:
        """Each epoch's order: the one before, shuffled again, as scikit-learn does it."""
        present = np.arange(rows)

        def order(_: int) -> Array:
            nonlocal present
            if self.shuffle:
                again = np.arange(rows)
                random.shuffle(again)
                present = present[again]
            return present

        return order
