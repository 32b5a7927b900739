"""Runs the package's kernels one by one: arrays in, arrays out, numbers rounded so that every precision has them."""

from itertools import pairwise

import numpy as np

from schuss.cuda import arguments as args
from schuss.cuda.device import Node
from schuss.cuda.layout import stride, to_bfloat16

from . import build
from .device import HostDevice

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53, "tf32": 2.0**-24, "bfloat16": 2.0**-24}


def exact(x, precision):
    """The nearest numbers that the products of this precision read as they are, as float64."""
    if precision == "float64":
        return np.asarray(x, np.float64)
    x = np.asarray(x, np.float32)
    if precision == "bfloat16":
        return from_bfloat16(to_bfloat16(x))
    if precision == "tf32":
        x = (np.ascontiguousarray(x).view(np.uint32) & ~np.uint32(0x1FFF)).view(np.float32)
    return x.astype(np.float64)


def from_bfloat16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


class Desk:
    """A device, a program of one precision, and what has been put there."""

    def __init__(self, precision, seed=2, source="step.cu", sources=build.KERNELS):
        self.precision = precision
        self.device = HostDevice(seed, sources=sources)
        self.module = self.device.module(source, args.defines(precision))
        _, self.wide, self.narrow = args.NUMBERS[precision]
        self._buffers = {}

    def put(self, array):
        """The address of a copy."""
        array = np.ascontiguousarray(array)
        buffer = self.device.allocate(array.nbytes)
        self.device.write(buffer.address, array)
        self._buffers[buffer.address] = buffer
        return buffer.address

    def rows(self, x, capacity=None, *, wide=False):
        """The address of rows padded with zeros, in the type that products read, or in that of sums; behind them rows
        of NaN up to `capacity`."""
        x = np.atleast_2d(x)
        padded = np.zeros((max(capacity or 0, len(x)), stride(x.shape[1])))
        padded[len(x) :] = np.nan
        padded[: len(x), : x.shape[1]] = x
        return self.put(self._encoded(padded, wide))

    def halves(self, x, capacity, *, wide=False):
        """Rows for a step with an odd number: the second of two halves, the first being NaN."""
        x = np.atleast_2d(x)
        both = np.full((2 * capacity, x.shape[1]), np.nan)
        both[capacity : capacity + len(x)] = x
        return self.rows(both, wide=wide)

    def room(self, rows, columns, dtype=None, *, wide=False):
        """The address of rows that nobody has written, for :meth:`get`."""
        dtype = np.dtype(dtype) if dtype else self.wide if wide else self.narrow
        buffer = self.device.allocate(rows * columns * dtype.itemsize)
        self._buffers[buffer.address] = buffer
        return buffer.address

    def get(self, address, shape, dtype=None, *, wide=False):
        """What lies there, numbers as float64."""
        got = np.empty(shape, dtype or (self.wide if wide else self.narrow))
        self.device.read(got, address)
        if dtype is None and not wide and self.precision == "bfloat16":
            return from_bfloat16(got)
        return got if dtype else got.astype(np.float64)

    def moment(self, step=1, **numbers):
        """A step with these numbers; an odd one, so that the second halves are read."""
        table = np.zeros(step + 1, args.STEP_NUMBERS)
        table["keep"] = 1
        for name, value in numbers.items():
            table[name][step] = value
        self.state = self.put(np.array([step, 0, step + 1]))
        return args.Moment(self.put(table), self.state, 0)

    def stopped(self):
        """State.stopped."""
        return int(self.get(self.state, 3, np.int64)[1])

    def launch(self, name, arguments, *, grid):
        self.device.launch(Node(self.module.kernel(name), grid, arguments))
        self.device.synchronize()

    def _encoded(self, x, wide):
        if self.precision == "bfloat16" and not wide:
            return to_bfloat16(x.astype(np.float32))
        return x.astype(self.wide)


def product(desk, name, *, examples, columns, depth, parts=1, rng, **given):
    """Runs a forward or delta product of random matrices.

    Returns
    -------
    sums : array (examples, columns), float64
        A W + b, or D' W^T.
    bound : array
        How far a chain of rounded additions may be off.
    results : dict of str to array (capacity, columns with padding)
        `out`, and `slope` of a forward product that keeps it.
    activated, slope : array
        What a delta product reads of its own layer.
    """
    forward = name.startswith("forward")
    capacity = examples + 3
    A = exact(rng.standard_normal((examples, depth)), desk.precision)
    W = exact(rng.standard_normal((depth, columns) if forward else (columns, depth)), desk.precision)
    bias = exact(rng.standard_normal(columns), desk.precision)
    activated = exact(rng.uniform(-0.9, 0.9, (examples, columns)), desk.precision)
    slope = exact(rng.uniform(-1, 1, (examples, columns)), desk.precision)
    kernel = desk.module.kernel(name)
    tiles = -(-examples // kernel.rows) * -(-columns // kernel.columns)
    out = desk.room(capacity, stride(columns), wide=bool(given.get("plain")))
    numbers = {"keep_scale": 1.0, "partial": None, "tickets": None, "slope": None, "activation": 0} | given
    if parts > 1:
        numbers["partial"] = desk.room(
            tiles * parts, kernel.rows * kernel.columns + kernel.threads, desk.wide
        )
        numbers["tickets"] = desk.put(np.zeros(tiles, np.uint32))
    keeps = numbers["slope"]
    if keeps:
        numbers["slope"] = (
            desk.room(capacity, stride(columns), wide=True)
            if forward
            else desk.rows(slope, capacity, wide=True)
        )
    if forward:
        numbers |= {
            "a": desk.halves(A, capacity), "a_half": capacity * stride(depth), "bias": desk.rows(bias, wide=True),
        }  # fmt: skip
    else:
        numbers |= {"a": desk.rows(A, capacity), "activated": desk.rows(activated, capacity)}
    arguments = args.ProductArguments(
        at=desk.moment(count=examples), w=desk.rows(W), out=out, columns=columns, depth=depth, capacity=capacity,
        a_stride=stride(depth), w_stride=stride(W.shape[1]), out_stride=stride(columns), **numbers,
    )  # fmt: skip
    desk.launch(name, arguments, grid=(tiles, parts))
    if parts > 1:
        assert not desk.get(numbers["tickets"], tiles, np.uint32).any()
    shape = (capacity, stride(columns))
    results = {"out": desk.get(out, shape, wide=bool(given.get("plain")))}
    if keeps and forward:
        results["slope"] = desk.get(numbers["slope"], shape, wide=True)
    product = A @ W if forward else A @ W.T
    sizes = np.abs(A) @ np.abs(W if forward else W.T)
    sums = product + bias if forward else product
    return (
        sums,
        (depth + parts + 2) * ROUNDOFF[desk.precision] * (sizes + np.abs(bias)),
        results,
        activated,
        slope,
    )


def cut(precision):
    """Parts that a sum may be taken in."""
    return 3 if precision in ("tf32", "bfloat16") else 1


def stored(x, precision):
    """By how much what is kept for products may be off: the rounding to bfloat16."""
    return np.abs(x) * (2.0**-8 if precision == "bfloat16" else 8 * ROUNDOFF[precision])


def close(got, wanted, bound):
    """Within the bound; NaN is not."""
    off = np.abs(got - wanted)
    assert (off <= bound).all(), f"off by {np.nanmax(off / np.maximum(bound, 1e-300)):.3g} times the bound"


class Layers:
    """Two layers as the kernels of the update find them; activations of the first in the second of two halves."""

    def __init__(self, desk, kernel, rng, examples, sizes, parts=1, slots=1):
        self.sizes, self.capacity, self.desk = sizes, examples + 2, desk
        self.table = (args.LayerArguments * 2)()
        self.A, self.D, self.W, self.slots, self.out = [], [], [], [], []
        row = block = 0
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            A = exact(rng.standard_normal((examples, inputs)), desk.precision)
            D = exact(rng.standard_normal((examples, outputs)), desk.precision)
            W = exact(rng.standard_normal((inputs + 1, outputs)), desk.precision)
            entry, width = self.table[layer], stride(outputs)
            across = -(-outputs // kernel.columns)
            tiles = across * -(-inputs // kernel.rows)
            entry.a = desk.rows(A, self.capacity) if layer else desk.halves(A, self.capacity)
            entry.a_half = 0 if layer else self.capacity * stride(inputs)
            entry.delta = desk.rows(D, self.capacity)
            entry.copy = desk.room(inputs, width) if desk.narrow != desk.wide else None
            entry.gradient = desk.rows(np.zeros((inputs + 1, outputs)), wide=True)
            entry.squares = desk.room(inputs + 1, 1, np.float64)
            entry.penalties = desk.room(-(-inputs // 64) * -(-outputs // 8), 1, np.float64)
            kept = [desk.rows(W if slot == 0 else 0 * W, wide=True) for slot in range(slots)]
            for slot, address in enumerate(kept):
                entry.w[slot] = address
            if parts > 1:
                entry.partial = desk.room(
                    tiles * parts, kernel.rows * kernel.columns + kernel.threads, desk.wide
                )
                entry.tickets = desk.put(np.zeros(tiles, np.uint32))
            entry.inputs, entry.outputs, entry.stride, entry.a_stride = inputs, outputs, width, stride(inputs)
            entry.parts, entry.tiles_across, entry.first_block, entry.first_row = parts, across, block, row
            block, row = block + tiles * parts, row + inputs + 1
            for values, value in ((self.A, A), (self.D, D), (self.W, W), (self.slots, kept)):
                values.append(value)
        self.blocks, self.rows = block, row
        self.address = desk.put(np.frombuffer(bytes(self.table), np.uint8))

    def gradients(self):
        """W's and, as the last row, b's, with what rounding may make of them."""
        full = [np.vstack([A.T @ D, D.sum(0)]) for A, D in zip(self.A, self.D, strict=True)]
        sizes = [
            np.vstack([np.abs(A).T @ np.abs(D), np.abs(D).sum(0)])
            for A, D in zip(self.A, self.D, strict=True)
        ]
        return full, [(self.capacity + 8) * ROUNDOFF[self.desk.precision] * each for each in sizes]

    def read(self, addresses):
        """Matrices with the bias as the last row; their padding is looked at."""
        found = []
        for address, (inputs, outputs) in zip(addresses, pairwise(self.sizes), strict=True):
            matrix = self.desk.get(address, (inputs + 1, stride(outputs)), wide=True)
            assert (matrix[:, outputs:] == 0).all()
            found.append(matrix[:, :outputs])
        return found

    def arguments(self, at, **given):
        return args.UpdateArguments(
            at=at, layers=self.address, rows=self.rows, n_layers=2, clip_norm=1.0, **given
        )
