"""The products of a step, and the roofline that shows them."""

import re

import pytest

from schuss.errors import PlanError
from schuss.plan import Plan
from schuss.planner.account import Workload
from schuss.planner.files import load_machine
from schuss.planner.last import LastTraining
from schuss.planner.operations import operations
from schuss.planner.roofline import intensity, plot_roofline, products

WORK = Workload((784, 100, 30, 10), batch_size=64)


@pytest.fixture(scope="module")
def profile():
    return load_machine("ryzen-5800x-8")


def last(**changed):
    facts = {
        "layer_sizes": (784, 100, 30, 10), "batch_size": 64, "rows": 1000, "formula": "sgd", "loss": "log_loss",
        "dtype": "float32", "plan": "native:4x2", "isa": "avx2", "gflops": 123.4, "epoch_seconds": 0.5,
        "ended": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    return LastTraining(**facts | changed)


# --- operations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [Plan("native", 1, 1), Plan("native", 4, 2), Plan("native", 1, 8)])
def test_the_products_are_the_steps_work(profile, plan):
    found = operations(WORK, plan, profile)
    assert [(one.kind, one.layer) for one in found] == [
        ("forward", 1), ("gradient", 1), ("forward", 2), ("delta", 2), ("gradient", 2), ("forward", 3), ("delta", 3),
        ("gradient", 3),
    ]  # fmt: skip
    assert sum(one.flops for one in found) == WORK.flops
    peak = profile.rate(profile.peak["float32"], plan.threads)
    assert all(0 < one.rate <= peak for one in found)


@pytest.mark.parametrize(("dtype", "word"), [("float32", 4), ("float64", 8)])
def test_bytes_are_counted_once_and_updated_weights_twice(profile, dtype, word):
    work = Workload((30, 20, 10), batch_size=8, dtype=dtype)
    found = {(one.kind, one.layer): one for one in operations(work, Plan("native", 1, 1), profile)}
    assert found["forward", 1].bytes == word * (8 * 30 + 30 * 20 + 8 * 20)
    assert found["delta", 2].bytes == word * (8 * 10 + 20 * 10 + 8 * 20)
    assert found["gradient", 2].bytes == word * (8 * 20 + 8 * 10 + 2 * 20 * 10)
    assert found["forward", 1].intensity == 2 * 8 * 30 * 20 / found["forward", 1].bytes


def test_more_threads_are_faster_with_much_to_do(profile):
    work = Workload((1024, 1024, 1024), batch_size=1024)
    one, eight = (operations(work, Plan("native", count, 1), profile) for count in (1, 8))
    for slow, fast in zip(one, eight, strict=True):
        assert 4 < slow.seconds / fast.seconds < 8.5


def test_the_whole_training_is_at_the_intensity_of_its_products_together(profile):
    training = last(layer_sizes=(30, 20), batch_size=8)
    moved = 4 * (2 * (8 * 30 + 8 * 20) + 3 * 30 * 20)  # forward, and the gradient with its update
    assert intensity(products(training, profile)) == 2 * 2 * 8 * 30 * 20 / moved
    assert intensity(products(last(plan="gemm:1x4"), profile)) == intensity(products(last(), profile))


# --- the picture ------------------------------------------------------------------------------------


def texts(svg):
    """What is written in a picture: matplotlib puts each text into a comment before its outlines."""
    return re.findall(r"<!-- (.*?) -->", svg)


def draw(profile, training, tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "roof.svg"
    plot_roofline(profile, training, file)
    return texts(file.read_text())


def test_roofs_of_every_level_and_both_peaks(profile, tmp_path):
    found = draw(profile, None, tmp_path)
    for level in profile.levels:
        assert f"{level.name}: {profile.rate(level.read, 8) / 1e9:,.0f} GB/s read" in found
    assert "peak 973 GFLOP/s" in found
    assert "one thread 122 GFLOP/s" in found
    assert "AMD Ryzen 7 5800X, 8 cores (from data sheets): 8 threads, float32" in found
    assert not any("predicted" in text or "measured" in text for text in found)


def test_the_last_training_is_on_it(profile, tmp_path):
    found = draw(profile, last(), tmp_path)
    for kind in ("forward", "delta", "gradient"):
        assert f"{kind} of layer ..., predicted" in found
    assert "784-100-30-10, batch 64, native:4x2:" in found
    assert "123.4 GFLOP/s measured (2026-01-02)" in found
    assert any(text.endswith(": 8 threads, float32") for text in found)


def test_of_other_kernels_only_what_was_measured(profile, tmp_path):
    training = last(plan="gemm:1x4", dtype="float64")
    found = draw(profile, training, tmp_path)
    assert "784-100-30-10, batch 64, gemm:1x4:" in found
    assert not any("predicted" in text for text in found)
    assert any(text.endswith(": 4 threads, float64") for text in found)


def test_a_training_of_one_thread_has_one_peak(profile, tmp_path):
    found = draw(profile, last(plan="native:1x1"), tmp_path)
    assert "peak 122 GFLOP/s" in found
    assert not any(text.startswith("one thread") for text in found)


def test_a_picture_of_no_known_kind(profile, tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(PlanError, match=r"^--plot must end in \.png, \.svg or \.pdf, got '.*roof\.doc'$"):
        plot_roofline(profile, None, tmp_path / "roof.doc")
