"""What the nodes of a step must know of a network and its training."""

from __future__ import annotations

from dataclasses import dataclass

from ..losses import Loss
from ..optimizers import Optimizer

__all__ = ["HEAD_OUTPUTS", "Settings"]

#: Outputs up to which product, loss and first delta are one node (kernels/head.cuh).
HEAD_OUTPUTS = 16
_SLOPED = ("gelu", "silu")


@dataclass(frozen=True)
class Settings:
    """A network, its loss and optimizer, the arithmetic of its products, and how it is trained."""

    layer_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: Loss
    optimizer: Optimizer
    precision: str
    dropout: tuple[float, ...] = ()
    seed: int = 0
    loss_scale: float = 1.0
    loss_cap: float = float("inf")
    #: The 2016 study's kernels: tiles of one size; outputs, losses and update are nodes of their own.
    naive: bool = False

    @property
    def layers(self) -> int:
        return len(self.layer_sizes) - 1

    @property
    def cut(self) -> bool:
        """Whether sums may be cut into parts: not where the bits are to be those of one chain."""
        return self.precision in ("tf32", "bfloat16")

    @property
    def wide(self) -> bool:
        """Whether the outputs are too many for the head kernel, or there is none."""
        return self.naive or self.layer_sizes[-1] > HEAD_OUTPUTS

    def rate(self, layer: int) -> float:
        """Share of the units of hidden layer `layer` that are dropped."""
        return self.dropout[layer - 1] if self.dropout and 0 < layer < self.layers else 0.0

    def keeps_slope(self, layer: int) -> bool:
        """Whether f'(z) of hidden layer `layer` is kept beside a."""
        return 0 < layer < self.layers and (self.activations[layer - 1] in _SLOPED or self.rate(layer) > 0)
