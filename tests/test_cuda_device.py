"""The device over the driver's calls: what is called, in which order and context, and what becomes of failures."""

import _thread
import gc
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_driver import CONTEXT, Args, CUresult, Driver

from schuss import cuda
from schuss.cuda import compiler, driver
from schuss.cuda.device import Device, Node
from schuss.errors import DeviceError

ADDRESS = 1 << 40


@pytest.fixture
def fake(monkeypatch):
    found = Driver()
    monkeypatch.setattr(driver, "_opened", driver._Opened(os.getpid(), (13, 0), found))
    monkeypatch.setattr(compiler, "version", lambda: (13, 0))
    monkeypatch.setattr(compiler, "architecture", lambda capability: 10 * capability[0] + capability[1])
    monkeypatch.setattr(compiler, "compile", lambda source, defines, sm: f"{source} {sm}".encode())
    monkeypatch.setattr(cuda, "_devices", {})
    return found


@pytest.fixture
def device(fake):
    found = Device(0)
    fake.calls.clear()
    return found


def kernel(device, name="scale"):
    return device.module("step.cu", {}).kernel(name)


def node(device, n=5, after=()):
    return Node(kernel(device), (3, 2), Args(ADDRESS, n), after)


def test_facts(fake):
    (found,) = cuda.devices()
    assert (found.number, found.name, found.memory) == (0, "Fake GPU", 80 * 2**30)
    assert found.capability == (9, 0)
    assert found.attributes["multiprocessors"] == 132
    assert found.attributes["shared_bytes_per_block"] == 232448
    device = cuda.device(0)
    assert (device.number, device.name, device.memory) == (0, "Fake GPU", 80 * 2**30)
    assert (device.capability, device.multiprocessors) == ((9, 0), 132)
    assert device.attributes == found.attributes
    assert device.stream == 4096
    assert device.free_memory() == 123_456
    assert str(device) == "GPU 0 (Fake GPU)"
    assert cuda.available()
    assert cuda.why_not() == ""


def test_one_device_a_process(fake):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(cuda.device, [0] * 8))
    assert len(found) == 1
    assert len(fake.named("cuDevicePrimaryCtxRetain")) == 1


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (1, "there is no GPU 1: the driver shows 1, counted from 0"),
        (-1, "there is no GPU -1: the driver shows 1, counted from 0"),
    ],
)
def test_a_number_that_no_device_has(fake, number, message):
    for ask in (cuda.device, Device):
        with pytest.raises(DeviceError, match=f"^{message}$"):
            ask(number)
    assert not cuda.available(number)
    assert cuda.why_not(number) == message


def test_a_chip_that_is_too_old(fake, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(driver, "_opened", driver._Opened(os.getpid(), (13, 0), fake))
    monkeypatch.setattr(compiler, "version", lambda: (13, 0))
    monkeypatch.setitem(sys.modules["fake_driver"].ATTRIBUTES, "COMPUTE_CAPABILITY_MAJOR", 7)
    message = "GPU 0 (Fake GPU): compute capability 8.0 or newer is needed, got 7.0"
    assert cuda.why_not() == message


def test_memory_there_and_back(device, fake):
    buffer = device.allocate(24)
    assert buffer.nbytes == 24
    source, found = np.arange(6, dtype=np.float32), np.empty(6, np.float32)
    device.write(buffer.address, source)
    device.read(found, buffer.address)
    assert (found == source).all()
    device.fill(buffer.address, 8, 0)
    device.copy(buffer.address + 8, buffer.address + 16, 8)
    device.read(found, buffer.address)
    assert found.tolist() == [0, 0, 4, 5, 4, 5]
    streams = {arguments[-1] for name, arguments in fake.calls if name.endswith("Async")}
    assert streams == {device._compute}


@pytest.mark.parametrize("piece", [1, 7, 16, 100])
def test_memory_is_copied_in_pieces(device, fake, monkeypatch, piece):
    """Between which Ctrl-C is heard."""
    monkeypatch.setattr(sys.modules["schuss.cuda.device"], "_PIECE", piece)
    source, found = np.arange(16, dtype=np.uint8), np.empty(16, np.uint8)
    buffer = device.allocate(32)
    device.write(buffer.address, source)
    device.copy(buffer.address + 16, buffer.address, 16)
    device.read(found, buffer.address + 16)
    assert (found == source).all()
    assert len(fake.named("cuMemcpyHtoDAsync")) == -(-16 // piece)


def test_nothing_is_no_call(device, fake):
    device.write(ADDRESS, np.empty(0))
    device.read(np.empty(0), ADDRESS)
    device.fill(ADDRESS, 0, 0)
    device.copy(ADDRESS, ADDRESS, 0)
    assert not [name for name, _ in fake.calls if name.startswith("cuMem")]
    assert device.allocate(0).nbytes == 0
    assert fake.named("cuMemAlloc") == [(1,)]


@pytest.mark.parametrize("use", [Device.write, lambda device, address, array: device.read(array, address)])
def test_arrays_with_gaps_are_refused(device, use):
    with pytest.raises(ValueError, match=r"array must be contiguous, got strides \(8, 4\) of shape \(3, 1\)"):
        use(device, ADDRESS, np.zeros((3, 2), np.float32)[:, :1])
    use(device, device.allocate(24).address, np.zeros((3, 2), np.float32).T)


def test_read_only_arrays_are_not_written(device):
    array = np.zeros(3)
    array.flags.writeable = False
    with pytest.raises(ValueError, match="array must be writeable, got one that is read-only"):
        device.read(array, ADDRESS)


def test_memory_is_freed_with_its_buffer(device, fake):
    before, buffer = len(fake.memory), device.allocate(24)
    address = buffer.address
    assert len(fake.memory) == before + 1
    del buffer
    gc.collect()
    assert len(fake.memory) == before
    assert fake.named("cuMemFree") == [(address,)]


def test_pinned_memory_is_freed_with_its_last_view(device, fake):
    array = device.pinned(16)
    assert (array.dtype, array.shape) == (np.uint8, (16,))
    array[:] = 7
    view = array.view(np.float32)[1:]
    del array
    gc.collect()
    assert fake.named("cuMemFreeHost") == []
    assert view.tobytes() == b"\7" * 12
    address = view.ctypes.data - 4
    del view
    gc.collect()
    assert fake.named("cuMemFreeHost") == [(address,)]


def test_memory_that_does_not_fit(device, fake):
    fake.failing["cuMemAlloc"] = CUresult.CUDA_ERROR_OUT_OF_MEMORY
    message = "cuMemAlloc: 1,000,000 bytes do not fit, GPU 0 (Fake GPU) has 123,456 of 85,899,345,920 free"
    with pytest.raises(DeviceError) as caught:
        device.allocate(1_000_000)
    assert str(caught.value) == message


def test_copies_beside_the_kernels_are_joined(device, fake):
    buffer, source = device.allocate(4), device.pinned(4)
    source[:] = 9
    device.write_async(buffer.address, source)
    assert fake.named("cuMemcpyHtoDAsync")[0][-1] == device._copies != device._compute
    device.join()
    ((event, stream),) = fake.named("cuEventRecord")
    assert stream == device._copies
    assert fake.named("cuStreamWaitEvent") == [(device._compute, event, 0)]


def test_reading_waits(device, fake):
    fake.pending = 3
    device.read(np.empty(1), device.allocate(8).address)
    names = [name for name, _ in fake.calls]
    copied = names.index("cuMemcpyDtoHAsync")
    assert names[:copied].count("cuEventQuery") == 4
    assert "cuEventQuery" in names[copied:]


def test_writing_waits(device, fake):
    """Until the array may be changed; and before, since the driver would wait with Ctrl-C unheard."""
    fake.pending = 3
    device.write(device.allocate(8).address, np.empty(1))
    names = [name for name, _ in fake.calls]
    copied = names.index("cuMemcpyHtoDAsync")
    assert names[:copied].count("cuEventQuery") == 4
    assert "cuEventQuery" in names[copied:]
    assert fake.named("cuEventRecord")[-1][1] == device._compute


def test_marks(device, fake):
    fake.pending = 1
    mark = device.mark()
    assert fake.named("cuEventRecord")[0][1] == device._compute
    assert not mark.done()
    assert mark.done()
    fake.pending = 30
    mark.wait()
    assert fake.pending < 0
    del mark
    gc.collect()
    assert len(fake.named("cuEventDestroy")) == 1


def test_waiting_hears_ctrl_c(device, fake):
    fake.pending = 10**9
    mark = device.mark()
    threading.Timer(0.05, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        mark.wait()
    assert fake.contexts == []


def test_a_kernel_has_the_shape_that_its_source_states(device, fake):
    found = kernel(device)
    assert (found.name, found.threads, found.shared, found.rows, found.columns) == ("scale", 128, 1024, 8, 16)
    assert fake.named("cuModuleLoadData") == [(b"step.cu 90",)]
    assert fake.named("cuFuncSetAttribute") == []


def test_much_shared_memory_is_asked_for(device, fake):
    function = kernel(device, "large").function
    which = "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
    assert fake.named("cuFuncSetAttribute") == [(function, which, 100_000)]


def test_too_much_shared_memory(device, fake):
    fake.shapes["large"] = 256, 232449, 0, 0
    message = r"kernel large takes 232449 bytes of shared memory, GPU 0 \(Fake GPU\) has 232448 a block"
    with pytest.raises(DeviceError, match=message):
        kernel(device, "large")


def test_a_shape_of_another_size(device, fake, monkeypatch):
    monkeypatch.setattr(Driver, "_cuModuleGetGlobal", lambda *_: (ADDRESS, 12))
    with pytest.raises(DeviceError, match=r"step\.cu: scale_shape must be four .*, got 12 bytes"):
        kernel(device)


def test_each_module_is_loaded_once(device, fake):
    first = device.module("step.cu", {"A": "1", "B": "2"})
    assert device.module("step.cu", {"B": "2", "A": "1"}) is first
    assert device.module("step.cu", {"A": "1", "B": "3"}) is not first
    assert device.module("naive.cu", {"A": "1", "B": "2"}) is not first
    assert len(fake.named("cuModuleLoadData")) == 3


def test_a_launch(device, fake):
    device.launch(node(device))
    ((function, *grid_and_block, shared, stream, _, extra),) = fake.named("cuLaunchKernel")
    assert function == "function scale of cuModuleLoadData 1"
    assert grid_and_block == [3, 2, 1, 128, 1, 1]
    assert (shared, stream, extra) == (1024, device._compute, 0)
    assert fake.launched == (ADDRESS, 5)


def test_a_graph_has_the_nodes_and_what_they_come_after(device, fake):
    nodes = [node(device, n, after) for n, after in enumerate([(), (), (0, 1), (1,), (3, 2)])]
    graph = device.graph(nodes)
    made = fake.named("cuGraphAddKernelNode")
    assert [(first, n) for _, first, n, _ in made] == [
        ([], 0),
        ([], 0),
        (["node 0", "node 1"], 2),
        (["node 1"], 1),
        (["node 3", "node 2"], 2),
    ]
    assert [parameters.argument for *_, parameters in made] == [(ADDRESS, n) for n in range(5)]
    one = made[0][3]
    assert (one.gridDimX, one.gridDimY, one.gridDimZ) == (3, 2, 1)
    assert (one.blockDimX, one.blockDimY, one.blockDimZ, one.sharedMemBytes) == (128, 1, 1, 1024)
    assert one.func == nodes[0].kernel.function
    executable = "cuGraphInstantiate 1"
    assert fake.named("cuGraphUpload") == [(executable, device._compute)]
    assert len(fake.named("cuGraphDestroy")) == 1
    graph.launch()
    graph.launch()
    assert fake.named("cuGraphLaunch") == [(executable, device._compute)] * 2
    del graph
    gc.collect()
    assert fake.named("cuGraphExecDestroy") == [(executable,)]


@pytest.mark.parametrize("after", [(0,), (1,), (-1,)])
def test_a_node_comes_only_after_earlier_ones(device, fake, after):
    with pytest.raises(ValueError, match=rf"after must name earlier nodes, got \({after[0]},\) for node 0"):
        device.graph([node(device, after=after)])
    assert len(fake.named("cuGraphDestroy")) == 1
    assert fake.contexts == []


def everything():
    """Each call of the driver, at least once."""
    device = Device(0)
    buffer, pinned = device.allocate(8), device.pinned(8)
    device.write(buffer.address, np.zeros(1))
    device.write_async(buffer.address, pinned)
    device.join()
    device.fill(buffer.address, 8, 0)
    device.copy(buffer.address, buffer.address, 8)
    device.read(np.empty(1), buffer.address)
    kernel(device, "large")
    device.launch(node(device))
    device.graph([node(device)]).launch()
    device.free_memory()
    del buffer, pinned
    gc.collect()


RELEASES = {"cuEventDestroy", "cuGraphDestroy", "cuGraphExecDestroy", "cuMemFree", "cuMemFreeHost"}


def test_every_failure_names_its_call(fake):
    everything()
    calls = {name for name, _ in fake.calls}
    assert calls > RELEASES
    assert len(calls) == 35
    assert fake.contexts == []
    for name in calls - RELEASES:
        fake.failing = {name: CUresult.CUDA_ERROR_LAUNCH_FAILED}
        with pytest.raises(DeviceError) as caught:
            everything()
        assert str(caught.value) == f"{name}: CUDA_ERROR_LAUNCH_FAILED (text of 719)"
        assert name == "cuCtxPopCurrent" or fake.contexts == []
        fake.contexts.clear()


def test_what_cannot_be_freed_is_passed_over(fake):
    fake.failing |= dict.fromkeys(RELEASES, CUresult.CUDA_ERROR_LAUNCH_FAILED)
    everything()
    assert fake.contexts == []


def test_an_error_that_the_bindings_do_not_know(fake):
    fake.failing["cuMemGetInfo"] = 4242
    with pytest.raises(DeviceError, match=r"^cuMemGetInfo: 4242$"):
        Device(0).free_memory()


def test_a_call_that_the_driver_lacks(fake, monkeypatch):
    def lacking(*_):
        raise RuntimeError('Function "cuMemGetInfo" not found')

    monkeypatch.setattr(Driver, "_cuMemGetInfo", lacking)
    with pytest.raises(DeviceError, match=r'^cuMemGetInfo: Function "cuMemGetInfo" not found$'):
        Device(0).free_memory()
    with pytest.raises(DeviceError, match=r"^nothing: nothing$"):
        driver.call("nothing")


def test_an_error_without_a_text(fake, monkeypatch):
    def lacking(*_):
        raise RuntimeError("not found")

    monkeypatch.setattr(Driver, "_cuGetErrorString", lacking)
    fake.failing["cuMemGetInfo"] = CUresult.CUDA_ERROR_LAUNCH_FAILED
    with pytest.raises(DeviceError, match=r"^cuMemGetInfo: CUDA_ERROR_LAUNCH_FAILED$"):
        Device(0).free_memory()


def test_another_library_keeps_its_context(device, fake):
    fake.contexts.append("another's")
    device.free_memory()
    kernel(device)
    assert fake.contexts == ["another's"]


def test_from_any_thread(device, fake):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(kernel, device).result()
        assert pool.submit(lambda: fake.contexts).result() == []
    assert set(fake.named("cuCtxPushCurrent")) == {(CONTEXT,)}
