"""What the two estimators share: scikit-learn's contract around the training."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from .. import validation
from ..activations import per_layer
from ..cuda.arrays import device_array
from ..epochs import new_history
from ..losses import Loss
from ..network import Network
from ..plan import REDUCED
from ..planner.report import PlanReport
from ..stopping import BestParameters, Stopping
from ..weighting import example_weights
from . import inputs, lbfgs, stochastic
from .callbacks import CallbackSupport
from .constraints import check_parameters
from .layers import Layers, checked_layers
from .scores import Scorer
from .stochastic import Examples, Training

__all__ = ["BaseMLP", "only_if", "takes_steps"]

Array = NDArray[Any]

#: Fitted attributes, beside the network and those that are read from it; some depend on the solver.
_FITTED = (
    "classes_", "class_weight_", "n_features_in_", "feature_names_in_", "n_iter_", "n_outputs_", "out_activation_",
    "t_", "loss_", "best_loss_", "validation_scores_", "best_validation_score_", "plan_",
    "device_",
)  # fmt: skip


def _epochs(attributes: dict[str, Any]) -> int:
    """Epochs in the history of the network among an estimator's attributes."""
    network = attributes.get("network_")
    return 0 if network is None else len(network.history.get("loss", ()))


Method = TypeVar("Method", bound=Callable[..., Any])


def only_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Decorator of a method that exists only while `check(estimator)` does not raise AttributeError."""
    return cast(Callable[[Method], Method], available_if(check))


def takes_steps(model: BaseMLP) -> bool:
    """Whether partial_fit exists: with every solver that takes steps."""
    if model.solver == "lbfgs":
        raise AttributeError("partial_fit needs a solver that takes steps (adam, adamw or sgd), got 'lbfgs'")
    return True


class BaseMLP(CallbackSupport, BaseEstimator, ABC):
    """Parameters are those of the derived classes, which also document them."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]
    _doc_link_module = "schuss"

    network_: Network
    n_iter_: int
    t_: int
    loss_: float
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_outputs_: int
    out_activation_: str
    plan_: str
    device_: str
    _stopping: tuple[bool, Stopping] | None
    _best: BestParameters | None
    _training: Training

    @property
    def plan_report_(self) -> PlanReport | None:
        """What was predicted and measured for the plan of the last training; None for a model from a file."""
        trainer = self._training.trainer if "_training" in self.__dict__ else None
        if trainer is not None:
            trainer.report()
        return self.network_.plan_report

    # --- what the derived classes say -----------------------------------------------------------------------------

    @abstractmethod
    def _loss(self) -> Loss:
        """The loss with its numbers."""

    @abstractmethod
    def _learn_targets(self, X: Any, y: Any, again: bool) -> Array:
        """y checked; learn from it what the network needs, or, `again`, whether it suits what was learnt."""

    @abstractmethod
    def _encode(self, y: Any, rows: int, dtype: Any, name: str = "y") -> Array:
        """y of `rows` examples as the engine reads it, numbers as `dtype`."""

    @abstractmethod
    def _outputs(self) -> tuple[int, str, Any]:
        """Number of outputs, their activation, and the network's classes."""

    @abstractmethod
    def _scorer(self, y: Array, weight: Array | None) -> Scorer:
        """Score of outputs for targets as the engine reads them."""

    def _strata(self, y: Array) -> Array | None:
        """Class numbers, of each of which the validation part takes its share; None: taken at random."""
        return None

    def _weights(self, y: Array, sample_weight: Array | None, learn: bool) -> Array | None:
        """Weight of each example; with `learn`, what class_weight makes of the classes' sizes is remembered."""
        return sample_weight

    def _reported(self, network: Network) -> tuple[float, float]:
        """Scale of the loss that is reported, and the most that a probability may add to it, as scikit-learn does."""
        return 1.0, float(-np.log(np.finfo(network.dtype).eps))

    # --- training -------------------------------------------------------------------------------------------------

    @contextmanager
    def _unless_refused(self) -> Iterator[None]:
        """What was learnt before survives whatever is refused before the first epoch has ended, or lost by a device."""
        before = dict(self.__dict__)
        done = _epochs(before)
        try:
            yield
        except BaseException:
            same = self.__dict__.get("network_") is before.get("network_")
            lost = not same and "_training" in self.__dict__ and self._training.lost
            if lost or _epochs(self.__dict__) <= (done if same else 0):
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _fit(self, X: Any, y: Any, sample_weight: Any, held_out: tuple[Any, Any, Any]) -> Self:
        with self._unless_refused():
            return self._fit_checked(X, y, sample_weight, held_out)

    def _fit_checked(self, X: Any, y: Any, sample_weight: Any, held_out: tuple[Any, Any, Any]) -> Self:
        check_parameters(self, self._parameter_constraints)
        again = self.warm_start and "network_" in self.__dict__
        given = X, y, sample_weight
        data = self._examples(X, y, sample_weight, again)
        validation_part = self._held_out(*held_out)
        random = check_random_state(self.random_state)
        if not again:
            self._begin(data, random)
        if self.solver == "lbfgs":
            self._refuse_what_is_for_steps()
            lbfgs.fit(self, data, given)
        else:
            self._begin_curves(fresh=not again)
            stochastic.fit(self, data, validation_part, random, given)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, check_input: bool) -> Self:
        """One epoch; the derived class has learnt about the targets on the first call."""
        if "network_" not in self.__dict__:
            check_parameters(self, self._parameter_constraints)
            data = self._examples(X, y, sample_weight, again=False, partial=True)
            random = check_random_state(self.random_state)
            self._begin(data, random)
            self._begin_curves(fresh=True)
            stochastic.partial_fit(self, data, lambda: random)
            return self
        if self.early_stopping:
            raise ValueError("partial_fit needs early_stopping=False: it keeps no examples aside, got True")
        if check_input:
            X = inputs.examples(self, X, reset=False)
        elif type(X) is not np.ndarray:
            X = device_array(X) or X
        rows = X.shape[0]
        weight = example_weights(sample_weight, rows)
        targets = self._encode(y, rows, self.network_.dtype)
        data = Examples(X, targets, self._weights(targets, weight, learn=True))
        stochastic.partial_fit(self, data, lambda: check_random_state(self.random_state))
        return self

    def _refuse_what_is_for_steps(self) -> None:
        """lbfgs passes over scikit-learn's own parameters of steps, as there; those that are ours it refuses."""
        if validation.dropout(self.dropout, len(self.network_.layer_sizes) - 2):
            raise ValueError(f"dropout must be 0 with lbfgs, which takes no steps, got {self.dropout!r}")
        for name in ("weight_decay", "clip_norm"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} must be None with lbfgs, which takes no steps, got {getattr(self, name)!r}"
                )

    def _examples(self, X: Any, y: Any, sample_weight: Any, again: bool, partial: bool = False) -> Examples:
        if partial and self.early_stopping:
            raise ValueError("partial_fit needs early_stopping=False: it keeps no examples aside, got True")
        validation.hidden_sizes(self.hidden_layer_sizes)
        X = inputs.examples(self, X, reset=not again)
        if not partial:
            y = self._learn_targets(X, y, again)
        if again:
            self._check_same_network()
        self._dtype = (
            self.network_.dtype
            if again
            else validation.parameters_dtype(validation.precision(self.precision, X))
        )
        weight = example_weights(sample_weight, X.shape[0])
        targets = self._encode(y, X.shape[0], self._dtype)
        return Examples(X, targets, self._weights(targets, weight, learn=True))

    def _held_out(self, X: Any, y: Any, sample_weight: Any) -> Examples | None:
        if X is None or y is None:
            if (X is None) != (y is None):
                raise ValueError("X_val and y_val must be given together, got only one of them")
            if sample_weight is not None:
                raise ValueError("sample_weight_val needs X_val and y_val, got neither")
            return None
        if self.solver == "lbfgs":
            raise ValueError("X_val needs a solver with epochs (adam, adamw or sgd), got solver='lbfgs'")
        X = inputs.examples(self, X, reset=False, name="X_val")
        targets = self._encode(y, X.shape[0], self._dtype, "y_val")
        weight = example_weights(sample_weight, X.shape[0], "sample_weight_val")
        return Examples(X, targets, self._weights(targets, weight, learn=False))

    def _new_network(self, features: int, dtype: Any) -> Network:
        outputs, activation, classes = self._outputs()
        return Network(
            (features, *validation.hidden_sizes(self.hidden_layer_sizes), outputs),
            activation=self.activation,
            output_activation=activation,
            loss=self._loss(),
            classes=classes,
            dtype=dtype,
            seed=0,
            plan=self.plan,
            n_jobs=self.n_jobs,
            isa=self.isa,
            device=self.device,
            precision=self._arithmetic(dtype),
        )

    def _arithmetic(self, dtype: Any) -> str:
        """That of parameters of this dtype, which those of a network that goes on keep."""
        return validation.arithmetic(self.precision if self.precision in REDUCED else "auto", np.dtype(dtype))

    def _direct_network(self) -> None:
        """Have the network compute how and where the parameters say, also from a training that goes on."""
        precision = self._arithmetic(self.network_.dtype)
        self.network_.compute_as(self.plan, self.n_jobs, self.isa, self.device, precision)

    def _begin(self, data: Examples, random: np.random.RandomState) -> None:
        """A network that starts as scikit-learn's: weights and biases from one interval, layer by layer."""
        network = self._new_network(data.X.shape[1], self._dtype)
        parts = []
        for (inputs_, units), activation in zip(
            pairwise(network.layer_sizes), self._starts(network), strict=True
        ):
            bound = np.sqrt((2 if activation == "logistic" else 6) / (inputs_ + units))
            parts += [random.uniform(-bound, bound, inputs_ * units), random.uniform(-bound, bound, units)]
        network.parameters = np.concatenate(parts)
        network.history = new_history()
        if "feature_names_in_" in self.__dict__:
            network.feature_names = tuple(self.feature_names_in_.tolist())
        self.network_ = network
        self.n_iter_ = self.t_ = 0
        self.n_outputs_, self.out_activation_ = network.layer_sizes[-1], network.output_activation
        self._stopping = self._best = None
        for name in ("_training", "best_loss_", "validation_scores_", "best_validation_score_", "loss_"):
            self.__dict__.pop(name, None)

    def _starts(self, network: Network) -> Sequence[str]:
        """Activation by which each layer starts; scikit-learn starts the output layer by that of the hidden ones."""
        hidden = network.activations[:-1]
        last = self.activation if isinstance(self.activation, str) else hidden[-1] if hidden else "relu"
        return (*hidden, last)

    def _begin_curves(self, *, fresh: bool) -> None:
        if fresh:
            self.best_loss_, self.validation_scores_, self.best_validation_score_ = np.inf, None, None

    def _stopping_rule(self) -> Stopping:
        """What counts epochs without improvement, on from where the last training left it."""
        by_score = bool(self.early_stopping)
        if self._stopping is None or self._stopping[0] != by_score:
            best = self.__dict__.get("best_validation_score_" if by_score else "best_loss_")
            self._stopping = (
                by_score,
                Stopping(0.0, 0, np.inf if best is None else -best if by_score else best),
            )
        rule = self._stopping[1]
        rule.tol, rule.patience = self.tol, self.n_iter_no_change
        return rule

    def _best_parameters(self) -> BestParameters:
        """Those of the best validation score, of this and, with warm_start, the trainings before."""
        if self.__dict__.get("validation_scores_") is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        assert self.best_validation_score_ is not None
        if self._best is None:
            self._best = BestParameters(self.network_.parameters, -self.best_validation_score_)
        return self._best

    def _check_same_network(self) -> None:
        """warm_start goes on with the network that there is."""
        sizes = validation.hidden_sizes(self.hidden_layer_sizes)
        network = self.network_
        if sizes != network.layer_sizes[1:-1]:
            raise ValueError(
                f"warm_start goes on with hidden_layer_sizes {network.layer_sizes[1:-1]}, got {sizes}"
            )
        if per_layer(self.activation, len(sizes)) != network.activations[:-1]:
            raise ValueError(
                f"warm_start goes on with activation {network.activation}, got {self.activation!r}"
            )
        if self._loss() != network.loss_function:
            raise ValueError(f"warm_start goes on with {network.loss_function}, got {self._loss()}")

    # --- predicting -----------------------------------------------------------------------------------------------

    def _forward(self, X: Any) -> Array:
        """Outputs (n_examples, n_outputs) of the network."""
        return self._fitted_network().forward_checked(inputs.examples(self, X, reset=False))

    def _fitted_network(self) -> Network:
        network: Network | None = self.__dict__.get("network_")
        if network is None:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments "
                "before using this estimator."
            )
        return network

    # --- fitted attributes ----------------------------------------------------------------------------------------

    @property
    def coefs_(self) -> Layers:
        """W_l (n_{l-1}, n_l) of each layer, read-only; assign one, or all, to change the network."""
        network = self._attributes_of("coefs_")
        return Layers(network.weights, "coefs_", lambda arrays: self._assign(arrays, None))

    @coefs_.setter
    def coefs_(self, arrays: Sequence[ArrayLike]) -> None:
        self._assign(checked_layers("coefs_", arrays, self.coefs_), None)

    @property
    def intercepts_(self) -> Layers:
        """b_l (n_l,) of each layer, read-only; assign one, or all, to change the network."""
        network = self._attributes_of("intercepts_")
        return Layers(network.biases, "intercepts_", lambda arrays: self._assign(None, arrays))

    @intercepts_.setter
    def intercepts_(self, arrays: Sequence[ArrayLike]) -> None:
        self._assign(None, checked_layers("intercepts_", arrays, self.intercepts_))

    def _assign(self, weights: list[Array] | None, biases: list[Array] | None) -> None:
        network = self.network_
        pairs = zip(weights or network.weights, biases or network.biases, strict=True)
        network.parameters = np.concatenate([part.ravel() for pair in pairs for part in pair])

    @property
    def n_layers_(self) -> int:
        return len(self._attributes_of("n_layers_").layer_sizes)

    @property
    def history_(self) -> dict[str, list[float]]:
        """What was recorded, one entry an epoch."""
        return self._attributes_of("history_").history

    @property
    def loss_curve_(self) -> list[float]:
        """Loss of each epoch, of this and, with warm_start, the trainings before."""
        return self._attributes_of("loss_curve_").history["loss"]

    def _attributes_of(self, name: str) -> Network:
        network: Network | None = self.__dict__.get("network_")
        if network is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r} before it is fitted"
            )
        return network

    # --- copies and files -----------------------------------------------------------------------------------------

    def _fitted_state(self) -> dict[str, Any]:
        """Fitted attributes, beside the network, as they are now."""
        names = [name for name in _FITTED if name in self.__dict__]
        state = {name: copy.copy(getattr(self, name)) for name in names}
        return state | {"n_layers_": self.n_layers_, "loss_curve_": list(self.loss_curve_)}

    def _restore(self, state: dict[str, Any], network: Network) -> None:
        """Become fitted, with attributes that `_fitted_state` gave, or scikit-learn's, and their network."""
        self.network_ = network
        for name in _FITTED:
            if name in state:
                setattr(self, name, state[name])
        if not network.history:
            network.history = new_history() | {"loss": list(state.get("loss_curve_", ()))}
        self.t_ = int(state.get("t_", 0))
        self.plan_ = state.get("plan_", network.trained_plan)
        self.device_ = state.get("device_", "cpu")
        self._stopping = self._best = None

    def _snapshot(self) -> dict[str, Any]:
        """Fitted attributes that go on training does not change."""
        network = copy.copy(self.network_)
        network.history = {name: list(values) for name, values in network.history.items()}
        state = self._fitted_state()
        return {name: state[name] for name in state if name in _FITTED} | {"network_": network}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a safetensors file, which :func:`schuss.load` reads; see
        :mod:`schuss.model_file`."""
        self._fitted_network()
        from ..model_file import save

        save(self, path)

    def export_onnx(self, path: str | os.PathLike[str], *, input_dtype: str | None = None) -> Path:
        """Write an ONNX file; see :func:`schuss.onnx_export.export_onnx`."""
        from ..onnx_export import export_onnx

        return export_onnx(self, path, input_dtype=input_dtype)

    @classmethod
    def from_sklearn(cls, fitted: Any) -> Self:
        """One that has learnt what a fitted estimator of scikit-learn has; see
        :func:`schuss.estimators.convert.from_sklearn`."""
        from .convert import from_sklearn

        return from_sklearn(fitted, cls)  # type: ignore[no-any-return]

    def to_sklearn(self) -> Any:
        """A fitted estimator of scikit-learn that has learnt the same; see
        :func:`schuss.estimators.convert.to_sklearn`."""
        from .convert import to_sklearn

        return to_sklearn(self)

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def _doc_link_template(self) -> str:
        """Where the documentation of this class is, by the package's own word."""
        for entry in metadata("schuss").get_all("Project-URL") or ():
            name, _, address = str(entry).partition(", ")
            if name == "Documentation":
                return address.rstrip("/") + "/guide/first-steps.md"
        return ""
