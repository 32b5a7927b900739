"""Training a network from data: checks, epochs, validation, stopping. No numerics: the engine computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation as check
from .cuda.arrays import to_host
from .engine import make_engine
from .engine_keeper import device_for
from .epochs import History, Trainer
from .errors import DataError
from .losses import CLASS_LOSSES, Loss, as_loss
from .network import Network, most_likely
from .optimizers import Optimizer
from .plan import Plan, allowed_threads, n_parameters
from .schedules import Schedule, as_schedule
from .stopping import BestParameters, Stopping
from .weighting import ClassWeight, class_weights, example_weights

if TYPE_CHECKING:
    from .data import Dataset

__all__ = ["History", "Trainer", "train", "training_memory"]

Array = NDArray[Any]
DEFAULT_BATCH_SIZE = 128
OnEpoch = Callable[[Network, History], Any]


def training_memory(
    layer_sizes: Sequence[int],
    plan: Plan,
    optimizer: Optimizer,
    batch_size: int,
    dtype: Any = "float32",
    isa: str | None = None,
) -> int:
    """Bytes that a training takes, beside the data, of the GPU's memory where the plan is for one; little is taken to
    find out.

    Parameters, optimizer state, the packed copies, a minibatch's activations and deltas, and the network's flat
    vector with the copy that is fetched into it after each epoch. With `native`, nothing of it grows with the number
    of threads but the memory in which each sums its tiles of the weight gradient, at most 1.1 MB (2.2 in float64); with
    the other kernels each group holds a gradient of its own.

    Raises
    ------
    MemoryError
        If the system refuses so much.
    DeviceError
        If the GPU is missing, or refuses so much.
    """
    layers = tuple(layer_sizes)
    # activations and loss take none
    engine = make_engine(
        layers, ("identity",) * (len(layers) - 1), "squared_error", np.dtype(dtype), plan, optimizer, isa=isa
    )
    flat = 0 if plan.on_gpu else 2 * n_parameters(layers) * int(np.dtype(dtype).itemsize)
    return engine.memory(batch_size) + flat


def train(
    X: ArrayLike | Dataset,
    y: ArrayLike | None = None,
    *,
    hidden_layer_sizes: Sequence[int] | int = (1024,),
    activation: str | Sequence[str] = "relu",
    output_activation: str | None = None,
    loss: str | Loss | None = None,
    init: str = "auto",
    solver: str = "sgd",
    learning_rate: float = 0.1,
    schedule: str | Schedule = "constant",
    momentum: float = 0.0,
    nesterov: bool = False,
    alpha: float = 0.0,
    weight_decay: float | None = None,
    clip_norm: float | None = None,
    dropout: float | Sequence[float] = 0.0,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    batch_size: int | None = None,
    epochs: int = 10,
    validation: tuple[ArrayLike, ...] | Dataset | None = None,
    patience: int | None = None,
    shuffle: bool = True,
    seed: int | None = 0,
    plan: str = "auto",
    n_jobs: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    isa: str | None = None,
    network: Network | None = None,
    on_epoch: OnEpoch | None = None,
) -> Network:
    """Train a network by minibatch gradient descent, in parallel.

    Parameters
    ----------
    X : array-like (n_examples, n_features), or Dataset
        float32, float64 or uint8 are read where they are, also on a GPU (CuPy, PyTorch, JAX and others, by
        ``__cuda_array_interface__`` or DLPack); other numbers are converted.
    y : array-like
        Integer, boolean or string labels (n_examples,): classification. Floating-point targets (n_examples,) or
        (n_examples, n_outputs): regression. None with a Dataset.
    hidden_layer_sizes : sequence of int or int, default (1024,)
        Units of each hidden layer; () for none.
    activation, output_activation, loss, init
        As in :class:`Network`; loss None is log_loss for classes and squared_error for numbers.
    solver, momentum, nesterov, alpha, weight_decay, clip_norm
        As in :class:`schuss.optimizers.Optimizer`.
    learning_rate : float > 0, default 0.1
        The schedule's base rate.
    schedule : str or Schedule, default "constant"
        See :mod:`schuss.schedules`.
    dropout : float in [0, 1) or a sequence of them, default 0
        Share of the units, of every hidden layer or of each, that a step leaves out.
    sample_weight : array-like (n_examples,), default None
        How much each example counts; a minibatch's loss is divided by the sum of its weights.
    class_weight : dict, "balanced" or None, default None
        How much the examples of each class count, beside their own weights; "balanced": each class as much as any.
    batch_size : int or None, default None
        Examples in a minibatch, at most n_examples; None: 128, or all where there are fewer. The last minibatch of
        an epoch may be shorter.
    epochs : int, default 10
    validation : (X, y), (X, y, sample_weight) or Dataset, default None
        Held-out examples; loss and accuracy on them are recorded after each epoch.
    patience : int or None, default None
        Stop when the validation loss has not fallen for so many epochs in a row (what the schedule makes of a
        plateau comes first), and end with the parameters for which it was lowest. None: neither.
    shuffle : bool, default True
    seed : int or None, default 0
        Of the starting weights, of the shuffling and of dropout.
    plan : str, default "auto"
        KERNELS:EXAMPLESxMATRIX or a name; see :mod:`schuss.plan`.
    n_jobs : int or None, default None
        Threads allowed; see :func:`schuss.plan.allowed_threads`.
    device : {"auto", "cpu", "cuda", "cuda:N"}, default "auto"
        Where to train. auto: where the plan says; where it leaves that open too, on the GPU that X is on, else where
        `network`, if given, was made for, else where it is predicted to be faster.
    precision : {"auto", "float32", "float64", "tf32", "bfloat16"}, default "auto"
        auto: float64 for float64 X, else float32. tf32 and bfloat16 are for GPUs: products round what they multiply,
        the weights stay float32.
    isa : str or None, default None
        Instruction set of the kernels; see :func:`schuss.engine.chosen_isa`.
    network : Network or None, default None
        Train this one further instead of a new one; its layers, loss, dtype, classes and isa count, and, where those
        here are auto, its device and precision.
    on_epoch : callable(network, history), default None
        Called after each epoch; return True to stop.

    Returns
    -------
    Network
        With `history`: lists with an entry an epoch of loss, learning_rate (of the last step), epoch_seconds,
        examples_per_second, gflops and, with validation, validation_loss and validation_accuracy.

    Raises
    ------
    ValueError
        If an argument breaks its rule (DataError for data, PlanError for the plan).
    DeviceError
        If a GPU was asked for and is missing, or fails.
    TrainingDiverged
        If the loss is no longer finite.
    KeyboardInterrupt
        On Ctrl-C, within a second; a `network` handed over holds what was learnt so far.
    """
    optimizer = Optimizer(
        solver=solver, momentum=momentum, nesterov=nesterov, alpha=alpha, weight_decay=weight_decay,
        clip_norm=clip_norm,
    )  # fmt: skip
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    rates = as_schedule(schedule, name="schedule")
    epochs = check.positive_integer("epochs", epochs)
    if batch_size is not None:
        batch_size = check.positive_integer("batch_size", batch_size)
    stopping = _stopping(patience, validation, rates)
    threads = allowed_threads(n_jobs)
    device, precision = _wanted(plan, threads, device, precision, network)
    given, y, classes, scale, shift = _unpack(X, y, network)
    if network is None:
        examples = check.examples(given, None, np.dtype(np.float32))
        precision = check.precision(precision, examples)
        chosen_loss = _loss(loss, classes)
        network = Network(
            (examples.shape[1], *check.hidden_sizes(hidden_layer_sizes), _outputs(y, classes, chosen_loss)),
            activation=activation, output_activation=output_activation, loss=chosen_loss, classes=classes,
            input_scale=scale, input_shift=shift, dtype=check.parameters_dtype(precision), init=init, seed=seed,
            plan=plan, n_jobs=n_jobs, isa=isa, device=device, precision=precision,
        )  # fmt: skip
        network.feature_names = _names(X)
    examples, targets = network.pair(given, y)
    weights = _weights(sample_weight, class_weight, targets, network)
    held_out = None if validation is None else _validation(network, validation)
    rows = examples.shape[0]
    if batch_size is None:
        batch_size = min(DEFAULT_BATCH_SIZE, rows)
    elif batch_size > rows:
        raise DataError(f"batch_size must be at most the number of examples, {rows}, got {batch_size}")
    order, dropouts = (np.random.default_rng(None if seed is None else [seed, stream]) for stream in (1, 2))
    trainer = Trainer(
        network, optimizer, learning_rate, batch_size,
        network.plan_for(
            batch_size, plan, threads, rows=rows, epochs=epochs, formula=optimizer.formula,
            device=device_for(examples, plan, device), precision=precision,
        ),
        order.permutation if shuffle else np.arange, schedule=rates, epochs=epochs,
        dropout=check.dropout(dropout, len(network.layer_sizes) - 2), seed=int(dropouts.integers(2**63)),
    )  # fmt: skip
    _run(trainer, (examples, targets, weights), held_out, stopping, on_epoch)
    return network


def _wanted(plan: str, threads: int, device: str, precision: str, network: Network | None) -> tuple[str, str]:
    """Device and precision of a training, checked with the plan; what they leave open is the network's to say."""
    if network is not None:
        device = network.device if device == "auto" else device
        precision = network.precision if precision == "auto" else check.arithmetic(precision, network.dtype)
    found = Plan.parse(plan, threads, device, precision)
    if found is not None:
        found.require()
    return device, precision


def _loss(loss: str | Loss | None, classes: Array | None) -> Loss:
    chosen = as_loss(loss or ("squared_error" if classes is None else "log_loss"))
    if classes is not None and chosen.name not in CLASS_LOSSES:
        raise ValueError(
            f"loss must be one of {', '.join(CLASS_LOSSES)} for labels (targets that are no labels are "
            f"floating-point numbers), got {chosen.name!r}"
        )
    return chosen


def _stopping(patience: int | None, validation: Any, schedule: Schedule) -> Stopping | None:
    if patience is None:
        if schedule.on_plateau(1.0) is not None:
            raise ValueError(
                f"schedule {schedule} needs patience, which says when training no longer improves"
            )
        return None
    if validation is None:
        raise ValueError(f"patience needs validation examples, got patience={patience!r} and validation=None")
    return Stopping(0.0, check.positive_integer("patience", patience) - 1)


def _run(
    trainer: Trainer,
    data: tuple[Array, Array, Array | None],
    held_out: tuple[Array, Array, Array | None] | None,
    stopping: Stopping | None,
    on_epoch: OnEpoch | None,
) -> None:
    """The epochs of a training; with `stopping`, which goes by the validation loss, ends with the best parameters."""
    try:
        with trainer.session(data, held_out):
            best = BestParameters(trainer.network.parameters)
            for _ in range(trainer.epochs):
                trainer.epoch(*data)
                if _ends(trainer, held_out, stopping, best, on_epoch):
                    break
            if stopping is not None:
                trainer.network.parameters = best.flat
    finally:
        trainer.network.rest_after_training(trainer.engine)


def _ends(
    trainer: Trainer,
    held_out: tuple[Array, Array, Array | None] | None,
    stopping: Stopping | None,
    best: BestParameters,
    on_epoch: OnEpoch | None,
) -> bool:
    """Validate after an epoch; whether it was the last."""
    network, history = trainer.network, trainer.network.history
    patience_ends = False
    if held_out is not None:
        X, y, weights = held_out
        outputs = trainer.validate(X, y, weights)
        if network.classes is not None:
            right = np.average(most_likely(outputs, network.border) == y, weights=weights)
            history.setdefault("validation_accuracy", []).append(float(right))
        if stopping is not None:
            best.offer(history["validation_loss"][-1], trainer.engine)
            patience_ends = stopping.update(history["validation_loss"][-1])
    if on_epoch is not None and on_epoch(network, history):
        return True
    return patience_ends and stopping is not None and not trainer.plateau(stopping)


def _weights(
    sample_weight: ArrayLike | None, class_weight: ClassWeight, targets: Array, network: Network
) -> Array | None:
    """Weight of each example: its own times its class's."""
    own = example_weights(sample_weight, len(targets))
    if class_weight is None:
        return own
    if network.classes is None or targets.ndim != 1:
        raise ValueError(f"class_weight needs labels, got targets that are numbers and {class_weight!r}")
    by_class = class_weights(class_weight, network.classes, targets, own)[targets]
    return by_class if own is None else own * by_class


def _names(X: Any) -> tuple[str, ...] | None:
    """Names of a Dataset's features, where it has some."""
    from .data import Dataset

    return X.names if isinstance(X, Dataset) else None


def _unpack(X: Any, y: Any, network: Network | None) -> tuple[Any, Any, Array | None, float, float]:
    """X, y, the classes to be told apart (None: numbers), scale and shift."""
    from .data import Dataset

    if isinstance(X, Dataset):
        if y is not None:
            raise ValueError("y must be None where X is a Dataset, which holds it")
        return X.X, X.y if X.classes is None else X.labels, X.classes, X.scale, X.shift
    if y is None:
        raise ValueError("y must be given where X is not a Dataset")
    y = np.asarray(to_host(y))
    if network is not None:
        return X, y, network.classes, network.input_scale, network.input_shift
    if y.ndim == 1 and y.dtype.kind in "biuUSO":
        classes = np.unique(y)
        if len(classes) < 2:
            raise DataError(f"y must hold at least 2 classes, got {len(classes)}")
        return X, y, classes, 1.0, 0.0
    return X, y, None, 1.0, 0.0


def _validation(network: Network, validation: Any) -> tuple[Array, Array, Array | None]:
    from .data import Dataset

    if isinstance(validation, Dataset):
        X, y, *_ = _unpack(validation, None, network)
        X, y = network.pair(X, y, name="validation")
        return X, y, None
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        got = f"{len(validation)} items" if isinstance(validation, tuple) else type(validation).__name__
        raise ValueError(f"validation must be a pair (X, y) or a Dataset, got {got}")
    X, y = network.pair(validation[0], validation[1], name="validation")
    weights = validation[2] if len(validation) == 3 else None
    return X, y, example_weights(weights, X.shape[0], "validation sample_weight")


def _outputs(y: Any, classes: Array | None, loss: Loss) -> int:
    if classes is not None:
        return len(classes)
    shape = np.shape(y)
    return (shape[1] if len(shape) == 2 else 1) * loss.outputs_per_target
