"""Compiles kernels for the host, and what runs them; each once, kept by content in pytest's cache folder."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from schuss import _core

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "src" / "schuss"
KERNELS = PACKAGE / "cuda" / "kernels"
RUNTIME = ("block.cpp", "meetings.cpp", "memory.cpp", "order.cpp", "undefined.cpp")
_KEPT = 24 * 3600  # seconds since what was compiled was used last
STANDARD = "-std=c++20"
#: As the kernels are compiled for a GPU: nothing fused but what is written fused. The sanitizers' calls come to
#: memory.cpp, which knows of blocks and warps; their own libraries take no part.
OPTIONS = (
    STANDARD,
    "-O1",
    "-g1",
    "-fPIC",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-exceptions",
    "-fno-strict-aliasing",
    "-fstack-clash-protection",
    "-fsanitize=thread,alignment,bounds,shift,signed-integer-overflow",
)
#: Copies of structures by Clang are seen too; Apple's linker cannot do this, and its Clang needs it no more.
WRAPPED = ("-Wl,--wrap=memcpy,--wrap=memmove,--wrap=memset",) if sys.platform == "linux" else ()
#: Volatile accesses are reported apart: they may meet where plain ones may not.
VOLATILE = {
    "clang": ("-mllvm", "-tsan-distinguish-volatile"),
    "g++": ("--param", "tsan-distinguish-volatile=1"),
}


def compiler():
    """The C++ compiler's command, by CXX or found; empty where there is none."""
    command = shlex.split(os.environ.get("CXX", ""))
    if not command:
        command = next(([name] for name in ("g++", "c++", "clang++") if shutil.which(name)), [])
    return command if command and shutil.which(command[0]) else []


def why_not():
    """Why nothing can be compiled here; empty where it can."""
    if platform.machine() not in ("x86_64", "AMD64", "aarch64", "arm64"):
        return f"the emulated GPU's threads know x86-64 and AArch64, not {platform.machine()}"
    return "" if compiler() else f"no C++ compiler: {os.environ.get('CXX') or 'g++, c++, clang++'}"


@cache
def folder():
    kept = HERE.parents[1] / ".pytest_cache" / "d" / "cuda_host"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=kept).close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="schuss-cuda-host-"))
    for path in kept.glob("*.so"):
        if time.time() - path.stat().st_mtime > _KEPT:
            path.unlink(missing_ok=True)
    return kept


@cache
def runtime():
    """What runs blocks and holds memory, loaded."""
    texts = [path.read_bytes() for path in sorted(HERE.glob("*.?pp"))]
    path = _made("runtime", texts, _build_runtime)
    library = ctypes.CDLL(str(path))
    library.path = path
    address, whole = ctypes.c_uint64, ctypes.c_int
    for name, result, arguments in (
        ("error", ctypes.c_char_p, []),
        ("deadline", None, [ctypes.c_double]),
        ("node", None, [whole, ctypes.c_char_p]),
        ("open", address, [address]),
        ("zone", ctypes.c_uint, []),
        ("add", None, [address, address]),
        ("remove", None, [address]),
        ("inside", whole, [address, address, whole]),
        ("broken", address, []),
    ):
        function = getattr(library, f"host_gpu_{name}")
        function.restype, function.argtypes = result, arguments
    return library


_loaded = {}


def kernels(source, defines, sources=KERNELS):
    """A kernel source file of the folder `sources`, compiled with these macros and loaded."""
    texts = [path.read_bytes() for path in sorted(Path(sources).glob("*.cu*"))]
    texts += [path.read_bytes() for path in sorted((PACKAGE / "formulas").iterdir()) if path.is_file()]
    texts += [(HERE / "host_gpu.hpp").read_bytes(), runtime().path.name.encode()]
    macros = [f"-D{name}={value}" for name, value in sorted(defines.items())]
    texts += [macro.encode() for macro in macros]

    def build(stem, out):
        paths = [f"-I{each}" for each in (sources, PACKAGE, HERE)]
        first = ["-x", "c++", "-include", str(HERE / "host_gpu.hpp"), str(Path(sources) / source)]
        _call(*OPTIONS, *_fused(), *_volatile(), *paths, *macros, "-c", *first, "-o", f"{stem}.o")
        _call("-shared", f"{stem}.o", str(runtime().path), *WRAPPED, "-o", out)

    path = _made(Path(source).stem, texts, build)
    if path not in _loaded:
        _loaded[path] = ctypes.CDLL(str(path))
    return _loaded[path]


def line_of(library, offset):
    """Where in the source an address of a loaded object comes from; empty where nobody can tell."""
    tool = shutil.which("addr2line")
    if not tool:
        return ""
    said = subprocess.run(
        [tool, "-i", "-e", library._name, hex(offset - 1)], capture_output=True, text=True, check=False
    )
    places = [Path(line.split(" ")[0]).name for line in said.stdout.splitlines() if not line.startswith("?")]
    return next((place for place in places if not place.startswith("host_gpu.hpp")), "")


def _fused():
    wide = {"avx2", "avx512"} & {name for name, _, fused, available in _core.isas() if fused and available}
    return ["-mfma"] if wide and platform.machine() in ("x86_64", "AMD64") else []


def _volatile():
    return VOLATILE["clang" if b"clang" in _version() else "g++"]


def _build_runtime(stem, out):
    _call(STANDARD, "-O3", "-fPIC", "-shared", *(str(HERE / name) for name in RUNTIME), "-o", out)


@cache
def _version():
    return subprocess.run([*compiler(), "--version"], capture_output=True, check=True).stdout


def _made(name, texts, build):
    """The path of what `build(stem, out)` makes of these texts."""
    key = hashlib.sha256()
    for text in (
        *texts,
        _version(),
        shlex.join(compiler()).encode(),
        *map(str.encode, (*OPTIONS, *WRAPPED, *_fused(), *_volatile())),
    ):
        key.update(hashlib.sha256(text).digest())
    out = folder() / f"{name}-{key.hexdigest()[:24]}.so"
    if not out.exists():
        with tempfile.TemporaryDirectory(dir=folder()) as scratch:
            made = Path(scratch) / "made.so"
            build(Path(scratch) / "made", str(made))
            os.replace(made, out)
    os.utime(out)
    return out


def _call(*arguments):
    done = subprocess.run([*compiler(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join([*compiler(), *arguments])}\n{done.stderr}")
