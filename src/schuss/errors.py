"""What Schuss raises; a message is one line: the argument or file, the rule and the value received."""

__all__ = ["DataError", "DeviceError", "ModelFileError", "PlanError", "SchussError", "TrainingDiverged"]


class SchussError(Exception):
    """Base of all errors of this package."""


class DataError(SchussError, ValueError):
    """Training data, or a file that should hold them, break a rule."""


class PlanError(SchussError, ValueError):
    """A plan is misspelt, or this machine cannot carry it out."""


class DeviceError(SchussError, RuntimeError):
    """A GPU that was asked for is missing, or failed."""


class ModelFileError(SchussError, ValueError):
    """A model file is missing, damaged, foreign or too new."""


class TrainingDiverged(SchussError, ValueError):
    """The loss or a weight is no longer finite.

    Attributes
    ----------
    epoch, step : int
        Where it happened.
    """

    def __init__(self, message: str, epoch: int, step: int) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
