"""Callbacks in the epochs of a fit: scikit-learn's protocol (`sklearn.callback`, from 1.9), and the same before it.

A callback has four methods: `setup(estimator, context)`, `on_fit_task_begin(estimator, context, *, ...)`,
`on_fit_task_end(estimator, context, *, ...)`, which returns True to end training, and
`teardown(estimator, context)`. The two in the middle are called for the fit and for each epoch, and get those of
X, y, metadata and fitted_estimator that their signatures name as keyword-only.
"""

from __future__ import annotations

import copy
import datetime
import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any, Self

__all__ = ["CallbackSupport", "FitHooks", "fit_hooks"]

_HOOKS = ("on_fit_task_begin", "on_fit_task_end")
_METHODS = ("setup", *_HOOKS, "teardown")
_OFFERED = ("X", "y", "metadata", "fitted_estimator")

Snapshot = Callable[[], Mapping[str, Any]]


class CallbackSupport:
    """Mixin of an estimator whose `fit` runs within :func:`fit_hooks`; stands before BaseEstimator."""

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set what `fit` calls at its beginning and end and around each epoch.

        Parameters
        ----------
        *callbacks : objects with methods setup, on_fit_task_begin, on_fit_task_end and teardown
            Such as `sklearn.callback.ProgressBar()`, from scikit-learn 1.9. They take the place of those set before;
            none: nothing is called.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If one lacks a method, or is a class.
        """
        for callback in callbacks:
            if isinstance(callback, type):
                raise TypeError(
                    f"callbacks must be objects, got the class {callback.__name__}: call it first"
                )
            missing = [name for name in _METHODS if not callable(getattr(callback, name, None))]
            if missing:
                raise TypeError(f"callbacks must have a method {missing[0]}, got {callback!r}")
        # scikit-learn's Pipeline and searches read and write this very attribute
        self.__dict__.pop("_skl_callbacks", None)
        if callbacks:
            self._skl_callbacks = list(callbacks)
        return self

    def __sklearn_clone__(self) -> Self:
        clone = super().__sklearn_clone__()  # type: ignore[misc]
        if "_skl_callbacks" in self.__dict__:
            clone._skl_callbacks = self._skl_callbacks
        return clone  # type: ignore[no-any-return]


class FitHooks:
    """What a fit calls around its epochs; this one has nobody to tell."""

    def begin(self, epoch: int) -> None:
        """Epoch number `epoch`, from 0, is about to begin; said again of an epoch that is open, it does nothing."""

    def end(self, epoch: int) -> bool:
        """Epoch number `epoch` has ended; whether a callback asks to end training."""
        return False


_SILENT = FitHooks()


def fit_hooks(
    estimator: Any,
    epochs: int,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    snapshot: Snapshot | None = None,
) -> AbstractContextManager[FitHooks]:
    """Calls of the estimator's callbacks around a fit; costs next to nothing where it has none.

    Parameters
    ----------
    estimator : estimator
    epochs : int
        Epochs at most.
    X, y, sample_weight : array-like
        What `fit` was given, such that an estimator's `score(X, y)` takes it.
    snapshot : callable() -> dict or None, default None
        Fitted attributes as they are now, which training does not change later. Called at most once an epoch, and
        only for a callback that asks for `fitted_estimator`: a copy of the estimator with these attributes.

    Returns
    -------
    context manager that gives a FitHooks
        When its body is left without an error, the estimator is fitted.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        return nullcontext(_SILENT)
    known = {
        "estimator": estimator,
        "X": X,
        "y": y,
        "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        "reconstruction_attributes": snapshot,
    }
    return _hooks(estimator, epochs, known)


class _Epochs(FitHooks):
    """Tells the callbacks, through a context for each epoch."""

    def __init__(self, fit: Any, known: dict[str, Any]) -> None:
        self._fit, self._known = fit, known
        self._open: Any = None

    def begin(self, epoch: int) -> None:
        if self._open is None:
            self._open = self._fit.subcontext(task_name="epoch")
            self._open.call_on_fit_task_begin(**self._known)

    def end(self, epoch: int) -> bool:
        self.begin(epoch)
        context, self._open = self._open, None
        return bool(context.call_on_fit_task_end(**self._known))

    def close(self) -> None:
        """End the epoch that an interrupt has left open: with nothing to show, as it is not whole."""
        if self._open is not None:
            self._open.call_on_fit_task_end(estimator=self._known["estimator"])


@contextmanager
def _hooks(estimator: Any, epochs: int, known: dict[str, Any]) -> Iterator[FitHooks]:
    session = _own_session if find_spec("sklearn.callback") is None else _sklearn_session
    with session(estimator, epochs) as fit:
        fit.call_on_fit_task_begin(**known)
        hooks = _Epochs(fit, known)
        yield hooks
        hooks.close()
        fit.call_on_fit_task_end(**known)


@contextmanager
def _sklearn_session(estimator: Any, epochs: int) -> Iterator[Any]:
    """The context of a fit, between scikit-learn's own setup and teardown of the callbacks."""
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    try:
        yield CallbackSupportMixin._init_callback_context(estimator, max_subtasks=epochs)
    finally:
        with_callbacks(lambda _: None)(estimator)  # tears down at the end of the call


@contextmanager
def _own_session(estimator: Any, epochs: int) -> Iterator[Any]:
    """The same before scikit-learn 1.9."""
    fit = _Context(type(estimator).__name__, estimator._skl_callbacks, "fit", epochs)
    with ExitStack() as stack:
        for callback in estimator._skl_callbacks:
            stack.callback(callback.teardown, estimator=estimator, context=fit)
            callback.setup(estimator=estimator, context=fit)
        yield fit


class _Context:
    """The place of a task, a fit or an epoch, as callbacks written for scikit-learn 1.9 read it.

    Attributes
    ----------
    estimator_name, task_name : str
    task_id : int
        Number among the tasks of the parent, from 0.
    max_subtasks : int
    sequential_subtasks : bool
    parent : _Context or None
    root_uuid : uuid.UUID
        Of the fit.
    init_time : datetime
    source_estimator_name, source_task_name : None
        The fit is no task of another estimator: Pipeline and searches hand callbacks on from scikit-learn 1.9.
    """

    sequential_subtasks = True
    source_estimator_name = None
    source_task_name = None

    def __init__(
        self,
        estimator_name: str,
        callbacks: list[Any],
        task_name: str,
        max_subtasks: int = 0,
        task_id: int = 0,
        parent: _Context | None = None,
    ) -> None:
        self.estimator_name = estimator_name
        self.task_name = task_name
        self.task_id = task_id
        self.max_subtasks = max_subtasks
        self.parent = parent
        self.root_uuid: uuid.UUID = uuid.uuid4() if parent is None else parent.root_uuid
        self.init_time = datetime.datetime.now(datetime.UTC)
        self._callbacks = callbacks
        self._begun = 0

    def subcontext(self, task_name: str) -> _Context:
        self._begun += 1
        return _Context(self.estimator_name, self._callbacks, task_name, 0, self._begun - 1, self)

    def call_on_fit_task_begin(self, *, estimator: Any, **known: Any) -> None:
        self._call("on_fit_task_begin", estimator, known)

    def call_on_fit_task_end(self, *, estimator: Any, **known: Any) -> bool:
        return any(self._call("on_fit_task_end", estimator, known))

    def _call(self, hook: str, estimator: Any, known: dict[str, Any]) -> list[Any]:
        """Call a hook of every callback with what it asks for; what they return."""
        fitted: list[Any] = []  # made for the first that asks
        answers = []
        for callback in self._callbacks:
            method = getattr(callback, hook)
            wanted = _keywords(method)
            if unknown := sorted(wanted - set(_OFFERED)):
                raise TypeError(
                    f"{hook} of {type(callback).__name__} may ask for {', '.join(_OFFERED)}, got {unknown[0]}"
                )
            if "fitted_estimator" in wanted and not fitted:
                fitted.append(_fitted(estimator, known.get("reconstruction_attributes")))
            given = {name: fitted[0] if name == "fitted_estimator" else known.get(name) for name in wanted}
            answers.append(method(estimator, self, **given))
        return answers


def _keywords(method: Any) -> set[str]:
    parameters = inspect.signature(method).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def _fitted(estimator: Any, snapshot: Snapshot | None) -> Any:
    """A copy of the estimator with the fitted attributes of the snapshot; None where there is none."""
    if snapshot is None:
        return None
    fitted = copy.copy(estimator)
    for name, value in snapshot().items():
        setattr(fitted, name, value)
    return fitted
