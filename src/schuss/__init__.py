"""Schuss: trains multilayer feedforward networks in parallel at every level a machine has."""

from importlib.metadata import version

from .errors import DataError, ModelFileError, PlanError, SchussError, TrainingDiverged
from .estimators import MLPClassifier
from .model_file import load
from .network import Network
from .plan import Plan
from .trainer import train

__version__ = version("schuss")

__all__ = [
    "DataError",
    "MLPClassifier",
    "ModelFileError",
    "Network",
    "Plan",
    "PlanError",
    "SchussError",
    "TrainingDiverged",
    "load",
    "train",
]
