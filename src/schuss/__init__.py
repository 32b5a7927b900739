"""Schuss: trains multilayer feedforward networks in parallel at every level a machine has."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .errors import DataError, DeviceError, ModelFileError, PlanError, SchussError, TrainingDiverged

if TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor
    from .model_file import load
    from .network import Network
    from .onnx_export import export_onnx
    from .plan import Plan
    from .plotting import plot_history
    from .trainer import train

__version__ = version("schuss")

__all__ = [
    "DataError",
    "DeviceError",
    "MLPClassifier",
    "MLPRegressor",
    "ModelFileError",
    "Network",
    "Plan",
    "PlanError",
    "SchussError",
    "TrainingDiverged",
    "export_onnx",
    "load",
    "plot_history",
    "train",
]

# Imported when first asked for: `schuss --help` need not wait for scikit-learn.
_HOMES = {
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "Network": "network",
    "export_onnx": "onnx_export",
    "Plan": "plan",
    "load": "model_file",
    "plot_history": "plotting",
    "train": "trainer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'schuss' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
