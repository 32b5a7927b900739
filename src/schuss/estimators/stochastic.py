"""Epochs of an estimator's fit and partial_fit: what is drawn when, what ends training, what is kept.

Start, split and shuffles are drawn from `random_state` in scikit-learn's order, so that results can be compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from .. import validation
from ..engine_keeper import device_for
from ..epochs import Trainer, TrainerState
from ..errors import DeviceError
from ..optimizers import Optimizer
from ..plan import allowed_threads
from ..progress import Progress, training_progress
from ..schedules import Schedule, as_schedule
from ..stopping import Stopping
from .callbacks import FitHooks, fit_hooks
from .scores import Scorer

if TYPE_CHECKING:
    from .base import BaseMLP

__all__ = ["Examples", "Training", "fit", "partial_fit"]

Array = NDArray[Any]
AUTO_BATCH = 200

#: What a training in progress was made for: with another value of one, partial_fit goes on with a new engine.
_settings = attrgetter(
    "solver", "alpha", "learning_rate", "learning_rate_init", "power_t", "momentum", "nesterovs_momentum",
    "beta_1", "beta_2", "epsilon", "weight_decay", "dropout", "clip_norm", "max_iter", "plan", "n_jobs", "isa",
    "device", "precision",
)  # fmt: skip


@dataclass(frozen=True)
class Examples:
    """Checked examples as the engine reads them: X, y and the weights, if any, with class_weight in them.

    `rows` are those to train on; None for all.
    """

    X: Any
    y: Array
    weight: Array | None = None
    rows: Array | None = None


@dataclass
class Training:
    """What a fitted estimator's training goes on from; pickles without its engine.

    Parameters
    ----------
    settings : tuple
        The parameters that it was made for.
    seed : int
        Of dropout.
    trainer : Trainer or None
    state : TrainerState or None
        Where there is no trainer.
    batch : int
        Examples in a minibatch for which its plan was chosen.
    lost : bool
        Whether the device failed, and what it had learnt could not be fetched.
    """

    settings: tuple[Any, ...]
    seed: int
    trainer: Trainer | None
    state: TrainerState | None = None
    batch: int = 0
    lost: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "trainer": None, "state": self.present()}

    def present(self) -> TrainerState | None:
        """The state now. Where the device has failed, the next call has what is left."""
        if self.trainer is None:
            return self.state
        try:
            return self.trainer.snapshot()
        except DeviceError:
            self.rescue()
            raise

    def rescue(self) -> None:
        """After the device has failed: keep what can be had of the parameters and of the state."""
        if self.trainer is not None:
            trainer, self.trainer = self.trainer, None
            trainer.rescue()
            self.lost, self.state = trainer.lost, trainer.state_left()

    def rest(self) -> None:
        """Give the engine's memory and threads back; the state stays."""
        if self.trainer is not None:
            self.state, network = self.present(), self.trainer.network
            self.trainer = None
            network.release()


def fit(
    model: BaseMLP,
    data: Examples,
    held_out: Examples | None,
    random: np.random.RandomState,
    given: tuple[Any, ...],
) -> None:
    """Train until a rule ends it; `given` are X, y and sample_weight as the caller handed them over."""
    validated = held_out is not None or model.early_stopping
    if held_out is None and model.early_stopping:
        data, held_out = _split(model, data, random)
    rows = np.arange(data.X.shape[0]) if data.rows is None else data.rows
    batch = _batch_size(model, len(rows), clip_silently=False)
    trainer = _new_trainer(model, data.X, batch, len(rows), int(model.max_iter), random)
    trainer.order = _orders(rows, model.shuffle, random)
    scorer = None if held_out is None else model._scorer(held_out.y, held_out.weight)
    best = model._best_parameters() if validated else None
    model.n_iter_ = 0
    X, y, weight = given
    with (
        fit_hooks(model, trainer.epochs, X, y, sample_weight=weight, snapshot=model._snapshot) as hooks,
        training_progress(model.verbose, trainer.epochs) as progress,
        trainer.session(*((part.X, part.y, part.weight) for part in (data, held_out) if part is not None)),
    ):
        try:
            _epochs(model, trainer, data, (held_out, scorer), hooks, progress)
        except KeyboardInterrupt:
            warnings.warn(
                f"Training interrupted by user after {model.n_iter_} epochs; what was learnt is kept",
                stacklevel=4,
            )
        except DeviceError:
            model._training.rescue()
            if best is not None:
                with suppress(DeviceError):  # those fetched before are left
                    _ = best.flat
            raise
        finally:
            if best is not None:
                model.network_.parameters = best.flat
            model._training.rest()  # a hundred models in memory are not to hold a hundred teams of threads


def _epochs(
    model: BaseMLP,
    trainer: Trainer,
    data: Examples,
    held_out: tuple[Examples | None, Scorer | None],
    hooks: FitHooks,
    progress: Progress,
) -> None:
    examples, scorer = held_out
    history, stopping = model.history_, model._stopping_rule()
    for epoch in range(trainer.epochs):
        hooks.begin(epoch)
        before = trainer.seen
        trainer.epoch(data.X, data.y, data.weight)
        _count(model, epoch + 1, trainer.seen - before)
        if examples is not None and scorer is not None:
            outputs = trainer.validate(examples.X, examples.y, examples.weight)
            _rate(model, trainer, scorer(outputs))
        progress.epoch(history)
        ended = _no_longer_improves(model, trainer, stopping, progress)
        if hooks.end(epoch) or ended:
            return
    if trainer.schedule.planned or np.isinf(model.n_iter_no_change):  # all the epochs are what was asked for
        return
    warnings.warn(
        f"max_iter={model.max_iter} epochs were trained and the loss was still falling by tol={model.tol:g} "
        "within n_iter_no_change epochs: more may improve the model",
        ConvergenceWarning,
        stacklevel=5,
    )


def partial_fit(model: BaseMLP, data: Examples, random: Callable[[], np.random.RandomState]) -> None:
    """One epoch over the examples, with the optimizer's state of the last one; `random` is called when needed."""
    n = data.X.shape[0]
    batch = _batch_size(model, n, clip_silently=True)
    training = model.__dict__.get("_training")
    if (
        training is None
        or training.trainer is None
        or training.trainer.network is not model.network_
        or training.settings != _settings(model)
        or batch > training.batch
        or not training.trainer.plan.is_at(device_for(data.X, model.plan, model.device))
    ):
        trainer = _continued(model, data.X, batch, random)
    else:
        trainer = training.trainer
        trainer.batch_size = batch
    # on the CPU, where a step may take some microseconds, there is nothing to hold or to give back
    session = trainer.session((data.X, data.y, data.weight)) if trainer.plan.on_gpu else nullcontext()
    try:
        with session:
            if n == 1 or (n <= batch and not model.shuffle):
                trainer.step(data.X, data.y, data.weight)
            else:
                trainer.order = _orders(np.arange(n), model.shuffle, random())
                trainer.epoch(data.X, data.y, data.weight)
    except DeviceError:
        model._training.rescue()
        raise
    _count(model, 1, n)
    stopping = model._stopping_rule()
    if model.verbose:
        with training_progress(model.verbose, 1) as progress:
            progress.epoch(model.history_)
            _no_longer_improves(model, trainer, stopping, progress)
    else:
        _no_longer_improves(model, trainer, stopping, Progress())


def _count(model: BaseMLP, epochs: int, examples: int) -> None:
    model.n_iter_ = epochs
    model.t_ += examples
    model.loss_ = model.loss_curve_[-1]
    model.plan_, model.device_ = model.network_.trained_plan, model.network_.trained_device


def _rate(model: BaseMLP, trainer: Trainer, score: float) -> None:
    """Record a validation score; keep the parameters if it is the best."""
    model.history_.setdefault("validation_score", []).append(score)
    best = model._best_parameters()
    assert model.validation_scores_ is not None
    model.validation_scores_.append(score)
    best.offer(-score, trainer.engine)
    model.best_validation_score_ = -best.value


def _no_longer_improves(model: BaseMLP, trainer: Trainer, stopping: Stopping, progress: Progress) -> bool:
    """Whether training should end: the validation score, or else the loss, no longer improves."""
    validated = bool(model.early_stopping)
    ended = stopping.update(-model.history_["validation_score"][-1] if validated else model.loss_)
    model.best_loss_ = None if validated else stopping.best
    if not ended:
        return False
    going_on = trainer.plateau(stopping)
    progress.plateau(
        validated,
        model.tol,
        model.n_iter_no_change,
        trainer.learning_rate if going_on else None,
        model.learning_rate == "adaptive" and model.solver == "sgd",
    )
    return not going_on


def _split(model: BaseMLP, data: Examples, random: np.random.RandomState) -> tuple[Examples, Examples]:
    """Set part of the examples aside, by their numbers: those that stay are not copied."""
    rows, aside = train_test_split(
        np.arange(data.X.shape[0]),
        random_state=random,
        test_size=model.validation_fraction,
        stratify=model._strata(data.y),
    )
    if len(aside) < 2:
        raise ValueError(
            f"validation_fraction must leave at least 2 examples to validate on, got {model.validation_fraction} of "
            f"{data.X.shape[0]}: {len(aside)}"
        )
    weight = None if data.weight is None else data.weight[aside]
    for part in (rows, aside):
        if data.weight is not None and not data.weight[part].any():
            raise ValueError(
                "sample_weight must not be zero for all examples of the training or validation part"
            )
    return Examples(data.X, data.y, data.weight, rows), Examples(data.X[aside], data.y[aside], weight)


def _batch_size(model: BaseMLP, rows: int, *, clip_silently: bool) -> int:
    if isinstance(model.batch_size, str):
        return min(AUTO_BATCH, rows)
    if model.batch_size > rows and not clip_silently:
        warnings.warn(
            f"batch_size {model.batch_size} is larger than the set and clipped to {rows}", stacklevel=5
        )
    return min(int(model.batch_size), rows)


def _orders(rows: Array, shuffle: bool, random: np.random.RandomState) -> Callable[[int], Array]:
    """Each epoch's order: the one before, shuffled again."""
    present = rows

    def order(_: int) -> Array:
        nonlocal present
        if shuffle:
            again = np.arange(len(present))
            random.shuffle(again)
            present = present[again]
        return present

    return order


def _schedule(model: BaseMLP) -> Schedule:
    """scikit-learn's own schedules are for sgd; it, too, passes over them with adam."""
    name = model.learning_rate
    if model.solver != "sgd" and name in ("invscaling", "adaptive"):
        name = "constant"
    return as_schedule(name, model.power_t)


def _new_trainer(
    model: BaseMLP,
    X: Any,
    batch: int,
    rows: int | None,
    epochs: int,
    random: np.random.RandomState,
    state: TrainerState | None = None,
    seed: int | None = None,
) -> Trainer:
    network, history = model.network_, model.network_.history
    dropout = validation.dropout(model.dropout, len(network.layer_sizes) - 2)
    if seed is None:
        seed = int(random.randint(np.iinfo(np.int32).max)) if dropout else 0
    optimizer = Optimizer(
        solver=model.solver, momentum=model.momentum, nesterov=model.nesterovs_momentum, beta_1=model.beta_1,
        beta_2=model.beta_2, epsilon=model.epsilon, alpha=model.alpha, weight_decay=model.weight_decay,
        clip_norm=model.clip_norm,
    )  # fmt: skip
    threads = allowed_threads(model.n_jobs)
    model._direct_network()
    plan = network.plan_for(
        batch, model.plan, threads, rows=rows, epochs=epochs, formula=optimizer.formula,
        device=device_for(X, model.plan, model.device), precision=model._arithmetic(network.dtype),
    )  # fmt: skip
    scale, cap = model._reported(network)
    trainer = Trainer(
        network, optimizer, model.learning_rate_init, batch, plan, schedule=_schedule(model), epochs=epochs,
        dropout=dropout, seed=seed, loss_scale=scale, loss_cap=cap, state=state,
    )  # fmt: skip
    if state is None:
        trainer.seen = model.t_
    network.history = history
    model.plan_, model.device_ = network.trained_plan, network.trained_device
    model._training = Training(_settings(model), seed, trainer, batch=batch)
    return trainer


def _continued(model: BaseMLP, X: Any, batch: int, random: Callable[[], np.random.RandomState]) -> Trainer:
    """A trainer that goes on where the last one ended, as far as the parameters have stayed the same."""
    before: Training | None = model.__dict__.get("_training")
    if before is None or before.settings[0] != model.solver:
        return _new_trainer(model, X, batch, None, int(model.max_iter), random())
    state = before.present()
    same_rate = before.settings[2:5] == _settings(model)[2:5]
    trainer = _new_trainer(model, X, batch, None, int(model.max_iter), random(), state, before.seed)
    if not same_rate:
        trainer.learning_rate = float(model.learning_rate_init)
    return trainer
