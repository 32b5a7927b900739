"""Arrays of other libraries on a GPU, played by host memory: what is read of them, and what is refused."""

import ctypes
import gc
import weakref
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import one_line

from schuss import DataError, Network, cuda, validation
from schuss.cuda import arrays
from schuss.cuda.arrays import DeviceArray, device_array, is_on_device, to_host

X = np.arange(24, dtype=np.float32).reshape(6, 4)
STREAM = 77  # the handle of our stream


class Interface:
    """What CuPy and Numba show of an array."""

    def __init__(self, array, version=3, **more):
        self.array = array
        self.__cuda_array_interface__ = {
            "version": version,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "strides": None if array.flags.c_contiguous else array.strides,
            **more,
        }

    def __getitem__(self, rows):
        return Interface(self.array[rows])


class Packed:
    """What PyTorch and JAX show of an array; `made` is what they export, which may be a copy."""

    def __init__(self, array, device=(2, 0), made=None):
        self.array, self.device, self.made, self.streams = array, device, made or (lambda: array), []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        return self.made().__dlpack__()


class Both(Packed, Interface):
    """PyTorch: the second version of the interface, and DLPack."""

    def __init__(self, array, version):
        Interface.__init__(self, array, version)
        Packed.__init__(self, array, (2, 3))


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """A GPU that is this host's memory, and what it was asked to wait for."""

    def read(out, address):
        np.copyto(out.reshape(-1).view(np.uint8), np.ctypeslib.as_array(_bytes(address, out.nbytes)))

    finished = []
    monkeypatch.setattr(cuda, "device", lambda number=0: SimpleNamespace(stream=STREAM, read=read))
    monkeypatch.setattr(arrays, "_finish", lambda *waited: finished.append(waited))
    monkeypatch.setattr(arrays, "_device_of", lambda address: 2)
    return finished


def _bytes(address, count):
    return (ctypes.c_uint8 * count).from_address(address)


def values(found):
    """What is at the address, by row stride."""
    size, (rows, columns) = found.dtype.itemsize, found.shape
    memory = _bytes(found.address, size * ((rows - 1) * found.row_stride + columns))
    return np.ndarray(found.shape, found.dtype, memory, strides=(found.row_stride * size, size)).copy()


KINDS = [Interface, Packed]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize(
    ("part", "stride"),
    [(np.s_[:], 4), (np.s_[1:3], 4), (np.s_[::2], 8), (np.s_[:, 1:3], 4), (np.s_[:, 3:], 4), (np.s_[2:3], 4)],
    ids=["whole", "rows", "every second row", "columns", "one column", "one row"],
)
def test_read_in_place(kind, dtype, part, stride):
    array = X.astype(dtype)[part]
    found = device_array(kind(array))
    assert (found.address, found.shape, found.dtype) == (array.ctypes.data, array.shape, np.dtype(dtype))
    assert found.row_stride == stride
    np.testing.assert_array_equal(values(found), array)
    assert (len(found), found.ndim, found.nbytes) == (len(array), 2, array.nbytes)


def test_what_is_on_the_host_is_left_alone():
    import pandas
    import scipy.sparse

    for ours in (
        X,
        X.tolist(),
        3.0,
        None,
        pandas.DataFrame(X),
        scipy.sparse.csr_matrix(X),
        Packed(X, (1, 0)),
        "y",
    ):
        assert not is_on_device(ours)
        assert device_array(ours) is None
        assert to_host(ours) is ours


def test_cpu_tensors_go_through_numpy():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(X)
    assert device_array(tensor) is None
    assert validation.examples(tensor, 4, np.dtype(np.float32)).ctypes.data == X.ctypes.data


def test_host_arrays_with_nothing_but_dlpack_are_read():
    np.testing.assert_array_equal(validation.examples(Packed(X, (1, 0)), 4, np.dtype(np.float32)), X)


# --- waiting for the library that fills it ---------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "more", "waited"),
    [(3, {}, []), (3, {"stream": None}, []), (3, {"stream": 5}, [(2, 5)]), (2, {}, [(2, 1)])],
    ids=["no stream", "None", "a stream", "before streams"],
)
def test_interface_says_whom_to_wait_for(gpu, version, more, waited):
    found = device_array(Interface(X, version, **more))
    assert found.place == "cuda:2"  # as the driver says of the address
    assert gpu == waited


def test_dlpack_is_told_our_stream(gpu):
    given = Packed(X, (2, 5))
    assert device_array(given).device == 5
    assert given.streams == [STREAM]
    assert gpu == []


def test_dlpack_where_the_interface_knows_no_streams(gpu):
    old, new = Both(X, 2), Both(X, 3)
    assert device_array(old).device == device_array(new).device == 3
    assert (old.streams, new.streams) == ([STREAM], [])
    assert gpu == []


def test_memory_lives_as_long_as_what_reads_it():
    parts = []

    def made():
        copy = X.copy()
        parts.append(weakref.ref(copy))
        return copy

    found = device_array(Packed(X, made=made))
    gc.collect()
    np.testing.assert_array_equal(values(found), X)
    del found
    gc.collect()
    assert parts[0]() is None


# --- refused ---------------------------------------------------------------------------------------


def refusal(given, *texts, kind=DataError):
    with pytest.raises(kind) as caught:
        device_array(given, "X_val")
    return one_line(caught, *texts)


@pytest.mark.parametrize("kind", KINDS)
def test_refused(kind):
    refusal(kind(X[0]), "X_val must have 2 dimensions", "(4,)")
    refusal(kind(X[None]), "X_val must have 2 dimensions", "(1, 6, 4)")
    refusal(kind(X[:0]), "an example", "(0, 4)")
    refusal(kind(X.astype(np.int64)), "float32, float64 or uint8", "int64")
    refusal(kind(X.astype(np.float16)), "float16")
    refusal(kind(np.asfortranarray(X)), "contiguous rows", "(4, 24)")
    refusal(kind(X[::-1]), "contiguous rows", "(-16, 4)")
    refusal(kind(X[:, ::2]), "contiguous rows")


@pytest.mark.parametrize("kind", [(4, 0), (8, 0), (10, 1)], ids=["OpenCL", "Metal", "ROCm"])
def test_other_devices(kind):
    class Torch(Packed):
        def cpu(self):
            return self.array

        def __array__(self, *_args, **_named):
            raise TypeError("cannot be converted")

    class Jax(Packed):
        def __array__(self, *_args, **_named):
            return self.array

    for given, instead in ((Packed(X, kind), "an array of the host"), (Torch(X, kind), "X_val.cpu()")):
        for call in (
            partial(device_array, given, "X_val"),
            partial(to_host, given, "X_val"),
            partial(validation.examples, given, 4, np.dtype(np.float32), "X_val"),
        ):
            with pytest.raises(DataError) as caught:
                call()
            one_line(
                caught, "X_val must be on the CPU or a GPU of CUDA", f"type {kind[0]}", f"hand over {instead}"
            )
    assert device_array(Jax(X, kind)) is None  # its library brings it to the host
    np.testing.assert_array_equal(validation.examples(Jax(X, kind), 4, np.dtype(np.float32)), X)


def test_refused_addresses_and_shapes(monkeypatch):
    def no_address(address):
        raise cuda.DeviceError("cuPointerGetAttribute")

    monkeypatch.setattr(arrays, "_device_of", no_address)
    refusal(Interface(X, data=(0, False)), "X_val on a GPU cannot be read: its address is 0", "(6, 4)")
    refusal(Interface(X[:0], data=(0, False)), "X_val must have 2 dimensions", "an example", "(0, 4)")
    monkeypatch.setattr(arrays, "_device_of", lambda address: 0)
    refusal(Interface(X, shape=(-6, 4)), "X_val on a GPU cannot be read: its shape is (-6, 4)")
    refusal(Interface(X, shape=(6, -4)), "its shape is (6, -4)")
    with pytest.raises(DataError, match="y on a GPU cannot be read: its shape is"):
        to_host(Interface(X[0], shape=(-4,)))


def test_messages_call_the_array_by_its_name():
    found = device_array(Interface(X), "validation X")
    assert found.name == "validation X"
    with pytest.raises(DataError, match="validation X on cuda:0 cannot be split"):
        device_array(Packed(X), "validation X")[np.array([0])]
    one = device_array(Interface(X), "X_val")[np.array([1])]
    assert str(one.unreadable("the CPU")).startswith("X_val is on cuda:2")


def test_refused_descriptions():
    refusal(Interface(X, mask=Interface(X)), "masked")
    refusal(Interface(X, typestr="<V3"), "float32, float64 or uint8")
    refusal(Interface(X, typestr="what"), "cannot be read")
    refusal(Interface(X, data=None), "cannot be read")
    refusal(Interface(X, data=(X.ctypes.data + 2, False)), "contiguous rows")
    refusal(Packed(X.astype(np.complex64)), "cannot be read", "type 5 with 64 bits")


def test_what_a_library_says_reaches_the_user_in_one_line():
    class Grad:
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("it requires grad:\n use detach()")

    class Exports(Packed):
        def __dlpack__(self, stream=None):
            raise BufferError("it requires grad:\n use detach()")

    refusal(Grad(), "it requires grad: use detach()")
    refusal(Exports(X), "X_val", "it requires grad: use detach()")


def test_a_gpu_that_is_not_here_is_no_matter_of_the_array(monkeypatch):
    def none(number=0):
        raise cuda.DeviceError("there is no GPU 0")

    monkeypatch.setattr(cuda, "device", none)
    refusal(Packed(X), "there is no GPU 0", kind=cuda.DeviceError)


# --- to the host -----------------------------------------------------------------------------------


def test_small_arrays_come_to_the_host():
    class Torch(Packed):
        def detach(self):
            return Torch(self.array.copy())

        def cpu(self):
            return self.array

    class CuPy(Interface):
        def get(self):
            return self.array

    for kind in (Torch, CuPy, Interface, Packed):
        for y in (
            np.arange(5),
            X,
            X.astype(np.float64)[:, :1].copy(),
            np.array([], np.float32),
            np.arange(6) > 2,
        ):
            brought = to_host(kind(y))
            assert type(brought) is np.ndarray
            np.testing.assert_array_equal(brought, y)
            assert brought.dtype == y.dtype
    np.testing.assert_array_equal(to_host(CuPy(X[:, 2])), X[:, 2])
    for kind in KINDS:
        for odd in (X[:, 2], np.asfortranarray(X), X[::2]):
            with pytest.raises(DataError) as caught:
                to_host(kind(odd), "y_val")
            one_line(caught, "y_val on a GPU must be contiguous", str(odd.shape))


# --- through the package ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_examples(kind):
    given = kind(X)
    found = validation.examples(given, 4, np.dtype(np.float64))
    assert isinstance(found, DeviceArray)
    assert found.source is given
    assert validation.examples(found, 4, np.dtype(np.float32)) is found
    with pytest.raises(DataError) as caught:
        validation.examples(given, 3, np.dtype(np.float32))
    one_line(caught, "X must have 3 features, got 4")


def test_rows_are_taken_by_the_library():
    rows = np.array([4, 0])
    np.testing.assert_array_equal(values(device_array(Interface(X))[rows]), X[rows])
    with pytest.raises(DataError) as caught:
        device_array(Packed(X))[rows]
    one_line(caught, "cannot be split by row numbers", "validation examples")


def test_sparse_on_a_gpu():
    class Sparse:
        shape, ndim, dtype = (6, 4), 2, np.dtype(np.float32)

        def __init__(self):
            self.data = Interface(X[0])

        def tocsr(self):
            return self

    with pytest.raises(DataError) as caught:
        validation.examples(Sparse(), 4, np.dtype(np.float32))
    one_line(caught, "X on a GPU must be dense, got Sparse", "X.get()")


@pytest.mark.parametrize("options", [{"plan": "native:1x1"}, {"plan": "serial"}, {"device": "cpu"}], ids=str)
def test_a_plan_of_the_cpu_refuses_it(options):
    class CuPy(Interface):
        def get(self):
            return self.array

    network = Network((4, 3), seed=0, **options)
    calls = [
        lambda given: network.forward(given),
        lambda given: network.loss(given, np.zeros(6, int)),
        lambda given: network.step(given, np.zeros(6, int)),
    ]
    for call in calls:
        for given, instead in ((CuPy(X), "X.get()"), (Packed(X), "an array of the host")):
            with pytest.raises(DataError) as caught:
                call(given)
            place = "cuda:2" if isinstance(given, CuPy) else "cuda:0"
            one_line(caught, f"X is on {place}", "the plan computes on the CPU", f"device '{place}'", instead)
