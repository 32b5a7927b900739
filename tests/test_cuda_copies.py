"""Numbers that Python repeats of the kernels' sources are still theirs."""

import re
from itertools import product
from pathlib import Path

import pytest

from schuss import cuda
from schuss.activations import ACTIVATIONS
from schuss.cuda import settings, step
from schuss.cuda.arguments import NUMBERS, defines

SOURCES = Path(cuda.__file__).parents[1]


def constant(path, name):
    """A `constexpr int` of a source."""
    (found,) = re.findall(rf"^constexpr int {name} = (\d+);", (SOURCES / path).read_text(), re.M)
    return int(found)


@pytest.mark.parametrize("precision", NUMBERS)
def test_the_outputs_of_the_head(gpu, precision):
    module = gpu.module("step.cu", defines(precision))
    assert {module.kernel(name).columns for name in ("head", "head_tall")} == {settings.HEAD_OUTPUTS}


def test_the_parts_of_the_squares_of_weights():
    rows, columns = (constant("cuda/kernels/small.cuh", f"kSquare{name}") for name in ("Rows", "Columns"))
    for inputs, outputs in product((1, rows, rows + 1, 5 * rows), (1, columns, columns + 1, 7 * columns)):
        parts = len(range(0, inputs, rows)) * len(range(0, outputs, columns))
        assert step._n_squares(inputs, outputs) == parts


def test_the_activations_whose_slope_is_kept():
    text = (SOURCES / "formulas" / "names.hpp").read_text()
    (body,) = re.findall(r"constexpr bool needs_slope\(Activation f\) \{(.*?)\}", text, re.DOTALL)
    kept = re.findall(r"f == Activation::(\w+)", body)
    assert body.split() == f"return {' || '.join(f'f == Activation::{name}' for name in kept)};".split()
    assert set(settings._SLOPED) == set(kept) <= set(ACTIVATIONS)
