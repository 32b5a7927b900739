"""digits: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""

import numpy as np
from numpy.typing import NDArray

from schuss.data.dataset import Dataset, Splits

__all__ = ["digit_images", "load_digits", "split_indices", "uniform"]

_N_HELD_OUT = 250  # examples in validation, and as many in test
_SEED = 88


def load_digits() -> Splits:
    """Return scikit-learn's digits, divided once and for all.

    Returns
    -------
    Splits
        1,297 / 250 / 250 examples of 64 features, uint8 0 to 16 with scale 1/16, classes 0 to 9; each part
        holds each class in nearly equal share.
    """
    images, labels = digit_images()
    parts = split_indices(labels)
    train, validation, test = (
        Dataset(images[rows], labels[rows], np.arange(10), scale=1 / 16)
        for rows in (parts["train"], parts["validation"], parts["test"])
    )
    return Splits(train, validation, test, "digits")


def digit_images() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return scikit-learn's images (1797, 64), 0 to 16, and their labels."""
    from sklearn.datasets import load_digits as from_sklearn  # slow to import

    X, y = from_sklearn(return_X_y=True)
    return X.astype(np.uint8), y.astype(np.int32)


def uniform(bits: np.random.PCG64, n: int) -> NDArray[np.float64]:
    """Return n numbers in [0, 1) from raw words, which NumPy keeps the same in every version."""
    return (np.asarray(bits.random_raw(n)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def split_indices(labels: NDArray[np.int32]) -> dict[str, NDArray[np.intp]]:
    """Divide the digits' row numbers into parts with equal shares of each class.

    Rows are shuffled, then ordered by their place within their class: each run of that order holds all
    classes in turn, so any cut of it is stratified.
    """
    shuffled = np.argsort(np.random.PCG64(_SEED).random_raw(len(labels)), kind="stable")
    place = np.empty(len(labels), np.intp)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels[shuffled] == label)
        place[mine] = np.arange(len(mine))
    order = shuffled[np.argsort(place, kind="stable")]
    test, validation, train = np.split(order, (_N_HELD_OUT, 2 * _N_HELD_OUT))
    return {"train": train, "validation": validation, "test": test}
