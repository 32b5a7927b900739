"""Runs single kernels: arrays in, array out."""

import ctypes

import numpy as np
import pytest

from schuss.cuda.device import Node

from . import build
from .device import HostDevice

SEEDS = range(4)  # forwards, backwards, and two drawn

needs_compiler = pytest.mark.skipif(bool(build.why_not()), reason=build.why_not())


class Arguments(ctypes.Structure):
    """Of the kernels in examples.cu."""

    _fields_ = [(name, ctypes.c_void_p) for name in "abc"] + [(name, ctypes.c_int) for name in "mnk"]


class Bench:
    """A device with the kernels of a file of the folder."""

    def __init__(self, folder, seed, source="examples.cu", **options):
        self.device = HostDevice(seed, sources=folder, **options)
        self.module = self.device.module(source, {})
        self.kept = []

    def put(self, array):
        buffer = self.device.allocate(array.nbytes)
        self.device.write(buffer.address, array)
        self.kept.append(buffer)
        return buffer

    def node(self, name, a=None, b=None, c=None, m=0, n=0, k=0, grid=(1, 1), after=()):
        at = [each and each.address for each in (a, b, c)]
        return Node(self.module.kernel(name), grid, Arguments(*at, m, n, k), after)

    def run(self, name, a, b=None, c=None, *, out, grid=(1, 1), **numbers):
        """What is in `out` (an array to begin with, or a shape of floats) after the kernel."""
        a, b = (None if each is None else self.put(each) for each in (a, b))
        buffer = self.device.allocate(4 * int(np.prod(out))) if isinstance(out, tuple) else self.put(out)
        got = np.empty(out, np.float32) if isinstance(out, tuple) else np.empty_like(out)
        self.device.launch(self.node(name, a, b, buffer, grid=grid, **numbers))
        self.device.read(got, buffer.address)
        return got
