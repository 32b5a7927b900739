"""Sources of data, all of which give Dataset and Splits; importing fetches and makes nothing."""

from schuss.data.arrays import as_features, encode_labels, from_arrays
from schuss.data.arrow import read_arrow
from schuss.data.dataset import Dataset, Splits
from schuss.data.digits import load_digits
from schuss.data.digits28 import load_digits28
from schuss.data.idx import read_idx
from schuss.data.mnist import load_mnist
from schuss.data.sources import BUILT_IN, load, load_features, load_table, load_weighted
from schuss.data.split import split
from schuss.data.table import read_csv

__all__ = [
    "BUILT_IN",
    "Dataset",
    "Splits",
    "as_features",
    "encode_labels",
    "from_arrays",
    "load",
    "load_digits",
    "load_digits28",
    "load_features",
    "load_mnist",
    "load_table",
    "load_weighted",
    "read_arrow",
    "read_csv",
    "read_idx",
    "split",
]
