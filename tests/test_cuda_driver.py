"""Finding the driver: in bounded time whatever is there, in processes of their own, and with the real bindings."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from schuss import cuda
from schuss.cuda import driver
from schuss.errors import DeviceError

TESTS = Path(__file__).parent


def run(code, **environment):
    """The last line that a fresh interpreter prints; it ends in time."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=os.environ | environment, cwd=TESTS,
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip


def test_a_forked_child_is_told():
    printed = run("""
        import os
        from fake_driver import Driver
        from schuss import cuda
        from schuss.cuda import compiler, driver
        from schuss.errors import DeviceError

        fake = Driver()
        driver._opened = driver._Opened(os.getpid(), (13, 0), fake)
        compiler.version, compiler.architecture = lambda: (13, 0), lambda _: 90
        device = cuda.device()
        mark, buffer = device.mark(), device.allocate(4)
        cuda._lock.acquire()  # as another thread might hold it
        parent, before = os.getpid(), len(fake.calls)
        if os.fork():
            os.wait()
        else:
            expected = f"CUDA does not survive a fork: process {parent} had opened the GPU"
            for use in (cuda.device, device.free_memory, device.join, mark.wait, lambda: device.module("a", {})):
                try:
                    use()
                except DeviceError as error:
                    assert str(error).startswith(expected), error
            assert cuda.why_not().startswith(expected)
            del buffer, mark
            print("calls in the child:", len(fake.calls) - before)
    """)
    assert printed == "calls in the child: 0\n"


def test_a_child_forked_while_the_driver_is_looked_for(tmp_path):
    (tmp_path / "libcuda.so.1").touch()
    printed = run(
        """
        import os
        from schuss import cuda
        from schuss.cuda import driver

        driver._lock.acquire()  # as another thread might hold it
        if os.fork():
            os.wait()
        else:
            print(cuda.available())
        """,
        LD_LIBRARY_PATH=str(tmp_path),
    )
    assert printed == "False\n"


def test_at_exit_nothing_is_freed_by_hand():
    """The driver may be gone already, and frees all of it."""
    printed = run("""
        import atexit, os
        from fake_driver import Driver
        from schuss import cuda
        from schuss.cuda import compiler, driver

        fake = Driver()
        atexit.register(lambda: print(fake.named("cuMemFree")))
        driver._opened = driver._Opened(os.getpid(), (13, 0), fake)
        compiler.version, compiler.architecture = lambda: (13, 0), lambda _: 90
        buffer = cuda.device().allocate(4)
    """)
    assert printed == "[]\n"


def test_the_driver_is_looked_for_once(monkeypatch):
    """cuda-bindings would never return from a second try."""
    looked = []

    def look():
        looked.append(1)
        raise DeviceError("no driver")

    monkeypatch.setattr(driver, "_opened", None)
    monkeypatch.setattr(driver, "_look", look)
    assert [cuda.why_not(), cuda.why_not(), cuda.available()] == ["no driver", "no driver", False]
    assert looked == [1]


def test_importing_and_asking_imports_no_bindings_where_there_is_no_driver(tmp_path):
    """And the second question is answered as the first."""
    (tmp_path / "libcuda.so.1").touch()  # found before a driver that may be there
    printed = run(
        """
        import sys
        import schuss, schuss.network, schuss.cuda
        print(schuss.cuda.available(), schuss.cuda.available())
        print(schuss.cuda.why_not())
        for use in (schuss.cuda.devices, schuss.cuda.device):
            try:
                use()
            except schuss.cuda.DeviceError as error:
                print(str(error) == schuss.cuda.why_not())
        print([name for name in sys.modules if name.startswith("cuda.")])
        """,
        LD_LIBRARY_PATH=str(tmp_path),
    ).splitlines()
    assert printed[0] == "False False"
    assert printed[1].startswith("no NVIDIA driver: ")
    assert "driver package" in printed[1]  # where it is to be had
    assert "libcuda.so.1: file too short" in printed[1]
    assert printed[2:] == ["True", "True", "[]"]


# A library in the driver's place ---------------------------------------------------------------------------------


def build(source, folder):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    library = folder / "libcuda.so.1"
    subprocess.run(
        [compiler, "-std=c++20", "-shared", "-fPIC", source, "-o", library], check=True, timeout=60
    )
    return str(folder)


@pytest.fixture(scope="module")
def libcuda(tmp_path_factory):
    """Folder of a driver for one GPU whose memory is the host's."""
    pytest.importorskip("cuda.bindings.driver", reason="pip install 'schuss[cuda13]'")
    return build(TESTS / "fake_libcuda.cpp", tmp_path_factory.mktemp("libcuda"))


ASK = """
from schuss import cuda
from schuss.cuda import compiler
compiler.version = lambda: (13, 0)
assert cuda.why_not() == cuda.why_not()
print(cuda.available(), cuda.why_not())
"""


def test_a_library_that_is_no_driver(tmp_path):
    (tmp_path / "empty.cpp").write_text("int nothing;")
    folder = build(tmp_path / "empty.cpp", tmp_path)
    expected = "False no NVIDIA driver that serves: libcuda.so.1 has no cuDriverGetVersion\n"
    assert run(ASK, LD_LIBRARY_PATH=folder) == expected


def test_a_file_that_is_no_library(tmp_path):
    (tmp_path / "libcuda.so.1").write_text("no library" * 100)
    assert run(ASK, LD_LIBRARY_PATH=str(tmp_path)).startswith("False no NVIDIA driver: ")


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({}, "True"),
        ({"FAKE_VERSION": "14020"}, "True"),
        ({"FAKE_VERSION": "11080"}, "False the NVIDIA driver is of CUDA 11.8, CUDA 12.0 or newer is needed"),
        (
            {"FAKE_VERSION": "12090"},
            "False NVRTC 13.0 compiles for drivers of CUDA 13, this one is of 12.9: update the driver or "
            "pip install 'schuss[cuda12]'",
        ),
        ({"FAKE_INIT": "100"}, "False cuInit: CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)"),
        ({"FAKE_INIT": "999"}, "False cuInit: CUDA_ERROR_UNKNOWN (a text)"),
        ({"FAKE_LACKS": "cuInit"}, "False cuInit: "),
        ({"FAKE_LACKS": "cuDeviceGetCount"}, "False cuDeviceGetCount: "),
    ],
)
def test_a_driver(libcuda, environment, printed):
    found = run(ASK, LD_LIBRARY_PATH=libcuda, **environment)
    assert found.startswith(printed)
    assert found.count("\n") == 1


def test_a_driver_without_bindings(libcuda):
    printed = run('import sys; sys.modules["cuda.bindings"] = None' + ASK, LD_LIBRARY_PATH=libcuda)
    assert printed.startswith("False cuda-bindings cannot be imported (")
    assert printed.endswith("): pip install 'schuss[cuda13]'\n")


def test_the_real_bindings_understand_every_call(libcuda):
    """Addresses, structures and handles as C sees them."""
    printed = run(
        """
        import ctypes
        import numpy as np
        from schuss import cuda
        from schuss.cuda import compiler
        from schuss.cuda.device import Node

        class Args(ctypes.Structure):
            _fields_ = (("x", ctypes.c_void_p), ("n", ctypes.c_uint32), ("factor", ctypes.c_float))

        def found():
            device.read(x, buffer.address)
            print(*x)

        compiler.version = lambda: (13, 0)
        compiler.compile = lambda source, defines, sm: f"{source} {sm}".encode()
        device = cuda.device()
        print(device, device.capability, device.multiprocessors, device.memory, device.free_memory())
        kernel = device.module("step.cu", {}).kernel("scale")
        print(kernel.threads, kernel.shared, kernel.rows, kernel.columns)
        x = np.arange(4, dtype=np.float32)
        buffer, pinned = device.allocate(x.nbytes), device.pinned(x.nbytes)
        device.write(buffer.address, x)
        found()
        device.launch(Node(kernel, (1, 1), Args(buffer.address, 4, 2)))
        found()
        nodes = [Node(kernel, (1, 1), Args(buffer.address, 4, factor)) for factor in (1, 2, 3)]
        chain = [Node(node.kernel, node.grid, node.args, (i - 1,) * (i > 0)) for i, node in enumerate(nodes)]
        graphs = [device.graph(chain), device.graph(nodes)]
        del nodes, chain
        for graph in graphs:
            device.fill(buffer.address, x.nbytes, 0)
            graph.launch()
            found()
        pinned.view(np.float32)[:] = 5, 6, 7, 8
        device.write_async(buffer.address, pinned)
        device.join()
        device.copy(buffer.address, buffer.address + 8, 8)
        found()
        try:
            device.allocate(1 << 40)
        except cuda.DeviceError as error:
            print(error)
        """,
        LD_LIBRARY_PATH=libcuda,
    )
    assert printed.splitlines() == [
        "GPU 0 (Fake GPU) (9, 0) 132 1073741824 1000",
        "128 100000 8 16",
        "0.0 1.0 2.0 3.0",
        "1.0 3.0 5.0 7.0",
        "10.0 10.0 10.0 10.0",  # ((0 + 1) 2 + 1) 3 + 1, in the order of the chain
        "4.0 4.0 4.0 4.0",  # the last first, as this driver takes nodes that nothing orders
        "7.0 8.0 7.0 8.0",
        "cuMemAlloc: 1,099,511,627,776 bytes do not fit, GPU 0 (Fake GPU) has 1,000 of 1,073,741,824 free",
    ]
