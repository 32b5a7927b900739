"""The list behind `coefs_` and `intercepts_`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Layers", "checked_layers"]

Array = NDArray[Any]


class Layers(list[Array]):
    """Read-only arrays, one a layer; assigning one changes the network that they were read from.

    Pickles and copies as a plain list.

    Parameters
    ----------
    arrays : sequence of ndarray
        Views of the network's parameters.
    name : str
        The attribute, for messages.
    replace : callable(list of ndarray)
        Takes all layers' arrays, one of them new.
    """

    def __init__(self, arrays: Sequence[Array], name: str, replace: Callable[[list[Array]], None]) -> None:
        super().__init__(arrays)
        self._name, self._replace = name, replace

    def __setitem__(self, layer: Any, array: Any) -> None:
        arrays = list(self)
        arrays[layer] = array
        arrays = checked_layers(self._name, arrays, self)
        self._replace(arrays)
        for array in arrays:
            array.flags.writeable = False
        super().__setitem__(slice(None), arrays)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"{self._name} has one array a layer: assign to {self._name}[i], or a list of as many"
        )

    append = extend = insert = pop = remove = clear = sort = reverse = _refuse
    __delitem__ = __iadd__ = __imul__ = _refuse

    def __reduce__(self) -> Any:
        return list, (list(self),)

    def __reduce_ex__(self, _: Any) -> Any:
        return self.__reduce__()

    def copy(self) -> list[Array]:
        return list(self)

    __copy__ = copy

    def __deepcopy__(self, _: Any) -> list[Array]:
        return [array.copy() for array in self]


def checked_layers(name: str, given: Sequence[ArrayLike], present: Sequence[Array]) -> list[Array]:
    """Copies of `given` as arrays like those of `present`.

    Raises
    ------
    ValueError
        If there are more or fewer, one has another shape, or holds NaN or infinity.
    """
    if len(given) != len(present):
        raise ValueError(f"{name} must hold {len(present)} arrays, one a layer, got {len(given)}")
    arrays = [np.array(new, old.dtype) for new, old in zip(given, present, strict=True)]
    for layer, (new, old) in enumerate(zip(arrays, present, strict=True)):
        if new.shape != old.shape:
            raise ValueError(f"{name}[{layer}] must have shape {old.shape}, got {new.shape}")
        if not np.isfinite(new).all():
            raise ValueError(f"{name}[{layer}] must be finite, got {new[~np.isfinite(new)][0]}")
    return arrays
