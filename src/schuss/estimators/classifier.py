"""MLPClassifier: scikit-learn's names and defaults, Schuss's training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight

from ..cuda.arrays import to_host
from ..losses import Loss, default_output
from ..schedules import Schedule
from ..weighting import class_weights
from . import constraints
from .base import BaseMLP, only_if, takes_steps
from .labels import Labels, checked_labels
from .scores import Scorer, accuracy

__all__ = ["MLPClassifier"]

Array = NDArray[Any]


def _has_probabilities(model: MLPClassifier) -> bool:
    if model.loss == "hinge":
        raise AttributeError("hinge gives no probabilities: see decision_function")
    return True


def _has_margins(model: MLPClassifier) -> bool:
    if model.loss != "hinge":
        raise AttributeError(f"decision_function is for hinge, got loss={model.loss!r}: see predict_proba")
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron classifier with scikit-learn's parameters, trained in parallel.

    The parameters up to `max_fun` are those of :class:`sklearn.neural_network.MLPClassifier` and mean the same;
    start, split and shuffles are drawn from `random_state` as there, so that a fit in float64 takes the same course.

    Parameters
    ----------
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
    loss : {"log_loss", "squared_error", "hinge", "focal"}, default "log_loss"
        See :mod:`schuss.losses`.
    class_weight : dict, "balanced", list of dict, or None, default None
        How much the examples of each class count, beside their own weights. For several labels at once a list with
        a dict {0: weight, 1: weight} for each.
    focal_gamma : float, default 2
        For focal.
    label_smoothing : float, default 0
        Share of each target that is spread over the classes; for log_loss and focal.
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
    classes_ : ndarray, (n_classes,)
    class_weight_ : ndarray, (n_classes,)
        What `class_weight` gave each class; not for several labels at once.
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
    >>> from sklearn.datasets import load_digits
    >>> from schuss import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(random_state=0, early_stopping=True).fit(X[::2], y[::2])
    >>> model.score(X[1::2], y[1::2]) > 0.9
    True
    >>> model.predict_proba(X[:3]).shape
    (3, 10)
    """

    _parameter_constraints = constraints.CLASSIFIER

    def __init__(
        self,
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
        loss: str = "log_loss",
        class_weight: Any = None,
        focal_gamma: float = 2.0,
        label_smoothing: float = 0.0,
        weight_decay: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        plan: str = "auto",
        n_jobs: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        isa: str | None = None,
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
        self.class_weight = class_weight
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
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
        y : array-like, (n_examples,) or (n_examples, n_labels)
            Labels, or a matrix of 0 and 1 for several labels at once.
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
        classes: ArrayLike | None = None,
        *,
        check_input: bool = True,
    ) -> Self:
        """Train one epoch more on X and y, which may be a single example.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like, (n_classes,), default None
            All labels that there will be; needed on the first call, except for several labels at once.
        check_input : bool, default True
            False, after the first call: X is a matrix of float32, float64 or uint8 with contiguous rows, finite and
            as wide as the first; none of that is checked.

        Returns
        -------
        self
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight must be a dict or None in partial_fit, which does not know how frequent the classes "
                f"will be, got {self.class_weight!r}"
            )
        first = "network_" not in self.__dict__
        if not first and classes is None:
            return self._partial_fit(X, y, sample_weight, check_input)
        with self._unless_refused():
            y = self._learn_classes(X, y, classes, first)
            return self._partial_fit(X, y, sample_weight, check_input)

    def _learn_classes(self, X: Any, y: Any, classes: Any, first: bool) -> Any:
        """y checked, for partial_fit; its labels are those named, which are compared with those known."""
        if first:
            y = checked_labels(self, X, y)
            if y.ndim == 2:
                self._labels = Labels.of(y)
                if classes is not None and len(np.asarray(classes)) != y.shape[1]:
                    raise ValueError(f"classes must be {y.shape[1]}, one a column of y, got {classes!r}")
            elif classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            else:
                self._labels = Labels.named(classes)
            self.classes_ = self._labels.classes
        elif not self._labels.multilabel and not np.array_equal(Labels.named(classes).classes, self.classes_):
            raise ValueError(
                f"classes must stay those of the first call to partial_fit, {self.classes_.tolist()}, got {classes!r}"
            )
        return y

    def predict(self, X: ArrayLike) -> Any:
        """Label (n_examples,) of the likeliest class; 0 and 1 (n_examples, n_labels) for several labels at once."""
        outputs = self._forward(X)
        return self._labels.decode(outputs, self.network_.border)

    @only_if(_has_probabilities)
    def predict_proba(self, X: ArrayLike) -> Array:
        """Probability (n_examples, n_classes) of each class, or of each of several labels at once.

        With squared_error, outputs scaled to add up to 1.
        """
        outputs = self._forward(X)
        labels = self._labels
        if labels.multilabel:
            return outputs
        if len(labels.classes) == 1:
            return np.ones_like(outputs)
        if outputs.shape[1] == 1:
            both = np.empty((len(outputs), 2), outputs.dtype)
            np.subtract(1, outputs[:, 0], out=both[:, 0])
            both[:, 1] = outputs[:, 0]
            return both
        return outputs / outputs.sum(axis=1, keepdims=True) if self.loss == "squared_error" else outputs

    @only_if(_has_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Natural logarithm of :meth:`predict_proba`."""
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(probabilities, out=probabilities)

    @only_if(_has_margins)
    def decision_function(self, X: ArrayLike) -> Array:
        """With hinge: the outputs, (n_examples,) for two classes, else (n_examples, n_classes)."""
        outputs = self._forward(X)
        return outputs[:, 0] if self._labels.outputs == 1 and not self._labels.multilabel else outputs

    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Share of the examples, by weight, whose label is predicted right; of several labels, all."""
        return float(super().score(X, to_host(y), to_host(sample_weight, "sample_weight")))

    # --- what the training asks -----------------------------------------------------------------------------------

    def _loss(self) -> Loss:
        return Loss(self.loss, focal_gamma=self.focal_gamma, label_smoothing=self.label_smoothing)

    def _learn_targets(self, X: Any, y: Any, again: bool) -> Array:
        checked = checked_labels(self, X, y)
        labels = Labels.of(checked)
        if not again:
            self._labels, self.classes_ = labels, labels.classes
        elif labels.multilabel != self._labels.multilabel or not np.array_equal(
            labels.classes, self.classes_
        ):
            raise ValueError(
                f"warm_start goes on with the classes {self.classes_.tolist()}, got {labels.classes.tolist()}"
            )
        return checked

    def _encode(self, y: Any, rows: int, dtype: Any, name: str = "y") -> Array:
        return self._labels.encode(y, rows, dtype, name)

    def _outputs(self) -> tuple[int, str, Any]:
        labels = self._labels
        activation = default_output(self.loss, classes=True, outputs=labels.outputs)
        if activation == "softmax" and labels.multilabel:
            activation = "logistic"
        named = not labels.multilabel and len(labels.classes) > 1
        return labels.outputs, activation, labels.classes if named else None

    def _weights(self, y: Array, sample_weight: Array | None, learn: bool) -> Array | None:
        if self.class_weight is None:
            if learn:
                self.class_weight_ = np.ones(len(self.classes_))
            return sample_weight
        by_class: Array
        if self._labels.multilabel:
            by_class = compute_sample_weight(self.class_weight, y.astype(np.int64))
        else:
            if learn:
                self.class_weight_ = class_weights(self.class_weight, self.classes_, y, sample_weight)
            by_class = self.class_weight_[y]
        return by_class if sample_weight is None else sample_weight * by_class

    def _scorer(self, y: Array, weight: Array | None) -> Scorer:
        score, labels, border = accuracy(y, weight), self._labels, self.network_.border
        return lambda outputs: score(labels.numbers(outputs, border))

    def _strata(self, y: Array) -> Array | None:
        return y if self._labels.outputs == 1 and not self._labels.multilabel else None

    def _restore(self, state: dict[str, Any], network: Any) -> None:
        super()._restore(state, network)
        multilabel = network.classes is None and len(self.classes_) == network.layer_sizes[-1] > 1
        self._labels = Labels(np.asarray(self.classes_), multilabel)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
