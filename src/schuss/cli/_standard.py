"""Features, and number targets, in standard deviations from their mean while a network learns.

The network that comes out takes and gives the user's own numbers: what was subtracted and divided by is folded into its
first and its last layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schuss.cli._examples import Part
from schuss.data import Dataset

if TYPE_CHECKING:
    from schuss.network import Network

__all__ = ["Standard"]

Array = NDArray[Any]

#: Losses of an output that may be shifted and scaled; the others' outputs are probabilities, margins or rates.
_OF_ANY_SCALE = ("squared_error", "absolute_error", "huber", "quantile")


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean and deviation of each feature and each target.

    Parameters
    ----------
    mean, deviation : ndarray, (n_features,)
    target_mean, target_deviation : ndarray, (n_targets,)
        0 and 1 where targets stay as they are.
    """

    mean: Array
    deviation: Array
    target_mean: Array
    target_deviation: Array

    @staticmethod
    def scales_targets(network: Network) -> bool:
        """Whether the network's outputs may be of any scale."""
        return network.loss_name in _OF_ANY_SCALE and network.output_activation == "identity"

    @classmethod
    def of(cls, train: Dataset, network: Network) -> Standard:
        """Those of the examples to train on; a deviation of 0 counts as 1."""
        mean, deviation = _moments(train.X)
        if train.classes is None and cls.scales_targets(network):
            return cls(mean, deviation, *_moments(train.y.reshape(len(train), -1)))
        return cls(mean, deviation, np.zeros(1), np.ones(1))

    def apply(self, part: Part) -> Part:
        """The same examples in standard deviations."""
        found = part.data
        X = ((found.X - self.mean) / self.deviation).astype(found.X.dtype)
        y = found.y
        if found.classes is None:
            y = (
                ((y.reshape(len(y), -1) - self.target_mean) / self.target_deviation)
                .reshape(y.shape)
                .astype(y.dtype)
            )
        return Part(Dataset(X, y, found.classes), part.weights)

    def fold(self, network: Network) -> None:
        """Make the network that has learnt in standard deviations one of the numbers as they are."""
        flat = network.parameters.astype(np.float64)
        weights, biases = network.split(flat)
        weights[0] /= self.deviation[:, None]
        biases[0] -= self.mean @ weights[0]
        copies = network.loss_function.outputs_per_target
        weights[-1] *= np.repeat(self.target_deviation, copies)
        biases[-1] *= np.repeat(self.target_deviation, copies)
        biases[-1] += np.repeat(self.target_mean, copies)
        network.parameters = flat


def _moments(values: Array) -> tuple[Array, Array]:
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return mean, np.where(deviation > 0, deviation, 1.0)
