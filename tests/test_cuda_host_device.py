"""The emulated device: memory, copies, graphs and marks, in all the orders that a GPU may take."""

import ctypes

import numpy as np
import pytest
from cuda_host import build
from cuda_host.bench import SEEDS, Bench, needs_compiler

from schuss.errors import DeviceError

pytestmark = needs_compiler


@pytest.fixture(params=SEEDS)
def seed(request):
    return request.param


@pytest.fixture
def bench(seed):
    return Bench(build.HERE, seed)


def test_memory_is_counted_and_freed_with_its_buffer(bench):
    device, before = bench.device, bench.device.free_memory()
    buffer = device.allocate(1000)
    assert device.free_memory() == before - 1000
    with pytest.raises(DeviceError, match=f"{before:,} bytes do not fit"):
        device.allocate(before)
    address = buffer.address
    del buffer
    assert device.free_memory() == before
    with pytest.raises(DeviceError, match="not within one buffer"):
        device.read(np.empty(10, np.uint8), address)


def test_memory_begins_as_nan(bench):
    for dtype in (np.float32, np.float64, np.int32):
        got = np.empty(16, dtype)
        buffer = bench.device.allocate(got.nbytes)
        bench.device.read(got, buffer.address)
        assert np.isnan(got).all() if dtype != np.int32 else (got == -1).all()
    assert np.isnan(bench.device.pinned(16).view(np.float64)).all()


def test_copies_and_fills_come_in_order(bench):
    device = bench.device
    a, b = bench.put(np.arange(8, dtype=np.float32)), bench.put(np.zeros(32, np.float32))
    wide = bench.put(np.arange(32, dtype=np.float32))
    device.launch(bench.node("twice", wide, None, b))
    device.copy(a.address, b.address + 16, 16)
    device.fill(b.address, 32, 0)
    got, rest = np.empty(8, np.float32), np.empty(32, np.float32)
    device.read(got, a.address)
    device.read(rest, b.address)
    np.testing.assert_array_equal(got, [8, 10, 12, 14, 4, 5, 6, 7])
    np.testing.assert_array_equal(rest, np.where(np.arange(32) < 8, 0, 2 * np.arange(32)))
    with pytest.raises(DeviceError, match="not within one buffer"):
        device.fill(a.address + 16, 32, 0)
    with pytest.raises(DeviceError, match="overlap"):
        device.copy(b.address, b.address + 4, 64)


def test_arguments_are_copied_when_queued():
    bench = Bench(build.HERE, 1)  # works late
    a, b, c = (bench.put(np.full(32, value, np.float32)) for value in (1, 2, 0))
    node = bench.node("twice", a, None, c)
    graph = bench.device.graph([node])
    graph.launch()
    node.args.a = b.address
    got = np.empty(32, np.float32)
    bench.device.read(got, c.address)
    assert (got == 2).all()


def chain(bench, *, missing=False):
    a, b = bench.put(np.full(32, 1, np.float32)), bench.put(np.zeros(32, np.float32))
    c, d = (bench.put(np.zeros(32, np.float32)) for _ in range(2))
    nodes = [
        bench.node("twice", a, None, b),
        bench.node("twice", a, None, d),  # beside the others
        bench.node("twice", b, None, c, after=() if missing else (0,)),
        bench.node("twice", c, None, a, after=(1, 2)),
    ]
    return nodes, a


def test_graphs_run_in_any_order_that_they_allow():
    orders = set()
    for seed in range(8):
        bench = Bench(build.HERE, seed)
        nodes, a = chain(bench)
        graph = bench.device.graph(nodes)
        for _ in range(2):
            graph.launch()
        got = np.empty(32, np.float32)
        bench.device.read(got, a.address)
        assert (got == 64).all()
        numbers = {bytes(node.args): number for number, node in enumerate(nodes)}
        orders.add(tuple(numbers[args] for _, args in bench.device.ran))
    assert {order[:4] for order in orders} == {(0, 1, 2, 3), (0, 2, 1, 3), (1, 0, 2, 3)}
    with pytest.raises(ValueError, match="after must name earlier nodes"):
        bench.device.graph([bench.node("twice", a, None, a, after=(0,))])


def launched(bench, graph):
    graph.launch()
    bench.device.synchronize()


def test_a_missing_edge_is_an_error_with_every_order(bench):
    graph = bench.device.graph(chain(bench, missing=True)[0])
    with pytest.raises(DeviceError, match="a node of the graph that need not be finished"):
        launched(bench, graph)


@pytest.mark.parametrize("joins", [True, False])
def test_copies_beside_kernels_are_there_after_the_join(joins):
    seen = []
    for seed in SEEDS:
        bench = Bench(build.HERE, seed)
        a, c = bench.put(np.zeros(32, np.float32)), bench.put(np.zeros(32, np.float32))
        pinned = bench.device.pinned(128).view(np.float32)
        pinned[:] = 1
        bench.device.write_async(a.address, pinned)
        if joins:
            bench.device.join()
        bench.device.launch(bench.node("twice", a, None, c))
        got = np.empty(32, np.float32)
        bench.device.read(got, c.address)
        seen.append(got[0])
    assert set(seen) == ({2} if joins else {0, 2})


def test_overwriting_what_a_queued_kernel_reads_shows():
    seen = set()
    for seed in SEEDS:
        bench = Bench(build.HERE, seed)
        a, c = bench.put(np.zeros(32, np.float32)), bench.put(np.zeros(32, np.float32))
        bench.device.launch(bench.node("twice", a, None, c))
        bench.device.write_async(a.address, np.ones(32, np.float32))  # no mark was waited for
        bench.device.join()
        got = np.empty(32, np.float32)
        bench.device.read(got, c.address)
        seen.add(got[0])
    assert seen == {0, 2}


def test_marks():
    for seed in SEEDS:
        bench = Bench(build.HERE, seed)
        c = bench.put(np.ones(32, np.float32))
        for _ in range(3):
            bench.device.launch(bench.node("twice", c, None, c))
        mark = bench.device.mark()
        asked = 0
        while not mark.done():
            asked += 1
        assert asked == (3 if seed % 2 else 0)
        assert len(bench.device.ran) == 3
        mark.wait()


def test_a_write_beside_a_buffer_is_found(bench):
    c = bench.put(np.zeros(4, np.float32))
    ctypes.memset(c.address + 16, 0, 1)
    with pytest.raises(DeviceError, match="just outside"):
        bench.device.synchronize()
    ctypes.memset(c.address + 16, 0xFE, 1)
