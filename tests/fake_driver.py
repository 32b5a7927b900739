"""A stand-in for cuda.bindings.driver: memory is the host's, calls are recorded, and each can be told to fail."""

import ctypes
import threading
from collections import Counter
from enum import IntEnum
from types import SimpleNamespace

CONTEXT = "primary context of 0"


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_LAUNCH_FAILED = 719


class Names:
    """An enumeration whose values are their own names."""

    def __getattr__(self, name):
        return name


class Handle(str):
    """What the driver hands out; a stream's is a number too."""

    def __int__(self):
        return 4096


#: What the calls answer; a function is called with the arguments.
ANSWERS = {
    "cuInit": None,
    "cuDeviceGetCount": 1,
    "cuDeviceGet": lambda number: f"device {number}",
    "cuDeviceGetName": lambda length, _: b"Fake GPU".ljust(length, b"\0"),
    "cuDeviceTotalMem": 80 * 2**30,
    "cuDevicePrimaryCtxRetain": CONTEXT,
}
#: What does the same on the host.
SAME = dict.fromkeys(("cuMemFree", "cuMemFreeHost"), "_free")
SAME |= dict.fromkeys(("cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuMemcpyDtoDAsync"), "_move")
#: Those that need no context.
FREE = {*ANSWERS, "cuDeviceGetAttribute", "cuCtxPushCurrent", "cuCtxPopCurrent", "cuGetErrorString"}
ATTRIBUTES = {
    "COMPUTE_CAPABILITY_MAJOR": 9,
    "COMPUTE_CAPABILITY_MINOR": 0,
    "MULTIPROCESSOR_COUNT": 132,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232448,
}


class Driver:
    """Attributes
    ----------
    calls : list of (name, arguments)
    failing : dict of str to CUresult
        What the named calls answer from now on.
    pending : int
        How often an event is not yet ready.
    shapes : dict of str to tuple
        Kernels of a module: threads, shared bytes, rows, columns.
    """

    CUresult = CUresult
    CUdevice_attribute = Names()
    CUfunction_attribute = Names()
    CUDA_KERNEL_NODE_PARAMS = SimpleNamespace

    def __init__(self):
        self.calls = []
        self.failing = {}
        self.pending = 0
        self.shapes = {"scale": (128, 1024, 8, 16), "large": (256, 100_000, 0, 0)}
        self.memory = {}
        self.made = Counter()
        self.local = threading.local()

    def __getattr__(self, name):
        if not name.startswith("cu"):  # also _cuX, for what is answered otherwise
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append((name, arguments))
            assert name in FREE or self.contexts[-1:] == [CONTEXT], f"{name} without the device's context"
            if name in self.failing:
                return self.failing[name], None
            answer = getattr(self, SAME.get(name, f"_{name}"), ANSWERS.get(name, self._handle(name)))
            result = answer(*arguments) if callable(answer) else answer
            if isinstance(result, CUresult):
                return (result,)
            return CUresult.CUDA_SUCCESS, *(result if isinstance(result, tuple) else (result,))

        return call

    @property
    def contexts(self):
        """Those current in this thread."""
        if not hasattr(self.local, "contexts"):
            self.local.contexts = []
        return self.local.contexts

    def named(self, name):
        """Arguments of the calls of this name."""
        return [arguments for called, arguments in self.calls if called == name]

    def _handle(self, name):
        def give(*_):
            self.made[name] += 1
            return Handle(f"{name} {self.made[name]}")

        return give

    def _allocate(self, nbytes):
        block = ctypes.create_string_buffer(b"\xff" * nbytes, nbytes)
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def _free(self, address):
        self.memory.pop(address, None)  # or an earlier test's, kept alive by its failure

    def _move(self, to, source, nbytes, _stream):
        ctypes.memmove(to, source, nbytes)

    def _cuMemAlloc(self, nbytes):
        return self._allocate(nbytes)

    def _cuMemHostAlloc(self, nbytes, _flags):
        return self._allocate(nbytes)

    def _cuMemsetD8Async(self, address, byte, nbytes, _stream):
        ctypes.memset(address, byte, nbytes)

    def _cuMemGetInfo(self):
        return 123_456, 80 * 2**30

    def _cuDeviceGetAttribute(self, name, _device):
        return ATTRIBUTES.get(name.removeprefix("CU_DEVICE_ATTRIBUTE_"), 7)

    def _cuCtxPushCurrent(self, context):
        self.contexts.append(context)

    def _cuCtxPopCurrent(self):
        return self.contexts.pop()

    def _cuEventQuery(self, _event):
        self.pending -= 1
        return CUresult.CUDA_ERROR_NOT_READY if self.pending >= 0 else CUresult.CUDA_SUCCESS

    def _cuGetErrorString(self, status):
        return f"text of {int(status)}".encode()

    def _cuModuleGetFunction(self, module, name):
        return f"function {name.decode()} of {module}"

    def _cuModuleGetGlobal(self, _module, name):
        shape = (ctypes.c_uint32 * 4)(*self.shapes[name.decode().removesuffix("_shape")])
        self.memory[ctypes.addressof(shape)] = shape
        return ctypes.addressof(shape), ctypes.sizeof(shape)

    def _cuLaunchKernel(self, *arguments):
        self.launched = argument(arguments[-2])

    def _cuGraphAddKernelNode(self, _graph, _first, _n, parameters):
        parameters.argument = argument(parameters.kernelParams)
        self.made["node"] += 1
        return f"node {self.made['node'] - 1}"


class Args(ctypes.Structure):
    _fields_ = (("x", ctypes.c_void_p), ("n", ctypes.c_uint32))


def argument(pointers):
    """The (x, n) that a kernel would find."""
    first = ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))[0]
    args = Args.from_address(first)
    return args.x, args.n
