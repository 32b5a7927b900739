"""scikit-learn's contract over the trainer."""

from .classifier import MLPClassifier

__all__ = ["MLPClassifier"]
