"""Kernels are compiled by NVRTC, which needs no GPU: for each chip, without a word, once."""

import logging
import os
import re
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from schuss.cuda import compiler, driver
from schuss.cuda.arguments import NUMBERS, defines
from schuss.errors import DeviceError

pytest.importorskip("cuda.bindings.nvrtc", reason="pip install 'schuss[cuda13]'")

CHIPS = (80, 90, 100, 120)
PROGRAMS = [
    *(("step.cu", precision) for precision in NUMBERS),
    ("naive.cu", "float32"),
    ("naive.cu", "float64"),
    ("peak.cu", "float32"),
]
#: Shared memory that a block can have on the chips that have least, 8.6, 8.9 and 12.0.
LEAST_SHARED = 99 * 1024
TINY = """
#include "tiny.cuh"
struct Args { float* x; unsigned n; };
extern "C" __device__ unsigned scale_shape[4] = {128, 0, 0, 0};
extern "C" __global__ void __launch_bounds__(128) scale(const __grid_constant__ Args p) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < p.n) p.x[i] = twice(p.x[i]) + FACTOR;
}
"""
HEADER = "#pragma once\ninline float twice(float x) { return x + x; }\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SCHUSS_CACHE_DIR", str(folder))
    return folder / "cuda"


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """A folder with kernels of this test's own in the place of the package's."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "tiny.cu").write_text(TINY)
    (folder / "tiny.cuh").write_text(HEADER)
    monkeypatch.setattr(compiler, "_KERNELS", folder)
    return folder


@pytest.fixture
def builds(monkeypatch):
    """How often the compiler itself was called."""
    made = []
    build = compiler._build
    monkeypatch.setattr(compiler, "_build", lambda *work: made.append(work) or build(*work))
    return made


def tiny(factor="2.0f", sm=90):
    return compiler.compile("tiny.cu", {"FACTOR": factor}, sm)


# The package's kernels ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cubins():
    """(source, precision, chip) -> what comes of compiling it: cubin and log. All are under way at once."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield {
            (source, precision, sm): pool.submit(compiler.build, source, defines(precision), sm)
            for source, precision in PROGRAMS
            for sm in CHIPS
        }
        pool.shutdown(cancel_futures=True)


def test_no_source_is_left_out():
    assert {source for source, _ in PROGRAMS} == set(compiler.sources())


@pytest.mark.parametrize(("source", "precision"), PROGRAMS)
def test_every_kernel_compiles_for_every_chip_without_a_word(cubins, source, precision):
    for sm in CHIPS:
        cubin, log = cubins[source, precision, sm].result()
        assert log == ""
        found = symbols(cubin)
        kernels = {name.removesuffix("_shape") for name in found if name.endswith("_shape")}
        assert kernels
        for name in kernels:
            threads, shared, _, _ = struct.unpack("4I", found[f"{name}_shape"])
            assert found[name], "no code of this name"
            assert 1 <= threads <= 1024
            assert shared <= LEAST_SHARED


def symbols(elf):
    """Bytes of each symbol of an ELF file that has any in it."""
    (at,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, at + i * size) for i in range(count)]
    found = {}
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        for entry in range(offset, offset + length, 24):
            name, _, _, section, value, length_of_symbol = struct.unpack_from("<IBBHQQ", elf, entry)
            if 0 < section < count:
                begins = sections[link][4] + name
                text = elf[begins : elf.index(b"\0", begins)].decode()
                start = sections[section][4] + value
                found[text] = elf[start : start + length_of_symbol]
    return found


# How it is compiled, with a small kernel ---------------------------------------------------------------------------


def test_the_cubin_is_for_the_chip(kernels):
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda sm: compiler.build("tiny.cu", {"FACTOR": "1.0f"}, sm), CHIPS))
    assert all(cubin.startswith(b"\x7fELF") and log == "" for cubin, log in made)
    assert len({cubin for cubin, _ in made}) == len(CHIPS)
    assert all(b"scale_shape" in cubin for cubin, _ in made)


def test_formulas_can_be_included(kernels, tmp_path, monkeypatch):
    (tmp_path / "three.inl").write_text("constexpr float three = 3;\n")
    monkeypatch.setattr(compiler, "_FORMULAS", tmp_path)
    (kernels / "tiny.cuh").write_text('#include "formulas/three.inl"\n' + HEADER)
    assert compiler.build("tiny.cu", {"FACTOR": "three"}, 90)[1] == ""


def test_products_and_sums_are_fused_only_where_it_is_written(kernels):
    """As in the CPU core: the product below could be fused into the sum that it is part of, its twin never is."""
    plain, never = ({"FACTOR": text} for text in ("p.x[0] * p.x[1]", "__fmul_rn(p.x[0], p.x[1])"))
    assert compiler.build("tiny.cu", plain, 90) == compiler.build("tiny.cu", never, 90)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (TINY.replace("twice", "thrice"), 'wrong.cu(7): error: identifier "thrice" is undefined'),
        ('#include <cuda_bf16.h>\n' + TINY, "wrong.cu(1): catastrophic error: co"),
        (TINY.replace("p.n) p", "p.n p"), "wrong.cu(7): error: expected a"),
    ],
)  # fmt: skip
def test_a_source_that_is_refused_is_one_line(kernels, cache, text, first):
    (kernels / "wrong.cu").write_text(text)
    with pytest.raises(DeviceError) as caught:
        compiler.compile("wrong.cu", {"FACTOR": "1.0f"}, 90)
    message = str(caught.value)
    assert message.startswith("NVRTC ")
    assert f" cannot compile wrong.cu with -arch=sm_90: {first}" in message
    assert "\n" not in message
    assert not cache.exists()


def test_a_chip_that_the_compiler_refuses(kernels):
    with pytest.raises(DeviceError, match=r"cannot compile tiny\.cu with -arch=sm_20: .*-arch"):
        tiny(sm=20)


def test_a_source_that_is_not_there(kernels):
    with pytest.raises(DeviceError, match=r"the kernels cannot be read: .*none\.cu"):
        compiler.compile("none.cu", {}, 90)


def test_what_the_compiler_says_is_logged(kernels, caplog):
    (kernels / "tiny.cuh").write_text(HEADER.replace("return", "int unused; return"))
    with caplog.at_level(logging.WARNING, logger="schuss"):
        assert tiny().startswith(b"\x7fELF")
    (record,) = caplog.records
    assert record.getMessage().startswith("NVRTC said of tiny.cu for sm_90: tiny.cuh(2): warning")
    assert compiler.build("tiny.cu", {"FACTOR": "2.0f"}, 90)[1] in record.getMessage()


def test_compiled_once(kernels, cache, builds):
    first = tiny()
    assert tiny() == first
    assert len(builds) == 1
    (kept,) = cache.iterdir()  # no temporary file is left
    assert kept.name.startswith("tiny-sm_90-")
    assert compiler.cached() == (cache, {kept.name: kept.stat().st_size})


def test_nothing_cached_yet(cache):
    assert compiler.cached() == (cache, {})


def change_source(kernels, _):
    (kernels / "tiny.cu").write_text(TINY + "\n")


def change_header(kernels, _):
    (kernels / "tiny.cuh").write_text(HEADER + "\n")


def change_options(_, monkeypatch):
    monkeypatch.setattr(compiler, "_OPTIONS", (*compiler._OPTIONS, "-lineinfo"))


def change_version(_, monkeypatch):
    monkeypatch.setattr(compiler, "version", lambda: (99, 0))


@pytest.mark.parametrize("change", [change_source, change_header, change_options, change_version])
def test_compiled_anew_after(kernels, builds, monkeypatch, change):
    tiny()
    change(kernels, monkeypatch)
    tiny()
    tiny()
    assert len(builds) == 2


def test_a_header_that_is_gone_is_missed(kernels):
    tiny()
    (kernels / "tiny.cuh").rename(kernels / "other.cuh")
    with pytest.raises(DeviceError, match=r"tiny\.cu\(2\): .*error"):
        tiny()


def test_each_chip_and_macro_is_kept_beside_the_others(kernels, builds):
    for _ in range(2):
        made = {tiny(), tiny("3.0f"), tiny(sm=80)}
        assert len(made) == 3
    assert len(builds) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: b"",
        lambda kept: kept[:10],
        lambda kept: kept[:-1],
        lambda kept: kept[:500] + bytes([kept[500] ^ 1]) + kept[501:],
    ],
    ids=["empty", "short", "cut", "changed"],
)
def test_a_damaged_file_is_compiled_anew(kernels, cache, builds, damage):
    first = tiny()
    (kept,) = cache.iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    assert tiny() == first
    assert len(builds) == 2
    assert tiny() == first
    assert len(builds) == 2


def test_a_folder_that_cannot_be_written(kernels, tmp_path, monkeypatch, builds):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCHUSS_CACHE_DIR", str(tmp_path / "file"))
    assert tiny() == tiny()
    assert len(builds) == 2
    assert compiler.cached()[1] == {}


def test_no_home(kernels, monkeypatch, tmp_path, builds):
    monkeypatch.setenv("SCHUSS_CACHE_DIR", "cache-here")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert tiny() == tiny()
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("capability", "sm"), [((8, 0), 80), ((9, 0), 90), ((10, 0), 100), ((12, 0), 120), ((8, 5), 80)]
)
def test_the_architecture_of_a_chip(capability, sm):
    assert compiler.architecture(capability) == sm


@pytest.mark.parametrize(
    ("capability", "message"),
    [
        ((7, 5), r"compute capability 8\.0 or newer is needed, got 7\.5"),
        ((99, 0), r"NVRTC \d+\.\d+ knows no compute capability 99\.0: a newer one is needed"),
    ],
)
def test_a_chip_that_cannot_be_compiled_for(capability, message):
    with pytest.raises(DeviceError, match=message):
        compiler.architecture(capability)


def test_the_driver_must_not_be_older_than_the_compiler(monkeypatch):
    monkeypatch.setattr(compiler, "version", lambda: (13, 5))
    for has in ((13, 0), (14, 0)):
        monkeypatch.setattr(driver, "version", lambda has=has: has)
        compiler.check_driver()
    monkeypatch.setattr(driver, "version", lambda: (12, 9))
    message = r"NVRTC 13\.5 .* of CUDA 13, this one is of 12\.9: update .* pip install 'schuss\[cuda12\]'"
    with pytest.raises(DeviceError, match=message):
        compiler.check_driver()


def test_without_the_compiler(kernels, monkeypatch):
    """It is looked for once a process."""
    monkeypatch.setattr(compiler, "_nvrtc", None)
    monkeypatch.setattr(compiler, "_missing", "")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "cuda.bindings", None)
        with pytest.raises(DeviceError) as caught:
            tiny()
    assert re.fullmatch(r"NVRTC cannot be loaded \(.*\): pip install 'schuss\[cuda1\d\]'", str(caught.value))
    with pytest.raises(DeviceError, match=re.escape(str(caught.value))):
        tiny()
