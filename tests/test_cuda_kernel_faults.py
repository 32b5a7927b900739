"""Faults planted in copies of the package's kernels are found on the emulated GPU, in whatever order threads run."""

import shutil

import numpy as np
import pytest
from cuda_host import build
from cuda_host.bench import SEEDS, needs_compiler
from cuda_host.desk import Desk, product

from schuss.errors import DeviceError

pytestmark = needs_compiler

#: One kernel, compiled in a moment.
ONE = """
#include "layers.cuh"
using namespace schuss::gpu;
SCHUSS_KERNEL({name}_small, ProductArguments, (Small::threads), (Tile<Small, true, {along}>::shared), (Small::rows),
              (Small::columns)) {{
  {name}<Small>(p);
}}
"""
NOTHING = ""
# what is wrong: (file, text, text in its place, precision, kernel, what is said of it)
FAULTS = {
    "a slab is read before all have copied theirs": (
        "slab.cuh", "    barrier();  // slab i is", "    // slab i is", "float32", "forward", "shared memory",
    ),
    "a slab is read before its copy is waited for": (
        "slab.cuh", "copy_async_wait<stages - 2>();", NOTHING, "float32", "forward", "shared memory",
    ),
    "one group too many may be under way": (
        "slab.cuh", "copy_async_wait<stages - 2>", "copy_async_wait<stages - 1>", "bfloat16", "forward",
        "shared memory",
    ),
    "the finished tile takes the place of slabs in use": (
        "slab.cuh", "  copy_async_wait<0>();\n  barrier();\n", NOTHING, "float32", "delta", "shared memory",
    ),
    "the finished tile is read before it is there": (
        "tile.cuh", "= sum; });\n    barrier();\n    return {rows", "= sum; });\n    return {rows", "tf32", "forward",
        "shared memory",
    ),
    "parts are published without a fence": (
        "tile.cuh", "    fence();\n    barrier();\n", "    barrier();\n", "tf32", "forward", "another block",
    ),
    "parts are published before all have written theirs": (
        "tile.cuh", "    fence();\n    barrier();\n", "    fence();\n", "bfloat16", "forward", "nothing orders the two",
    ),
    "whether a block is the last is overwritten too early": (
        "tile.cuh", "    barrier();  // *last", "    // *last", "tf32", "forward", "shared memory",
    ),
    "one row too many is read": (
        "slab.cuh", "row0 + r < rows_end", "row0 + r <= rows_end", "float32", "forward", "outside of all buffers",
    ),
    "one row too many is written": (
        "tile.cuh", "row0 + r < rows_end", "row0 + r <= rows_end", "float32", "forward", "wrong",
    ),
    "four columns too many are written": (
        "tile.cuh", "column0 + c >= columns_end", "column0 + c > columns_end", "float32", "delta",
        "nothing orders the two",
    ),
    "a sum goes to its neighbour": (
        "tile.cuh", "out[row * stride + column] = sum", "out[row * stride + column + (row == 3 && column == 5)] = sum",
        "float32", "forward", "nothing orders the two",
    ),
    "four columns are left out": (
        "tile.cuh", "column0 + c >= columns_end", "column0 + c >= columns_end - 4", "float64", "forward", "wrong",
    ),
    "matrices are loaded from the next row": (
        "sums.cuh", "matrix / 2 * 8 + line, k + matrix % 2 * 8", "matrix / 2 * 8 + line + 1, k + matrix % 2 * 8",
        "bfloat16", "delta", "shared memory",
    ),
    "fragments are mixed up": (
        "sums.cuh", "group + v % 2 * 8, k + member + v / 2 * 4", "group + v / 2 * 8, k + member + v % 2 * 4", "tf32",
        "forward", "wrong",
    ),
}  # fmt: skip


def said_of(folder, seed, precision, name):
    """What is found: the device's error, a wrong result, or nothing."""
    try:
        return "" if right(folder, seed, precision, name) else "wrong"
    except DeviceError as error:
        return str(error)


def right(folder, seed, precision, name):
    (folder / "one.cu").write_text(ONE.format(name=name, along=str(name == "delta").lower()))
    desk = Desk(precision, seed, "one.cu", folder)
    parts = 2 if precision in ("tf32", "bfloat16") else 1
    rng = np.random.default_rng(0)
    sums, bound, results, _, slope = product(
        desk, f"{name}_small", examples=37, columns=48, depth=203, parts=parts, rng=rng, slope=name == "delta"
    )
    wanted = sums * (slope if name == "delta" else 1)
    bound = 2 * bound + np.abs(wanted) * (2.0**-8 if precision == "bfloat16" else 1e-15)
    out = results["out"]
    return bool((np.abs(out[:37, :48] - wanted) <= bound).all() and np.isnan(out[37:]).all())


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(build.KERNELS, tmp_path / "kernels")


@pytest.mark.parametrize("precision", ["float32", "float64", "tf32", "bfloat16"])
@pytest.mark.parametrize("name", ["forward", "delta"])
def test_without_a_fault_the_results_are_right(folder, precision, name):
    assert said_of(folder, 0, precision, name) == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found_with_every_order(folder, fault):
    file, text, instead, precision, name, said = FAULTS[fault]
    source = (folder / file).read_text()
    assert source.count(text) == 1
    (folder / file).write_text(source.replace(text, instead))
    for seed in SEEDS:
        found = said_of(folder, seed, precision, name)
        assert said in found, found
