"""The IDX file format of MNIST: a magic number, the dimensions, then the values, all big-endian."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schuss.errors import DataError

__all__ = ["parse_idx", "read_bytes", "read_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, *, ndim: int | None = None) -> NDArray[Any]:
    """Read an IDX file, plain or compressed with gzip.

    Parameters
    ----------
    path : Path
        The file; whether it is compressed is seen from its content.
    ndim : int, default=None
        Number of dimensions it must have: 1 for labels, 3 for images.

    Returns
    -------
    ndarray
        In this machine's byte order.
    """
    values = parse_idx(read_bytes(path), path, ndim=ndim)
    return values if values.flags.writeable else values.copy()


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, uncompressed if it is a gzip file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: must be a readable file, got: {error.strerror}") from None
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: must be a whole gzip file, got: {error}") from None


def parse_idx(content: bytes, path: Path, *, ndim: int | None = None) -> NDArray[Any]:
    """Return the array in the bytes of an IDX file; `path` is for messages. Where it lies there as it is, it is not
    copied, and read-only."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES or content[3] == 0:
        raise DataError(
            f"{path}: must begin with an IDX magic number (0, 0, a type from 8 to 14, the number of "
            f"dimensions), got bytes {content[:4].hex(' ') or 'none'}"
        )
    dtype, found = np.dtype(_DTYPES[content[2]]), content[3]
    if ndim is not None and found != ndim:
        raise DataError(f"{path}: must have {ndim} dimension{'s' * (ndim > 1)}, got {found}")
    start = 4 + 4 * found
    if len(content) < start:
        raise DataError(f"{path}: truncated: {found} dimensions need {start} bytes, got {len(content)}")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=found, offset=4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "trailing bytes"
        raise DataError(f"{path}: {fault}: shape {shape} needs {expected} bytes, got {len(content)}")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)
