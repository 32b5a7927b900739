"""MLPRegressor: scikit-learn's names and defaults, Schuss's training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, column_or_1d

from .. import validation
from ..cuda.arrays import to_host
from ..losses import Loss, default_output
from ..network import Network
from ..schedules import Schedule
from ..weighting import example_weights
from . import constraints
from .base import BaseMLP, only_if, takes_steps
from .scores import Scorer, d2_pinball, r2

__all__ = ["MLPRegressor"]

Array = NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron regressor with scikit-learn's parameters, trained in parallel.

    The parameters up to `max_fun` are those of :class:`sklearn.neural_network.MLPRegressor` and mean the same;
    start, split and shuffles are drawn from `random_state` as there, so that a fit in float64 takes the same course.

    Parameters
    ----------
    loss : str, default "squared_error"
        "squared_error", "poisson", "gamma", "absolute_error", "huber" or "quantile"; see :mod:`schuss.losses`. The
        loss that is reported is the mean over the targets, with poisson and gamma the sum.
    hidden_layer_sizes : sequence of int or int, default (100,)
    activation : str or sequence of str, default "relu"
        One of :data:`schuss.activations.HIDDEN_ACTIVATIONS`, or one for each hidden layer.
    solver : {"adam", "adamw", "sgd", "lbfgs"}, default "adam"
    alpha : float, default 0.0001
        L2 penalty alpha / (2 B) ||W||^2 on each minibatch of B examples (of weight B).
    batch_size : int or "auto", default "auto"
        "auto": min(200, n_examples). In `fit`, a larger number than n_examples is clipped, with a warning.
    learning_rate : str or Schedule, default "constant"
        "constant", "invscaling" and "adaptive" (the last two with sgd), "step", "cosine", "one_cycle", or a
        :class:`schuss.schedules.Schedule`.
    learning_rate_init : float, default 0.001
    power_t : float, default 0.5
        For invscaling.
    max_iter : int, default 200
        Epochs at most; iterations with lbfgs.
    shuffle : bool, default True
    random_state : int, RandomState or None, default None
    tol : float, default 1e-4
    verbose : bool, default False
    warm_start : bool, default False
        Whether `fit` goes on from the network of the last one.
    momentum, nesterovs_momentum : default 0.9, True
        For sgd.
    early_stopping : bool, default False
        End when the validation score no longer rises, rather than when the loss no longer falls; the best weights
        count. Without `X_val`, a part of the examples is set aside.
    validation_fraction : float, default 0.1
    beta_1, beta_2, epsilon : default 0.9, 0.999, 1e-8
        For adam and adamw.
    n_iter_no_change : int, default 10
        Training ends when there was no improvement by `tol` for more than this many epochs.
    max_fun : int, default 15000
        For lbfgs: evaluations of the loss at most.
    huber_delta : float, default 1
        For huber: error from which on the loss grows linearly.
    quantile : float or sequence of float, default 0.5
        For quantile: the level, or several at once.
    weight_decay : float or None, default None
        Decoupled: each step first takes rate * weight_decay * w from each weight. None: 0.01 for adamw, else 0.
    dropout : float or sequence of float, default 0
        Share of the units, of every hidden layer or of each, that a step leaves out.
    clip_norm : float or None, default None
        Longest gradient of a step.
    plan : str, default "auto"
        How the work is divided; see :mod:`schuss.plan`.
    n_jobs : int or None, default None
        Threads allowed: None for all (or OMP_NUM_THREADS), -1 for all, a number for that many.
    device : {"auto", "cpu", "cuda", "cuda:N"}, default "auto"
        Where to train and predict. auto: where the plan says, else on the GPU that X is on, else where it is predicted
        to be faster.
    precision : {"auto", "float32", "float64", "tf32", "bfloat16"}, default "auto"
        auto: float32 and uint8 are computed in float32, everything else in float64; lbfgs always searches in
        float64. tf32 and bfloat16 are for GPUs: products round what they multiply, the weights stay float32.
    isa : str or None, default None
        Instruction set of the kernels; see :func:`schuss.engine.chosen_isa`.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        W_l (n_{l-1}, n_l) and b_l (n_l,), read-only; assign to `coefs_[i]` to change one.
    history_ : dict of str to list
        An entry an epoch: loss, learning_rate, epoch_seconds, examples_per_second, gflops; with validation also
        validation_loss and validation_score.
    loss_curve_, loss_, best_loss_, validation_scores_, best_validation_score_ : as in scikit-learn
    n_iter_, n_layers_, n_outputs_, out_activation_, t_, n_features_in_, feature_names_in_ : as in scikit-learn
    plan_ : str
        The plan that trained, at the end, such as "native:2x1".
    device_ : str
        The device that trained: "cpu", or a GPU such as "cuda:0".
    plan_report_ : PlanReport or None
        What was predicted and measured for it; print it. None for a model from a file.
    network_ : Network

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from schuss import MLPRegressor
    >>> X, y = make_regression(300, 5, random_state=0)
    >>> model = MLPRegressor(random_state=0, solver="lbfgs", max_iter=5000, tol=0.1).fit(X[:200], y[:200])
    >>> model.score(X[200:], y[200:]) > 0.9
    True
    """

    _parameter_constraints = constraints.REGRESSOR

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Sequence[int] | int = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        huber_delta: float = 1.0,
        quantile: float | Sequence[float] = 0.5,
        weight_decay: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        plan: str = "auto",
        n_jobs: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        isa: str | None = None,
    ) -> None:
        self.loss = loss
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
        self.huber_delta = huber_delta
        self.quantile = quantile
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.clip_norm = clip_norm
        self.plan = plan
        self.n_jobs = n_jobs
        self.device = device
        self.precision = precision
        self.isa = isa

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train.

        Parameters
        ----------
        X : array, data frame or scipy.sparse, (n_examples, n_features)
            An array on a GPU (CuPy, PyTorch, JAX and others) is read where it is.
        y : array-like, (n_examples,) or (n_examples, n_targets)
        sample_weight : array-like, (n_examples,), default None
            How much each example counts: a minibatch's loss is divided by the sum of its weights.
        X_val, y_val, sample_weight_val : default None
            Examples to validate on after each epoch; the weights with the best score are those that count.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument breaks its rule.
        TrainingDiverged
            If the loss is no longer finite.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @only_if(takes_steps)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        check_input: bool = True,
    ) -> Self:
        """Train one epoch more on X and y, which may be a single example.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        check_input : bool, default True
            False, after the first call: X is a matrix of float32, float64 or uint8 with contiguous rows, finite and
            as wide as the first; none of that is checked.

        Returns
        -------
        self
        """
        if "network_" in self.__dict__:
            return self._partial_fit(X, y, sample_weight, check_input)
        with self._unless_refused():
            y = self._learn_targets(X, y, again=False)
            return self._partial_fit(X, y, sample_weight, check_input)

    def predict(self, X: ArrayLike) -> Array:
        """Predictions (n_examples,), or (n_examples, n_outputs).

        With several quantiles, column t * n_quantiles + q is target t at level q.
        """
        outputs = self._forward(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Coefficient of determination R^2; with quantile the share of the pinball loss that is explained (D^2).

        The mean over several targets and quantiles; the best value is 1.
        """
        if self.loss != "quantile":
            return float(super().score(X, to_host(y), to_host(sample_weight, "sample_weight")))
        outputs = self._forward(X)
        rows = len(outputs)
        weight = example_weights(sample_weight, rows)
        return self._scorer(self._encode(self._checked(X, y), rows, np.float64), weight)(outputs)

    # --- what the training asks -----------------------------------------------------------------------------------

    def _loss(self) -> Loss:
        quantiles = tuple(np.atleast_1d(self.quantile).tolist())
        return Loss(self.loss, huber_delta=self.huber_delta, quantiles=quantiles)

    def _checked(self, X: Any, y: Any, name: str = "y") -> Array:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires {name} to be passed, but the target {name} is None"
            )
        array: Array = check_array(
            to_host(y, name), ensure_2d=False, dtype="numeric", input_name=name, estimator=self
        )
        if array.ndim == 2 and array.shape[1] == 1:
            array = column_or_1d(array, warn=True)
        return array

    def _learn_targets(self, X: Any, y: Any, again: bool) -> Array:
        array = self._checked(X, y)
        targets = 1 if array.ndim == 1 else array.shape[1]
        if not again:
            self._targets = targets
        elif targets != self._targets:
            raise ValueError(f"warm_start goes on with {self._targets} targets, got y of shape {array.shape}")
        return array

    def _encode(self, y: Any, rows: int, dtype: Any, name: str = "y") -> Array:
        array = np.asarray(to_host(y, name))
        columns = array[:, None] if array.ndim == 1 else array
        targets = validation.targets(columns, rows, self._targets, None, np.dtype(dtype), name)
        if self.loss in ("poisson", "gamma"):
            validation.positive(targets, self.loss, name)
        copies = self._loss().outputs_per_target
        return np.repeat(targets, copies, axis=1) if copies > 1 else targets

    def _outputs(self) -> tuple[int, str, Any]:
        outputs = self._targets * self._loss().outputs_per_target
        return outputs, default_output(self.loss, classes=False, outputs=outputs), None

    def _reported(self, network: Network) -> tuple[float, float]:
        """scikit-learn reports the mean over the targets, and the sum of Poisson deviances."""
        scale = 1.0 if self.loss in ("poisson", "gamma") else 1 / network.layer_sizes[-1]
        return scale, float("inf")

    def _scorer(self, y: Array, weight: Array | None) -> Scorer:
        if self.loss == "quantile":
            return d2_pinball(y, self._loss().quantiles, weight)
        return r2(y, weight)

    def _restore(self, state: dict[str, Any], network: Network) -> None:
        super()._restore(state, network)
        self._targets = network.layer_sizes[-1] // network.loss_function.outputs_per_target

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss in ("poisson", "gamma")
        return tags
