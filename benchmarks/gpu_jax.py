"""JAX on a GPU, in a precision that is named: an epoch is one compiled scan."""

from __future__ import annotations

from typing import Any

import jax

import schuss
from schuss.study.peers.jax import Scan as OnCpu
from schuss.study.work import Work

__all__ = ["Scan"]

#: Of products of float32 matrices, in JAX's words. Without one, a GPU's would be tf32.
PRODUCTS = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}


class Scan(OnCpu):
    """As schuss.study.peers has it; in bfloat16 the layers and the examples are, and the loss is not."""

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network, precision: str) -> None:
        self.dtype = "bfloat16" if precision == "bfloat16" else "float32"
        self.products = PRODUCTS[precision]
        super().__init__(work, X, y, start)

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order."""
        with jax.default_matmul_precision(self.products):
            return super().epoch(order)
