"""Plan `cuda-naive`, the 2016 study's kernels, on a GPU or an emulated one: NumPy's values, the CPU engine's bits."""

import shutil

import numpy as np
import pytest
from conftest import DTYPES, make_problem, trained
from cuda_host import build
from cuda_host.bench import SEEDS, needs_compiler
from cuda_host.desk import ROUNDOFF, Desk, product
from cuda_host.device import HostDevice

from schuss import _reference, cuda
from schuss.activations import ACTIVATIONS
from schuss.cuda.layout import stride
from schuss.errors import DeviceError
from schuss.optimizers import Optimizer

SIDE = 32
#: Examples, columns and terms: one of each, whole tiles, and what fills none.
SHAPES = ((1, 1, 1), (2 * SIDE, SIDE, 2 * SIDE), (SIDE + 1, 2 * SIDE + 3, SIDE - 1))
TRAININGS = {
    "sgd": {},
    "momentum": {"optimizer": Optimizer(momentum=0.9, weight_decay=0.01)},
    "nesterov, clipped": {"optimizer": Optimizer(momentum=0.9, nesterov=True, clip_norm=0.3)},
    "adam with a penalty": {"optimizer": Optimizer("adam", alpha=0.01)},
    "dropout": {"dropout": (0.5, 0.2), "seed": 7},
    "weights": {"weights": np.repeat([0.0, 2.0, 0.5], 13)},
}


@needs_compiler
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", ["forward", "delta"])
def test_a_product(rng, kernel, dtype, shape):
    examples, columns, depth = shape
    desk = Desk(dtype, source="naive.cu")
    sums, bound, results, activated, _ = product(
        desk, kernel, examples=examples, columns=columns, depth=depth, rng=rng, activation=ACTIVATIONS["tanh"]
    )
    got = results["out"]
    wanted = (
        np.tanh(sums) if kernel == "forward" else sums * _reference.F_PRIME["tanh"](np.arctanh(activated))
    )
    assert (np.abs(got[:examples, :columns] - wanted) <= bound + 8 * ROUNDOFF[dtype]).all()
    assert (got[:examples, columns:] == 0).all()  # rows are padded with zeros
    assert np.isnan(got[examples:]).all()
    assert got.shape[1] == stride(columns)


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_training_has_the_bits_of_the_cpus(gpu, dtype, training):
    problem = make_problem((19, 37, 33, 5), 39, "gelu", dtype=dtype)
    got, losses = trained(problem, "cuda-naive", epochs=2, batch=17, **TRAININGS[training])
    wanted, expected = trained(problem, "native:1x1", epochs=2, batch=17, **TRAININGS[training])
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(losses, expected)


@pytest.mark.parametrize("sizes", [(1, 1), (40, 3), (3, 70, 33), (33, 31, 64, 2)])
def test_sizes(gpu, sizes):
    problem = make_problem(sizes, 7, output="logistic" if sizes[-1] == 1 else "softmax")
    got, losses = trained(problem, "cuda-naive", epochs=1)
    wanted, expected = trained(problem, "native:1x1", epochs=1)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(losses, expected)


@needs_compiler
def test_its_nodes_are_those_of_2016(monkeypatch):
    device = HostDevice()
    monkeypatch.setattr(cuda, "device", lambda number=0: device)
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "")
    trained(make_problem((9, 8, 7, 3), 6), "cuda-naive", epochs=1, batch=6)
    named = {name for name, *_ in device.ran}
    assert {"forward", "output", "delta", "weights", "apply"} <= named
    assert not {"head", "clip_norm"} & named


FAULTS = {
    "squares are read before they are there": ("barrier();  // both squares are there", ";"),
    "squares are overwritten while they are read": ("barrier();  // nobody reads them any more", ";"),
    "sums are read before they are there": ("own_column()] = sum;\n  barrier();", "own_column()] = sum;"),
    "a row too many is read": ("row < rows && column < columns ?", "row <= rows && column < columns ?"),
}


@needs_compiler
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(tmp_path, rng, fault):
    sources = tmp_path / "kernels"
    shutil.copytree(build.KERNELS, sources)
    text = (sources / "naive.cu").read_text()
    assert text.count(FAULTS[fault][0]) == 1
    text = text[: text.index("SCHUSS_KERNEL(delta")]  # one kernel, compiled in a moment
    (sources / "naive.cu").write_text(text.replace(*FAULTS[fault]))
    for seed in SEEDS:
        desk = Desk("float32", seed, "naive.cu", sources)
        with pytest.raises(DeviceError):
            product(desk, "forward", examples=SIDE, columns=SIDE, depth=3 * SIDE - 1, rng=rng)
