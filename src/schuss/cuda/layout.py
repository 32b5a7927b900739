"""Where parameters lie on the GPU: a layer's W row by row, its b as one row more, every row padded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "stride", "to_bfloat16"]

Array = NDArray[Any]

#: Elements to whose multiple rows are padded: 32 bytes of bfloat16, and the lanes that share a row of outputs.
_ROW = 16


def stride(columns: int) -> int:
    """Elements from one row of `columns` to the next."""
    return -(-columns // _ROW) * _ROW


class Layout:
    """Padded matrices of a network's layers, one after another.

    Parameters
    ----------
    layer_sizes : sequence of int, (n_0, ..., n_L)

    Attributes
    ----------
    size : int
        Elements in all.
    length : int
        Elements without padding.
    offsets : list of int
        Of each layer's first weight.
    """

    def __init__(self, layer_sizes: Sequence[int]) -> None:
        self._shapes = [(inputs + 1, outputs) for inputs, outputs in pairwise(layer_sizes)]
        ends = np.cumsum([0] + [rows * stride(columns) for rows, columns in self._shapes]).tolist()
        self.offsets, self.size = ends[:-1], ends[-1]
        self.length = sum(rows * columns for rows, columns in self._shapes)

    def _pairs(self, flat: Array, padded: Array) -> list[tuple[Array, Array]]:
        """Each layer's rows, the bias the last, in the flat vector and in the padded one."""
        pairs, at = [], 0
        for offset, (rows, columns) in zip(self.offsets, self._shapes, strict=True):
            wide = padded[offset : offset + rows * stride(columns)].reshape(rows, -1)
            pairs.append((flat[at : at + rows * columns].reshape(rows, columns), wide[:, :columns]))
            at += rows * columns
        return pairs

    def pad(self, flat: Array) -> Array:
        """The flat vector with every row padded with zeros."""
        padded = np.zeros(self.size, flat.dtype)
        for narrow, wide in self._pairs(flat, padded):
            wide[...] = narrow
        return padded

    def unpad(self, padded: Array, flat: Array) -> None:
        """Write the rows without their padding into `flat`."""
        for narrow, wide in self._pairs(flat, padded):
            narrow[...] = wide


def to_bfloat16(x: Array) -> Array:
    """Bits of float32 numbers rounded to bfloat16, nearest, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), 0x7FC0, rounded).astype(np.uint16)
