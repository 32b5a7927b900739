"""Training: epochs, minibatches, validation and history. No numerics: the engine computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation as check
from .engine import CpuEngine
from .errors import DataError, TrainingDiverged
from .network import Network, most_likely
from .optimizers import Optimizer
from .plan import Plan, allowed_threads, choose, n_parameters

if TYPE_CHECKING:
    from .data import Dataset

__all__ = ["History", "Trainer", "train", "training_memory"]

Array = NDArray[Any]
History = dict[str, list[float]]
DEFAULT_BATCH_SIZE = 128
OnEpoch = Callable[[Network, History], Any]


@dataclass
class Trainer:
    """Runs epochs of minibatch gradient descent on one network.

    Parameters
    ----------
    network : Network
        Trained in place: its parameters are up to date after every epoch, and when one is interrupted.
    optimizer : Optimizer
    learning_rate : float
    batch_size : int
    plan : Plan
    order : callable(n_examples) -> ndarray of int, (n_examples,)
        Rows in the order of training; called once an epoch.
    """

    network: Network
    optimizer: Optimizer
    learning_rate: float
    batch_size: int
    plan: Plan
    order: Callable[[int], Array] = np.arange

    def __post_init__(self) -> None:
        n = self.network
        self.engine = n.new_engine(self.plan, self.optimizer)
        self.engine.load(n.parameters)
        n.history = {"loss": [], "epoch_seconds": [], "examples_per_second": [], "gflops": []}
        n.trained_plan = str(self.plan)

    def epoch(self, X: Array, y: Array) -> None:
        """One pass over X (n_examples, n_0) and y, recorded in the network's history.

        Raises
        ------
        TrainingDiverged
            If the loss or a weight is no longer finite; the network keeps the parameters from the end of the
            epoch before.
        """
        began = time.perf_counter()
        n, B = len(X), self.batch_size
        order = np.ascontiguousarray(self.order(n), np.int64)
        rates = np.full(-(-n // B), float(self.learning_rate))
        try:
            losses, finite = self.engine.run(X, y, order, B, rates)
        except KeyboardInterrupt:
            self._fetch()
            raise
        seconds = time.perf_counter() - began
        if not finite:
            raise self._diverged(f"loss became {losses[-1]}", len(losses))
        if not self._fetch():
            raise self._diverged("a weight became infinite", len(losses))
        history = self.network.history
        history["loss"].append(
            float(np.average(losses, weights=np.minimum(B, n - B * np.arange(len(rates)))))
        )
        history["epoch_seconds"].append(seconds)
        history["examples_per_second"].append(n / seconds)
        history["gflops"].append(self.network.flops_per_example * n / seconds / 1e9)

    def validate(self, X: Array, y: Array) -> None:
        """Loss and, for classes, accuracy on held-out examples, recorded in the network's history."""
        outputs, losses = self.engine.forward(X, y)
        history = self.network.history
        history.setdefault("validation_loss", []).append(float(np.mean(losses)))
        if y.ndim == 1:
            history.setdefault("validation_accuracy", []).append(float(np.mean(most_likely(outputs) == y)))

    def _fetch(self) -> bool:
        """Hand the engine's parameters to the network, unless one is no longer finite."""
        flat = np.empty(self.network.n_parameters, self.network.dtype)
        self.engine.store(flat)
        if not np.isfinite(flat).all():
            return False
        self.network.parameters = flat
        return True

    def _diverged(self, what: str, step: int) -> TrainingDiverged:
        done = len(self.network.history["loss"])
        return TrainingDiverged(
            f"{what} in epoch {done + 1}, step {step}; the parameters are those after epoch {done} "
            f"(a smaller learning_rate than {self.learning_rate:g} may help)",
            done + 1,
            step,
        )


def training_memory(
    layer_sizes: Sequence[int],
    plan: Plan,
    optimizer: Optimizer,
    batch_size: int,
    dtype: Any = "float32",
    isa: str | None = None,
) -> int:
    """Bytes that a training takes, beside the data; little is taken to find out.

    Parameters, optimizer state, the packed copies, a minibatch's activations and deltas, and the network's flat
    vector with the copy that is fetched into it after each epoch. With `native`, nothing of it grows with the number
    of threads but the memory in which each sums its tiles of the weight gradient, at most 1.1 MB (2.2 in float64); with
    the other kernels each group holds a gradient of its own.

    Raises
    ------
    MemoryError
        If the system refuses so much.
    """
    layers = tuple(layer_sizes)
    # activations and loss take none
    engine = CpuEngine(
        layers, ("identity",) * (len(layers) - 1), "squared_error", np.dtype(dtype), plan, optimizer, isa=isa
    )
    return engine.memory(batch_size) + 2 * n_parameters(layers) * int(np.dtype(dtype).itemsize)


def train(
    X: ArrayLike | Dataset,
    y: ArrayLike | None = None,
    *,
    hidden_layer_sizes: Sequence[int] | int = (1024,),
    activation: str = "relu",
    output_activation: str | None = None,
    loss: str | None = None,
    init: str = "auto",
    solver: str = "sgd",
    learning_rate: float = 0.1,
    momentum: float = 0.0,
    nesterov: bool = False,
    alpha: float = 0.0,
    weight_decay: float | None = None,
    batch_size: int | None = None,
    epochs: int = 10,
    validation: tuple[ArrayLike, ArrayLike] | Dataset | None = None,
    shuffle: bool = True,
    seed: int | None = 0,
    plan: str = "auto",
    n_jobs: int | None = None,
    precision: str = "auto",
    isa: str | None = None,
    network: Network | None = None,
    on_epoch: OnEpoch | None = None,
) -> Network:
    """Train a network by minibatch gradient descent, in parallel.

    Parameters
    ----------
    X : array-like (n_examples, n_features), or Dataset
        float32, float64 or uint8 are read where they are; other numbers are converted.
    y : array-like
        Integer, boolean or string labels (n_examples,): classification. Floating-point targets (n_examples,) or
        (n_examples, n_outputs): regression. None with a Dataset.
    hidden_layer_sizes : sequence of int or int, default (1024,)
        Units of each hidden layer; () for none.
    activation, output_activation, loss, init
        As in :class:`Network`; loss None is log_loss for classes and squared_error for numbers.
    solver, momentum, nesterov, alpha, weight_decay
        As in :class:`schuss.optimizers.Optimizer`.
    learning_rate : float > 0, default 0.1
    batch_size : int or None, default None
        Examples in a minibatch, at most n_examples; None: 128, or all where there are fewer. The last minibatch of
        an epoch may be shorter.
    epochs : int, default 10
    validation : (X, y) or Dataset, default None
        Held-out examples; loss and accuracy on them are recorded after each epoch.
    shuffle : bool, default True
    seed : int or None, default 0
        Of the starting weights and of the shuffling.
    plan : str, default "auto"
        KERNELS:EXAMPLESxMATRIX or a name; see :mod:`schuss.plan`.
    n_jobs : int or None, default None
        Threads allowed; see :func:`schuss.plan.allowed_threads`.
    precision : {"auto", "float32", "float64"}, default "auto"
        auto: float64 for float64 X, else float32.
    isa : str or None, default None
        Instruction set of the kernels; see :func:`schuss.engine.chosen_isa`.
    network : Network or None, default None
        Train this one further instead of a new one; its layers, loss, dtype, classes and isa count.
    on_epoch : callable(network, history), default None
        Called after each epoch; return True to stop.

    Returns
    -------
    Network
        With `history`: lists with an entry an epoch of loss, epoch_seconds, examples_per_second, gflops and, with
        validation, validation_loss and validation_accuracy.

    Raises
    ------
    ValueError
        If an argument breaks its rule (DataError for data, PlanError for the plan).
    TrainingDiverged
        If the loss is no longer finite.
    KeyboardInterrupt
        On Ctrl-C, within a second; a `network` handed over holds what was learnt so far.
    """
    optimizer = Optimizer(
        solver=solver, momentum=momentum, nesterov=nesterov, alpha=alpha, weight_decay=weight_decay
    )
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    epochs = check.positive_integer("epochs", epochs)
    if batch_size is not None:
        batch_size = check.positive_integer("batch_size", batch_size)
    threads = allowed_threads(n_jobs)
    Plan.parse(plan, threads)
    given, y, classes, scale, shift = _unpack(X, y, network)
    X = check.examples(given, None, np.dtype(np.float32))
    if network is None:
        network = Network(
            (X.shape[1], *check.hidden_sizes(hidden_layer_sizes), _outputs(y, classes)),
            activation=activation,
            output_activation=output_activation,
            loss=loss or ("squared_error" if classes is None else "log_loss"),
            classes=classes,
            input_scale=scale,
            input_shift=shift,
            dtype=check.precision(precision, X),
            init=init,
            seed=seed,
            plan=plan,
            n_jobs=n_jobs,
            isa=isa,
        )
    X, targets = network.pair(given, y)
    held_out = None if validation is None else _validation_pair(network, validation)
    if batch_size is None:
        batch_size = min(DEFAULT_BATCH_SIZE, len(X))
    elif batch_size > len(X):
        raise DataError(f"batch_size must be at most the number of examples, {len(X)}, got {batch_size}")
    chosen = choose(plan, threads=threads, layer_sizes=network.layer_sizes, batch_size=batch_size)
    rng = np.random.default_rng(None if seed is None else [seed, 1])  # not the starting weights' stream
    order = rng.permutation if shuffle else np.arange
    trainer = Trainer(network, optimizer, learning_rate, batch_size, chosen, order)
    for _ in range(epochs):
        trainer.epoch(X, targets)
        if held_out is not None:
            trainer.validate(*held_out)
        if on_epoch is not None and on_epoch(network, network.history):
            break
    return network


def _unpack(X: Any, y: Any, network: Network | None) -> tuple[Any, Any, Array | None, float, float]:
    """X, y, the classes to be told apart (None: numbers), scale and shift."""
    from .data import Dataset

    if isinstance(X, Dataset):
        if y is not None:
            raise ValueError("y must be None where X is a Dataset, which holds it")
        return X.X, X.y if X.classes is None else X.labels, X.classes, X.scale, X.shift
    if y is None:
        raise ValueError("y must be given where X is not a Dataset")
    y = np.asarray(y)
    if network is not None:
        return X, y, network.classes, network.input_scale, network.input_shift
    if y.ndim == 1 and y.dtype.kind in "biuUSO":
        classes = np.unique(y)
        if len(classes) < 2:
            raise DataError(f"y must hold at least 2 classes, got {len(classes)}")
        return X, y, classes, 1.0, 0.0
    return X, y, None, 1.0, 0.0


def _validation_pair(network: Network, validation: Any) -> tuple[Array, Array]:
    from .data import Dataset

    if isinstance(validation, Dataset):
        return network.pair(*_unpack(validation, None, network)[:2], name="validation")
    if not isinstance(validation, tuple) or len(validation) != 2:
        got = f"{len(validation)} items" if isinstance(validation, tuple) else type(validation).__name__
        raise ValueError(f"validation must be a pair (X, y) or a Dataset, got {got}")
    X, y = validation
    return network.pair(X, y, name="validation")


def _outputs(y: Any, classes: Array | None) -> int:
    if classes is not None:
        return len(classes)
    shape = np.shape(y)
    return shape[1] if len(shape) == 2 else 1
