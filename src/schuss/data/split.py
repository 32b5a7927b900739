"""Cutting one set of examples into training, validation and test parts."""

import numpy as np

from schuss.data.dataset import Dataset, Splits
from schuss.errors import DataError

__all__ = ["MIN_TO_SPLIT", "split"]

MIN_TO_SPLIT = 10


def split(data: Dataset, *, name: str, seed: int = 0) -> Splits:
    """Shuffle the examples and cut them 80 : 10 : 10.

    Parameters
    ----------
    data : Dataset
        All examples. Fewer than ten are not cut: all of them are for training.
    name : str
        Name of the result.
    seed : int, default=0
        The same seed gives the same parts, in every version of NumPy.

    Returns
    -------
    Splits
        Test and validation have n // 10 examples each, training the rest.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed must be an integer of at least 0, got {seed!r}")
    n = len(data)
    if n < MIN_TO_SPLIT:
        return Splits(data, None, None, name)
    order = np.argsort(np.random.PCG64(int(seed)).random_raw(n), kind="stable")
    test, validation, train = np.split(order, (n // 10, 2 * (n // 10)))
    return Splits(data.take(train), data.take(validation), data.take(test), name)
