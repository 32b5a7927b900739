"""How a product is divided among the blocks of a GPU: the size of the tiles, and parts of long sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .handles import Kernel

__all__ = ["FILL", "parts", "shape", "tiles"]

#: Blocks that fill a GPU. Not asked of the GPU at hand, so that the bits of a sum cut into parts are the same on all.
FILL = 128
#: Least terms of a part, most parts, and most numbers that the last block has to add: it does so alone.
_PART, _PARTS, _ADDED = 64, 8, 32768
_SIZES = ("_large", "_medium", "_small")


def tiles(rows: int, columns: int, kernel: Kernel) -> int:
    """Blocks of `kernel` that cover a result of rows x columns."""
    return -(-rows // kernel.rows) * -(-columns // kernel.columns)


def shape(
    name: str, module: Any, results: Sequence[tuple[int, int]], terms: int, cut: bool, naive: bool = False
) -> Kernel:
    """The kernel `name`_large, _medium or _small for results of (rows, columns) and sums of so many terms: the largest
    tile whose blocks, cut into parts where that is allowed, come near to filling a GPU. The naive program has one size.
    """
    for size in ("",) if naive else _SIZES:
        kernel: Kernel = module.kernel(f"{name}{size}")
        most = _most_parts(terms, kernel) if cut else 1
        if 4 * most * sum(tiles(*result, kernel) for result in results) >= 3 * FILL:
            break
    return kernel


def parts(kernel: Kernel, blocks: int, terms: int, cut: bool) -> int:
    """Parts into which the terms of a sum are cut, so that `blocks` tiles fill a GPU."""
    return max(1, min(_most_parts(terms, kernel), FILL // blocks)) if cut else 1


def _most_parts(terms: int, kernel: Kernel) -> int:
    return max(1, min(_PARTS, terms // _PART, _ADDED // (kernel.rows * kernel.columns)))
