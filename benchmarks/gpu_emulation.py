"""The emulated GPU of the tests in the place of a real one: shows that gpu.py runs, and nothing about time."""

from __future__ import annotations

import sys

import common

import schuss.cuda.engine  # noqa: F401  what it imports would otherwise take the place of what is put there
from schuss import cuda


def use() -> None:
    """From now on, in this process, GPU 0 is one on the host."""
    sys.path.insert(0, str(common.HERE.parent / "tests"))
    from cuda_host.device import HostDevice

    device = HostDevice()
    cuda.device = lambda number=0: device
    cuda.why_not = lambda number=0: ""
    cuda.available = lambda number=0: True
