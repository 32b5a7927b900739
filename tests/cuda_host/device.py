"""A device as `schuss.cuda.device.Device` is, on the host; memory begins as NaN, and what may vary does, by seed."""

import ctypes
import random
import re
import threading
import weakref
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from schuss.errors import DeviceError

from . import build

_ARENA = 512 << 20  # bytes of all devices' buffers together
_ALIGNED = 256
_lock = threading.RLock()  # kernels run one at a time


class _Arena:
    """Hands out parts of the one range of memory that the runtime watches, each time further on: freed bytes rest."""

    def __init__(self):
        self.runtime = build.runtime()
        begin = self.runtime.host_gpu_open(_ARENA)
        if not begin:
            raise MemoryError("no room for the emulated GPU's memory")
        self.zone = self.runtime.host_gpu_zone()
        self.end = begin + _ARENA
        self.begin = self.next = begin
        self.taken = {}  # address of a buffer: what it occupies, guards included

    def take(self, nbytes):
        size = -(-(nbytes + 2 * self.zone) // _ALIGNED) * _ALIGNED
        edges = sorted([(self.begin, self.begin), *self.taken.values(), (self.end, self.end)])
        free = [(one[1], two[0]) for one, two in pairwise(edges) if two[0] - one[1] >= size]
        if not free:
            return 0
        begin = min(free, key=lambda gap: (gap[1] - size < self.next, gap[0]))
        at = max(begin[0], self.next) if begin[1] - size >= self.next else begin[0]
        self.taken[at + self.zone] = (at, at + size)
        self.next = at + size
        self.runtime.host_gpu_add(at + self.zone, nbytes)
        return at + self.zone

    def give(self, address):
        del self.taken[address]
        self.runtime.host_gpu_remove(address)


_arena = None


@dataclass(frozen=True)
class Kernel:
    name: str
    threads: int
    shared: int
    rows: int
    columns: int
    function: Any = field(repr=False)
    library: Any = field(repr=False)


class Module:
    def __init__(self, source, library):
        self._source = source
        self._library = library

    def kernel(self, name):
        try:
            shape = (ctypes.c_uint * 4).in_dll(self._library, f"{name}_shape")
            run = getattr(self._library, f"{name}_run")
        except (ValueError, AttributeError):
            raise DeviceError(f"{self._source} has no kernel {name}") from None
        run.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint64]
        return Kernel(name, *map(int, shape), run, self._library)


class Buffer:
    def __init__(self, device, address, nbytes):
        self.address = address
        self.nbytes = nbytes
        weakref.finalize(self, device._freed.append, (address, nbytes)).atexit = False


class Mark:
    def __init__(self, device, number):
        self._device = device
        self._number = number

    def done(self):
        """True at once, or after some calls: what is queued moves on by one piece of work a call."""
        device = self._device
        with device._used():
            if device._finished >= self._number:
                return True
            device._advance()
            return False

    def wait(self):
        while not self.done():
            pass


class Graph:
    """Nodes in an order that respects `after`, and is otherwise drawn anew for each launch."""

    def __init__(self, device, nodes):
        self._device = device
        self._nodes = [(node.kernel, node.grid, _copied(node.args)) for node in nodes]
        self._after = []  # of each node, all that come before it, directly or not
        for index, node in enumerate(nodes):
            if not all(0 <= other < index for other in node.after):
                raise ValueError(f"after must name earlier nodes, got {node.after} for node {index}")
            self._after.append(set(node.after).union(*(self._after[other] for other in node.after)))

    def launch(self):
        self._device._queue(self._run)

    def _run(self):
        device = self._device
        done = []
        while len(done) < len(self._nodes):
            ready = [i for i, after in enumerate(self._after) if i not in done and after.issubset(done)]
            now = device._choose(ready)
            before = bytes(earlier in self._after[now] for earlier in done)
            device._run(*self._nodes[now], before)
            done.append(now)


class HostDevice:
    """A GPU on the host.

    Parameters
    ----------
    seed : int, default 0
        Draws the order of blocks, warps, lanes and nodes of graphs, and when queued work and copies happen. 0 and 1 are
        the plain orders, forwards and backwards; with even seeds kernels run at once and copies late, with odd ones the
        other way round.
    memory : int
        Bytes that it pretends to have.
    multiprocessors : int
    capability : tuple of int
    sources : Path
        Folder of the kernels.
    deadline : float
        Seconds of computing until a launch counts as hung.
    """

    def __init__(
        self,
        seed=0,
        *,
        memory=256 << 20,
        multiprocessors=4,
        capability=(9, 0),
        sources=build.KERNELS,
        deadline=60,
    ):
        global _arena
        with _lock:
            if _arena is None:
                _arena = _Arena()
        self.number = 0
        self.name = "host emulation"
        self.capability = capability
        self.multiprocessors = multiprocessors
        self.memory = memory
        self.attributes = {"multiprocessors": multiprocessors, "shared_bytes_per_block": 227 * 1024}
        self.stream = 0
        self.ran = []  # what was launched: name and first argument
        self._seed = seed
        self._random = random.Random(seed)
        self._runtime = _arena.runtime
        self._sources = sources
        self._deadline = deadline
        self._free = memory
        self._freed = []  # by the garbage collector, which may come at any time
        self._work, self._finished = [], 0
        self._copies, self._joined = [], 0
        self._error = None

    def __str__(self):
        return f"GPU {self.number} ({self.name})"

    # --- Memory -------------------------------------------------------------------------------------

    def free_memory(self):
        with self._used():
            return self._free

    def allocate(self, nbytes):
        with self._used():
            address = _arena.take(max(nbytes, 1)) if nbytes <= self._free else 0
            if not address:
                raise DeviceError(
                    f"allocate: {nbytes:,} bytes do not fit, {self} has {self._free:,} of {self.memory:,} free"
                )
            self._free -= nbytes
            return Buffer(self, address, nbytes)

    def pinned(self, nbytes):
        return np.full(nbytes, 0xFF, np.uint8)

    def write(self, address, array):
        self.synchronize()
        with self._used():
            self._write(address, array)

    def write_async(self, address, array):
        with self._used():
            self._inside(address, array.nbytes)
            if self._late_work:
                self._write(address, array)
            else:
                self._copies.append((address, array))

    def join(self):
        with self._used():
            self._joined = len(self._copies)

    def read(self, array, address):
        if not array.flags.writeable:
            raise ValueError("array must be writeable, got one that is read-only")
        self.synchronize()
        with self._used():
            self._inside(address, array.nbytes)
            ctypes.memmove(_contiguous(array).ctypes.data, address, array.nbytes)

    def fill(self, address, nbytes, byte):
        with self._used():
            self._inside(address, nbytes)
        self._queue(lambda: self._wrote(address, nbytes) and ctypes.memset(address, byte, nbytes))

    def copy(self, to, from_, nbytes):
        with self._used():
            self._inside(to, nbytes)
            self._inside(from_, nbytes)
            if abs(to - from_) < nbytes:
                raise DeviceError(f"copy: {nbytes} bytes from {from_:#x} to {to:#x} overlap")
        self._queue(lambda: self._wrote(to, nbytes) and ctypes.memmove(to, from_, nbytes))

    # --- Work ---------------------------------------------------------------------------------------

    def module(self, source, defines):
        return Module(source, build.kernels(source, defines, self._sources))

    def launch(self, node):
        kernel, grid, args = node.kernel, node.grid, _copied(node.args)
        self._queue(lambda: self._run(kernel, grid, args))

    def graph(self, nodes):
        return Graph(self, list(nodes))

    def mark(self):
        with self._used():
            return Mark(self, self._finished + len(self._work))

    def synchronize(self):
        self.mark().wait()
        with self._used():
            self._check_guards()

    # --- Inside -------------------------------------------------------------------------------------

    @property
    def _late_work(self):
        return self._seed % 2 == 1

    def _used(self):
        """Within: the one who uses it. What was freed meanwhile goes first, and an error stays one."""
        return _Use(self)

    def _queue(self, action):
        with self._used():
            self._work.append(action)
            if not self._late_work:
                self._advance()

    def _advance(self):
        """Do the next piece of work, and the copies that it must find done."""
        try:
            for address, array in self._copies[: self._joined]:
                self._write(address, array)
            del self._copies[: self._joined]
            self._joined = 0
            self._work[0]()
            self._check_guards()
        except DeviceError as error:
            self._error = str(error)
            raise
        del self._work[0]
        self._finished += 1

    def _release(self):
        if self._freed and self._error is None:
            while self._work:  # freeing waits for all that runs
                self._advance()
            self._joined = len(self._copies)
            self._check_guards()
        while self._freed:
            address, nbytes = self._freed.pop()
            _arena.give(address)
            self._free += nbytes

    def _choose(self, ready):
        if self._seed < 2:
            return ready[-self._seed]
        return self._random.choice(ready)

    def _run(self, kernel, grid, args, before=None):
        self._runtime.host_gpu_deadline(self._deadline)
        self._runtime.host_gpu_node(-1 if before is None else len(before), before or b"")
        seed = self._seed if self._seed < 2 else self._random.getrandbits(62) + 2
        self.ran.append((kernel.name, bytes(args)))
        if kernel.function(ctypes.addressof(args), *grid, seed):
            raise DeviceError(_located(self._runtime.host_gpu_error().decode(), kernel.library))

    def _check_guards(self):
        address = self._runtime.host_gpu_broken()
        if address:
            raise DeviceError(f"something wrote just outside of the buffer at {address:#x}")

    def _inside(self, address, nbytes, written=0):
        if nbytes and not self._runtime.host_gpu_inside(address, nbytes, written):
            raise DeviceError(f"{nbytes} bytes at {address:#x} are not within one buffer")

    def _wrote(self, address, nbytes):
        self._inside(address, nbytes, 1)
        return True

    def _write(self, address, array):
        source = _contiguous(array)
        self._wrote(address, array.nbytes)
        ctypes.memmove(address, source.ctypes.data, array.nbytes)


class _Use:
    def __init__(self, device):
        self._device = device

    def __enter__(self):
        _lock.acquire()
        try:
            self._device._release()
            if self._device._error:
                raise DeviceError(self._device._error)
        except BaseException:
            _lock.release()
            raise

    def __exit__(self, *_):
        _lock.release()


def _copied(args):
    return type(args).from_buffer_copy(args)


def _contiguous(array):
    if not array.flags.forc:
        raise ValueError(f"array must be contiguous, got strides {array.strides} of shape {array.shape}")
    return array


def _located(message, library):
    """The message, with a place in the source instead of an address."""

    def place(found):
        return build.line_of(library, int(found[1], 16)) or found[0]

    return re.sub(r"\[\+(0x[0-9a-f]+)\]", lambda found: f"[{place(found)}]", message)
