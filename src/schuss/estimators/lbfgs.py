"""L-BFGS-B of SciPy over the engine's flat gradient of all examples as one minibatch."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from .. import blas
from ..engine_keeper import device_for
from ..errors import TrainingDiverged
from ..network import Network
from ..plan import allowed_threads
from ..planner.report import PlanReport
from ..progress import training_progress
from .callbacks import fit_hooks
from .stochastic import Examples

if TYPE_CHECKING:
    from .base import BaseMLP

__all__ = ["fit"]

Array = NDArray[Any]
_ASKED_TO_STOP = 99  # SciPy's status after StopIteration


class _Objective:
    """Loss and gradient, with the penalty, as functions of the flat parameters."""

    def __init__(self, model: BaseMLP, network: Network, data: Examples) -> None:
        rows = data.X.shape[0]
        threads = allowed_threads(model.n_jobs)
        plan = network.plan_for(
            rows, model.plan, threads, device=device_for(data.X, model.plan, model.device),
            precision=model._arithmetic(network.dtype),
        )  # fmt: skip
        self.engine = network.new_engine(plan)
        # scikit-learn searches by the mean over the targets, though its gradient is that of their sum
        self._scale = model._reported(network)[0] if model.loss == "squared_error" else 1.0
        self._network, self._data = network, data
        self._total = float(rows if data.weight is None else data.weight.sum())
        self._penalty = model.alpha / self._total
        self._gradient = np.empty(network.n_parameters, network.dtype)

    def __call__(self, flat: Array) -> tuple[float, Array]:
        X, y, weight = self._data.X, self._data.y, self._data.weight
        flat = np.ascontiguousarray(flat, self._network.dtype)
        self.engine.load(flat)
        losses = self.engine.gradient(X, y, self._gradient, sample_weight=weight)
        weighted = losses if weight is None else weight * losses  # one order of the sum, with and without
        loss = self._scale * float(weighted.sum()) / self._total
        for W, dW in zip(self._network.split(flat)[0], self._network.split(self._gradient)[0], strict=True):
            loss += 0.5 * self._penalty * float(np.vdot(W, W))
            dW += self._penalty * W
        return loss, self._gradient.astype(np.float64)


def fit(model: BaseMLP, data: Examples, given: tuple[Any, ...]) -> None:
    """Minimise the loss of all examples; `given` are X, y and sample_weight as the caller handed them over."""
    network = model.network_
    model._direct_network()
    # line searches need more digits than float32 has, unless that was asked for by name
    working = network
    if network.dtype == np.float32 and model.precision == "auto":
        working = model._new_network(network.layer_sizes[0], "float64")
        working.parameters = network.parameters
    data = Examples(data.X, data.y if data.y.ndim == 1 else data.y.astype(working.dtype), data.weight)
    objective = _Objective(model, working, data)
    plan = objective.engine.plan
    model.plan_ = network.trained_plan = str(plan)
    model.device_ = network.trained_device = plan.place
    model.n_iter_ = 0
    X, y, weight = given
    with (
        fit_hooks(model, model.max_iter, X, y, sample_weight=weight, snapshot=model._snapshot) as hooks,
        training_progress(model.verbose, model.max_iter) as progress,
        objective.engine.hold(data.X, data.y, data.weight),
    ):

        def accepted(intermediate_result: scipy.optimize.OptimizeResult) -> None:
            network.parameters = intermediate_result.x
            model.loss_ = float(intermediate_result.fun)
            model.history_["loss"].append(model.loss_)
            progress.epoch(model.history_)
            model.n_iter_ += 1
            if hooks.end(model.n_iter_ - 1):
                raise StopIteration

        try:
            with blas.limit_threads(1):  # SciPy's steps are on vectors too short to share
                _minimise(model, objective, working.parameters.astype(np.float64), accepted)
        except KeyboardInterrupt:
            warnings.warn(
                f"Training interrupted by user after {model.n_iter_} iterations; what was learnt is kept",
                stacklevel=4,
            )
        finally:
            rows = data.X.shape[0]
            network.plan_report = PlanReport.of(objective.engine, working, rows, rows, "sgd")
            model.plan_ = network.trained_plan = str(objective.engine.present)


def _minimise(model: BaseMLP, objective: _Objective, start: Array, accepted: Any) -> None:
    found = scipy.optimize.minimize(
        objective,
        start,
        method="L-BFGS-B",
        jac=True,
        callback=accepted,
        options={"maxfun": model.max_fun, "maxiter": model.max_iter, "gtol": model.tol},
    )
    model.n_iter_, model.loss_ = min(int(found.nit), int(model.max_iter)), float(found.fun)
    if not (np.isfinite(found.fun) and np.isfinite(found.x).all()):
        raise TrainingDiverged(
            f"loss became {found.fun} in iteration {found.nit}; scaled inputs may help", int(found.nit), 1
        )
    model.network_.parameters = found.x
    if found.status not in (0, _ASKED_TO_STOP):
        more = f"; a larger max_iter than {model.max_iter} goes on" if found.nit >= model.max_iter else ""
        warnings.warn(
            f"lbfgs stopped before it converged, after {found.nit} iterations: {found.message}{more}",
            ConvergenceWarning,
            stacklevel=5,
        )
