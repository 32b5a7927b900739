"""The planner on a made-up machine: predictions, the choice, the profile on disk, the report."""

import json
import logging
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import one_line
from hypothesis import given
from hypothesis import strategies as st

import schuss
from schuss.errors import PlanError
from schuss.plan import Plan, flops_per_example, processors
from schuss.planner import choice, cost, device, probe
from schuss.planner.account import Workload
from schuss.planner.choice import candidates, choose
from schuss.planner.cost import predict
from schuss.planner.profile import Gather, Level, Profile

CORES = 8


def machine(cores=CORES):
    """Eight cores of 100 GFLOP/s with caches of their own, a shared one, and memory that one core half uses."""
    all_of = {1: 1.0, cores: float(cores)}
    rates = {name: {n: rate * f for n, f in all_of.items()} for name, rate in (("L1", 2e11), ("L2", 1e11))}
    return Profile(
        name="made up", isa="avx2", cores=cores, shape={"float32": (8, 2, 6), "float64": (4, 2, 6)},
        peak={"float32": {1: 1e11, cores: cores * 1e11}, "float64": {1: 5e10, cores: cores * 5e10}},
        levels=(
            Level("L1", 32 * 2**10, 1, rates["L1"], rates["L1"]),
            Level("L2", 2**20, 1, rates["L2"], rates["L2"]),
            Level("L3", 32 * 2**20, cores, {1: 5e10, cores: 2e11}, {1: 4e10, cores: 1.6e11}),
            Level("memory", 0, cores, {1: 2e10, cores: 4e10}, {1: 2e10, cores: 4e10}),
        ),
        barrier={2: 1e-7, cores: 5e-7}, measured="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


@pytest.fixture
def made_up(monkeypatch):
    """The planner takes this for the present machine, which has no GPU."""
    monkeypatch.setattr(device, "present", lambda number=0: "none here")
    monkeypatch.setattr(choice, "profile_for", lambda threads, isa=None, seconds=None: machine())
    choice._chosen.cache_clear()
    yield machine()
    choice._chosen.cache_clear()


works = st.builds(
    Workload,
    layer_sizes=st.lists(st.integers(1, 4096), min_size=2, max_size=6).map(tuple),
    batch_size=st.integers(1, 4096),
    activation=st.sampled_from(["relu", "gelu"]),
    formula=st.sampled_from(["sgd", "nesterov", "adam"]),
    dtype=st.sampled_from(["float32", "float64"]),
)


@given(works, st.sampled_from([(1, 1), (4, 1), (1, 4), (2, 2), (8, 1), (1, 8)]))
def test_a_prediction_is_no_faster_than_the_machine(work, cut):
    found = predict(work, Plan("native", *cut), machine())
    assert work.flops == flops_per_example(work.layer_sizes) * work.batch_size
    assert all(part >= 0 for part in found.parts.values())
    assert found.bound in found.parts
    assert 0 < found.share_of_peak < 1
    assert found.epoch_seconds >= 0.999 * work.rows / work.batch_size * found.seconds


@given(works)
def test_more_of_anything_takes_longer(work):
    plan, profile = Plan("native", 2, 1), machine()
    seconds = predict(work, plan, profile).seconds
    assert predict(replace(work, batch_size=2 * work.batch_size), plan, profile).seconds > seconds
    wider = replace(work, layer_sizes=tuple(2 * n for n in work.layer_sizes))
    assert predict(wider, plan, profile).seconds > seconds
    assert predict(work, plan, replace(profile, barrier={2: 1e-3})).seconds > seconds + 1e-3


def test_the_model_cuts_a_step_as_the_core_does():
    native = Path(__file__).parent.parent / "native" / "src"
    for file, name, value in (
        ("engine/native_step.cpp", "kBlockRows", cost.BLOCK_ROWS),
        ("engine/native_step.hpp", "kTileInputs", cost.TILE_INPUTS),
        ("kernels/product.inl", "kDepthBlock", cost.DEPTH_BLOCK),
        ("engine/native_step.cpp", "kLongBatch", cost.LONG_BATCH),
        ("engine/native_step.cpp", "kSumBlock", cost.SUM_BLOCK),
    ):
        assert f"constexpr index {name} = {value};" in (native / file).read_text()


@given(works, st.integers(1, 7))
def test_candidates(work, threads):
    found = candidates(work, machine(), threads)
    assert [p.seconds for p in found] == sorted(p.seconds for p in found)
    plans = {p.plan for p in found}
    assert plans == {Plan("native", e, m) for e in range(1, 8) for m in range(1, 8) if e * m <= threads}
    assert found[0].seconds >= candidates(work, machine(), threads + 1)[0].seconds


@pytest.mark.parametrize("threads", [12, 64, 128, 300])
def test_many_threads_leave_few_candidates(threads):
    found = candidates(Workload((784, 1024, 10)), machine(), threads)
    assert {1, threads // 2, threads} <= {p.plan.threads for p in found}
    assert max(p.plan.threads for p in found) == threads
    assert len(found) < 150


@pytest.mark.parametrize(
    ("sizes", "batch", "threads"),
    [
        ((4, 10, 3), 16, 1),
        ((1, 1), 1, 1),
        ((784, 1024, 1024, 10), 1024, CORES),
        ((4096, 4096, 4096), 64, CORES),
    ],
)
def test_threads_used(made_up, sizes, batch, threads):
    plan = choose("auto", threads=CORES, layer_sizes=sizes, batch_size=batch)
    assert (plan.kernels, plan.threads) == ("native", threads)


def test_few_threads_on_a_machine_whose_barriers_are_slow(made_up, monkeypatch):
    work = {"threads": CORES, "layer_sizes": (784, 256, 10), "batch_size": 128}
    assert choose("auto", **work).threads == CORES
    choice._chosen.cache_clear()
    slow = replace(machine(), barrier=dict.fromkeys((2, CORES), 0.001))
    monkeypatch.setattr(choice, "profile_for", lambda threads, isa=None, seconds=None: slow)
    assert choose("auto", **work).threads == 1


def test_plans_are_tried_in_long_trainings_only(made_up):
    work = {"threads": CORES, "layer_sizes": (784, 1024, 1024, 10), "batch_size": 128}
    step = candidates(Workload(work["layer_sizes"], 128), machine(), CORES)[0].seconds
    short, long = (int(seconds / step) * 128 for seconds in (0.5, 5))
    assert choose("auto", **work).tries == 1
    assert choose("auto", rows=short, **work).tries == 1
    plan = choose("auto", rows=long, **work)
    assert 1 < plan.tries <= choice.MOST_TRIES
    assert choose("native", rows=short, epochs=long // short + 1, **work).tries == plan.tries
    best = candidates(Workload(work["layer_sizes"], 128), machine(), CORES)[: plan.tries]
    tried = [(plan.examples, plan.matrix), *plan.others][: plan.tries]
    assert tried == [(p.plan.examples, p.plan.matrix) for p in best]
    assert plan.others[-1] == (1, 1)
    assert len(set(plan.others)) == len(plan.others) < choice.MOST_CUTS


def test_predict_and_named_plans_never_change(made_up):
    work = {"threads": CORES, "layer_sizes": (784, 1024, 10), "batch_size": 128, "rows": 10**9}
    best = choose("predict", **work)
    assert best == choose("auto", **work)
    for plan in (best, choose("native:8x1", **work), choose("gemm:2x1", **work)):
        assert (plan.others, plan.tries) == ((), 1)
        assert (plan.asked in ("predict", str(plan)), plan.allowed) == (True, CORES)


# --- the profile ---------------------------------------------------------------------------------------


def test_a_profile_survives_its_file(tmp_path):
    profile = replace(machine(), gather={"cached": Gather(1e-9, 1e11)}, versions={"schuss": "1"})
    profile.save(tmp_path / "machine.json")
    assert Profile.load(tmp_path / "machine.json") == profile
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]
    assert Profile.from_dict(json.loads(json.dumps(profile.as_dict()))) == profile


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peak": {"float32": {}}}, "peak float32 must have positive numbers by threads, got {}"),
        ({"peak": {"float32": {"0": 1.0}}}, "peak float32 must have positive numbers"),
        ({"levels": [{"name": "L1"}]}, "'read' is missing"),
        ({"speed": 3}, "unknown field 'speed'"),
        ({"shape": 3}, "has no attribute"),
        ({"peak": {"float32": {"1": 1e9}}}, "peak must have float64"),
        ({"cores": 0}, "cores must be at least 1, got 0"),
        (
            {"levels": machine().as_dict()["levels"][-1:]},
            "levels must be caches with their bytes, and then memory",
        ),
        ({"peak": {"float32": {"2": 1e9}, "float64": {"2": 1e9}}}, "every rate must be known for 1 thread"),
        ({"tiles": [{"rows": 1, "vectors": 1, "seconds": -1.0, "per_depth": 1e-9}]}, "must be positive"),
    ],
)
def test_no_profile(change, message):
    found = machine().as_dict() | change
    with pytest.raises(PlanError, match="machine profile: ") as caught:
        Profile.from_dict(found)
    one_line(caught, message)


def test_a_file_that_is_no_profile(tmp_path):
    path = tmp_path / "machine.json"
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(PlanError, match="no machine profile") as caught:
            Profile.load(path)
        one_line(caught, str(path))


def test_rates_between_and_beyond_what_was_measured():
    profile, rates = machine(), {1: 10.0, 4: 40.0, 8: 60.0}
    assert profile.rate(rates, 4) == 40
    assert profile.rate(rates, 2) == pytest.approx(20)
    assert 40 < profile.rate(rates, 6) < 60 < profile.rate(rates, 16) < 120
    assert profile.rate({1: 10.0}, 3) == 30
    assert profile.barrier_seconds(1) == 0 < profile.barrier_seconds(2) < profile.barrier_seconds(64)


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """An empty folder for profiles, and how often the machine was measured."""
    monkeypatch.setattr(probe, "processors", lambda: (CORES, CORES))
    monkeypatch.setattr(probe, "cache_dir", lambda: tmp_path / "schuss")
    found = []

    def measured(count, isa):
        found.append(count)
        return replace(machine(), cores=count, isa=isa, measured=f"2026-01-{len(found):02}")

    monkeypatch.setattr(probe, "measure", measured)
    monkeypatch.setattr(probe, "_of_this_process", {})
    return tmp_path / "schuss", found


def test_the_machine_is_measured_once(kept):
    folder, measured = kept
    assert probe.cached(CORES) is None
    profile = probe.current(CORES)
    assert probe.current(CORES) == probe.cached(CORES) == profile
    assert measured == [CORES]
    probe.current(2)  # other threads are another machine
    assert measured == [CORES, 2]
    for path in folder.iterdir():
        path.write_text("{")
    probe._of_this_process.clear()
    assert probe.current(CORES).peak == profile.peak
    assert len(measured) == 3


def test_each_instruction_set_is_a_machine_of_its_own(kept):
    _, measured = kept
    best, portable = probe.current(CORES), probe.current(CORES, "portable")
    assert (portable.isa, len(measured)) == ("portable", 2)
    assert probe.cached(CORES, "portable") == portable
    assert probe.cached(CORES) == best
    assert probe.assumed(CORES, "portable").shape != probe.assumed(CORES, "avx2").shape


def test_measured_anew_on_demand(kept):
    folder, measured = kept
    old = probe.current(CORES)
    stamp = probe.stamp(CORES)
    new = probe.current(CORES, fresh=True)
    assert len(measured) == 2
    assert new != old
    assert probe.stamp(CORES) != stamp
    (file,) = folder.iterdir()
    assert Profile.load(file) == probe.cached(CORES) == new


def test_a_new_profile_counts_at_once(kept, monkeypatch):
    """What was chosen before the machine was known is not kept."""
    work = {"threads": CORES, "layer_sizes": (784, 256, 10), "batch_size": 128}
    assert choose("auto", **work).threads > 1
    slow = replace(machine(), barrier=dict.fromkeys((2, CORES), 1e-3), measured="today")
    monkeypatch.setattr(probe, "measure", lambda count, isa: slow)
    probe.current(CORES, fresh=True)
    assert choose("auto", **work).threads == 1


def test_more_threads_than_processors_are_no_use(kept, monkeypatch):
    _, measured = kept
    probe.current(1000)
    probe.current(CORES)
    assert measured == [CORES]
    for profile in (probe.current(1000), probe.assumed(1000)):
        monkeypatch.setattr(
            choice, "profile_for", lambda threads, isa=None, seconds=None, profile=profile: profile
        )
        choice._chosen.cache_clear()
        plan = choose("auto", threads=1000, layer_sizes=(4096, 4096, 4096), batch_size=4096)
        assert (plan.threads, plan.allowed) == (CORES, 1000)
    choice._chosen.cache_clear()


def test_a_busy_machine_is_not_kept(kept, monkeypatch):
    folder, _ = kept
    peak = machine().peak | {"float32": {1: 1e11, CORES: 3e10}}
    monkeypatch.setattr(probe, "measure", lambda count, isa: replace(machine(), peak=peak))
    assert probe.current(CORES).peak == peak
    assert list(folder.glob("*")) == []


def test_a_home_that_cannot_be_written_to(kept):
    folder, measured = kept
    folder.parent.joinpath("schuss").write_text("a file")
    assert probe.current(CORES) == probe.current(CORES)
    assert measured == [CORES]


def test_only_a_long_training_measures_the_machine(kept):
    _, measured = kept
    assert not choice.profile_for(CORES).measured
    assert not choice.profile_for(CORES, seconds=5).measured
    assert measured == []
    assert choice.profile_for(CORES, seconds=60).measured
    assert choice.profile_for(CORES).measured
    assert measured == [CORES]


def test_measured_here():
    """All figures are there, and of the right order: no timing is asserted beyond that."""
    profile = probe.measure(2)
    assert profile.measured
    assert profile.cores == min(2, processors()[0])
    assert 1e8 < profile.peak["float64"][1] < profile.peak["float32"][1] < 1e13
    assert [level.bytes for level in profile.levels[:-1]] == sorted(
        level.bytes for level in profile.levels[:-1]
    )
    assert profile.levels[-1].bytes == 0
    rows, vectors = profile.shape["float32"][2], profile.shape["float32"][1]
    assert set(profile.tiles) == {(r, v) for r in range(1, rows + 1) for v in range(1, vectors + 1)}
    assert set(profile.barrier) == set(range(2, profile.cores + 1))
    assert Profile.from_dict(json.loads(json.dumps(profile.as_dict()))) == profile
    assert probe.assumed(2).measured == ""
    assert 0 < predict(Workload((784, 100, 10)), Plan("native", 2, 1), profile).share_of_peak < 2


# --- the report ------------------------------------------------------------------------------------------


def blobs(rows=4096):
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 32), np.float32), rng.integers(0, 3, rows)


def test_the_report_says_what_was_tried_and_chosen(monkeypatch, caplog):
    monkeypatch.setattr(probe, "processors", lambda: (2, 2))
    monkeypatch.setattr(choice, "WORTH_TRYING", 0.0)
    monkeypatch.setattr(choice, "NEAR", 1e9)
    choice._chosen.cache_clear()
    X, y = blobs()
    with caplog.at_level(logging.INFO, "schuss"):
        network = schuss.train(X, y, hidden_layer_sizes=64, epochs=30, n_jobs=2)
    choice._chosen.cache_clear()
    report = network.plan_report
    assert set(report.measured) == {"native:1x1", "native:2x1", "native:1x2"}
    assert str(report.present) == network.trained_plan
    assert "at best" in report.sentence
    assert sum(steps for _, steps, _ in report.records) <= 30 * 32
    text = str(report)
    assert all(plan in text for plan in report.measured)
    assert json.loads(json.dumps(report.as_dict()))["asked"] == "auto"
    assert "(auto)" in caplog.text
    same = schuss.train(X, y, hidden_layer_sizes=64, epochs=30, plan="native:1x1")
    np.testing.assert_array_equal(network.parameters, same.parameters)
    assert same.plan_report.sentence == "native:1x1, as asked for"


@pytest.mark.parametrize("plan", ["gemm:1x2", "gemv:2x1", "naive:1x2"])
def test_a_named_plan_stays_what_it_is(plan):
    X, y = blobs(256)
    network = schuss.train(X, y, hidden_layer_sizes=8, epochs=2, plan=plan, n_jobs=2)
    assert network.trained_plan == str(network.plan_report.present) == plan
    assert [record[0] for record in network.plan_report.records] == [plan]


def test_the_report_of_single_steps_is_up_to_date():
    X, y = blobs(40)
    model = schuss.MLPClassifier(8, n_jobs=2, batch_size=1)
    for i in range(40):
        model.partial_fit(X[i : i + 1], y[i : i + 1], classes=[0, 1, 2])
    assert sum(steps for _, steps, _ in model.plan_report_.records) == 40


def test_a_report_goes_with_its_model_without_the_machine():
    X, y = blobs(256)
    report = schuss.train(X, y, hidden_layer_sizes=8, epochs=2, n_jobs=2).plan_report
    assert str(report)
    again = pickle.loads(pickle.dumps(report))
    assert again == report
    assert set(vars(again)) == {"plan", "present", "work", "records", "isa"}


def test_a_short_training_tries_nothing():
    X, y = blobs(256)
    report = schuss.train(X, y, hidden_layer_sizes=8, epochs=2, n_jobs=2).plan_report
    assert report.plan.tries == 1
    assert report.sentence.startswith(f"{report.present}: ")


def test_estimators_have_the_report(tmp_path):
    X, y = blobs(512)
    for solver in ("adam", "lbfgs"):
        model = schuss.MLPClassifier(8, solver=solver, max_iter=3, n_jobs=2, tol=0, n_iter_no_change=9)
        with pytest.warns(Warning, match="max_iter"):
            model.fit(X, y)
        assert str(model.plan_report_.present) == model.plan_
        assert model.plan_report_.work.layer_sizes == (32, 8, 3)
    model.save(tmp_path / "m.safetensors")
    assert schuss.load(tmp_path / "m.safetensors").plan_report_ is None
