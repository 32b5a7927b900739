"""The planner's GPU level on data sheets and made-up GPUs: predictions, the choice of the device, `schuss plan`."""

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import one_line
from hypothesis import given, settings
from hypothesis import strategies as st

from schuss.cuda import compiler, data
from schuss.cuda.arguments import defines
from schuss.cuda.engine import CudaEngine
from schuss.errors import DeviceError, PlanError
from schuss.network import Network
from schuss.optimizers import Optimizer
from schuss.plan import PRECISIONS, Plan
from schuss.planner import choice, device, gpu, gpu_cost, gpu_nodes
from schuss.planner.account import Prediction, Workload
from schuss.planner.choice import candidates, choose
from schuss.planner.device import MARGIN, choose_device
from schuss.planner.files import given as named
from schuss.planner.files import load_machine
from schuss.planner.gpu import GpuProfile
from schuss.planner.gpu_cost import Constants, GpuStep
from schuss.planner.profile import Profile
from schuss.planner.report import PlanReport
from schuss.planner.units import duration

ROOT = Path(__file__).parents[1]
GPUS = [name for name in named("machine") if load_machine(name).gpu is not None]
H200 = load_machine("h200").gpu
NET = (784, 1024, 1024, 10)


def seconds(work, found=H200, kernels="cuda", precision=""):
    return GpuStep(work, found, Plan(kernels, 1, 1, precision=precision)).prediction().seconds


# --- what is known of a GPU ---------------------------------------------------------------------------


def test_gpus_are_given():
    assert {"h200", "h100", "a100", "rtx-4090"} <= set(GPUS)


@pytest.mark.parametrize("name", GPUS)
def test_figures_of_given_gpus(name):
    found = load_machine(name).gpu
    assert (found.measured, bool(found.source)) == ("", True)
    assert "not measured" in found.origin
    assert 1e13 < found.peak("float32") < 2e14
    assert (
        found.peak("float64") <= found.peak("float32") <= found.peak("tf32") < found.peak("bfloat16") < 3e15
    )
    assert 5e11 < found.memory_rate < found.l2_rate < 2e13
    assert 4e6 < found.l2_bytes < 2.6e8 < 8e9 < found.memory_bytes < 3e11
    assert 5e9 < found.host_rate < 1e11


@pytest.mark.parametrize(
    ("name", "peaks"),  # TFLOP/s of the data sheets; on an H100 mma.sync reaches 62.9 % of the last two
    [
        ("h200", (67, 34, 494.7 * 0.629, 989.4 * 0.629)),
        ("h100", (67, 34, 494.7 * 0.629, 989.4 * 0.629)),
        ("a100", (19.5, 9.7, 156, 312)),
        ("rtx-4090", (82.6, 1.29, 82.6, 165.2)),
    ],
)
def test_rates_give_the_peaks_of_the_data_sheets(name, peaks):
    found = load_machine(name).gpu
    shown = [found.peak(precision) / 1e12 for precision in PRECISIONS]
    assert shown == pytest.approx(peaks, rel=0.09)  # tensor peaks are at a lower clock than float32's
    assert shown[:2] == pytest.approx(peaks[:2], rel=0.02)


def facts(**changes):
    """As the driver tells of an H200."""
    told = {
        "clock_khz": 1_980_000, "memory_clock_khz": 3_201_000, "memory_bus_bits": 6144, "l2_bytes": 50 * 2**20,
        "multiprocessors": 132,
    }  # fmt: skip
    return SimpleNamespace(
        name="NVIDIA H200", capability=(9, 0), memory=141 * 10**9, attributes=told | changes
    )


def test_a_gpu_that_is_here(monkeypatch):
    monkeypatch.setattr(sys.modules["schuss.cuda.facts"], "serving", lambda number: (facts(), 90))
    for files, compiled in (
        ({}, False),
        ({"step-sm_80-1.cubin": 1}, False),
        ({"step-sm_90-1.cubin": 1}, True),
    ):
        monkeypatch.setattr(compiler, "cached", lambda files=files: (Path(), files))
        found = gpu.present()
        assert (found.multiprocessors, found.compiled, found.measured) == (132, compiled, "")
        assert found.memory_rate == pytest.approx(4.9e12, rel=0.01)
        assert found.fma == H200.fma


def test_a_gpu_whose_driver_does_not_tell_all(monkeypatch):
    serving = (facts(clock_khz=0), 90)
    monkeypatch.setattr(sys.modules["schuss.cuda.facts"], "serving", lambda number: serving)
    assert "does not tell clock_khz" in gpu.present(1)
    assert gpu.present(1).startswith("GPU 1 (NVIDIA H200): ")


def test_no_gpu_is_no_error(monkeypatch):
    def serving(number):
        raise DeviceError("no NVIDIA driver: gone")

    monkeypatch.setattr(sys.modules["schuss.cuda.facts"], "serving", serving)
    assert gpu.present() == "no NVIDIA driver: gone"


@pytest.mark.parametrize(
    ("capability", "like"),
    [((8, 7), (8, 6)), ((8, 9), (8, 9)), ((10, 3), (10, 0)), ((13, 0), (12, 0)), ((7, 0), (8, 0))],
)
def test_chips_that_are_not_known_are_like_the_one_before(capability, like):
    assert replace(H200, capability=capability, fma={}).fma == replace(H200, capability=like, fma={}).fma


def test_a_profile_with_a_gpu_survives_its_file(tmp_path):
    machine = load_machine("a100")
    machine.save(tmp_path / "machine.json")
    assert Profile.load(tmp_path / "machine.json") == machine
    assert load_machine(str(tmp_path / "machine.json")).gpu == machine.gpu
    part = tmp_path / "part.json"
    part.write_text(json.dumps({"cpu": "ryzen-5800x-8", "gpu": machine.as_dict()["gpu"]}))
    assert load_machine(str(part)).gpu == machine.gpu
    assert load_machine(str(part)).name == load_machine("ryzen-5800x-8").name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 1}, "unknown field 'speed'"),
        ({"clock": 0}, "clock must be a positive number, got 0"),
        ({"memory_rate": "fast"}, "memory_rate must be a positive number, got 'fast'"),
        ({"multiprocessors": True}, "multiprocessors must be a positive number, got True"),
        ({"fma": {"float16": 1}}, "fma must be of float32, float64, tf32, bfloat16, got "),
        ({"fma": {"tf32": math.inf}}, "tf32 must be a positive number, got inf"),
        ({"capability": [9]}, "not enough values"),
    ],
)
def test_no_gpu_profile(change, message):
    machine = load_machine("h200").as_dict()
    with pytest.raises(PlanError, match="gpu profile: ") as caught:
        Profile.from_dict(machine | {"gpu": machine["gpu"] | change})
    one_line(caught, message)
    with pytest.raises(PlanError, match="'clock' is missing"):
        GpuProfile.from_dict({"name": "x", "capability": [9, 0], "multiprocessors": 1})


# --- predictions --------------------------------------------------------------------------------------


works = st.builds(
    Workload,
    layer_sizes=st.lists(st.integers(1, 4096), min_size=2, max_size=6).map(tuple),
    batch_size=st.integers(1, 4096),
    activation=st.sampled_from(["relu", "gelu"]),
    formula=st.sampled_from(["sgd", "nesterov", "adam"]),
)
plans = st.sampled_from(
    [("cuda", name) for name in PRECISIONS] + [("cuda-naive", "float32"), ("cuda-naive", "float64")]
)
chips = st.sampled_from(GPUS).map(lambda name: load_machine(name).gpu)


@settings(deadline=None)
@given(works, plans, chips)
def test_a_prediction_is_no_faster_than_the_gpu(work, plan, chip):
    kernels, precision = plan
    work = replace(work, dtype="float64" if precision == "float64" else "float32")
    step = GpuStep(work, chip, Plan(kernels, 1, 1, precision=precision))
    found = step.prediction()
    assert set(found.parts) == {"arithmetic", "cache", "memory", "nodes", "transfer"}
    assert all(part >= 0 for part in found.parts.values())
    assert 0 < found.share_of_peak < 1
    assert found.seconds > len(step.nodes) * Constants().gap
    assert found.seconds == pytest.approx(sum(node.seconds for node in step.nodes) + found.parts["transfer"])
    assert found.training_seconds(3) == pytest.approx(found.before + 3 * found.epoch_seconds)
    assert step.network_bytes > 0


@settings(deadline=None)
@given(works, plans, chips)
def test_more_of_anything_takes_longer(work, plan, chip):
    work = replace(work, dtype="float64" if plan[1] == "float64" else "float32")
    own = seconds(work, chip, *plan)
    # a larger tile may serve what is larger; it hardly gains more than that takes
    assert seconds(replace(work, batch_size=2 * work.batch_size), chip, *plan) > 0.98 * own
    assert (
        seconds(replace(work, layer_sizes=tuple(2 * n for n in work.layer_sizes)), chip, *plan) > 0.98 * own
    )
    assert seconds(replace(work, layer_sizes=(*work.layer_sizes, 40)), chip, *plan) > own
    slower = replace(chip, clock=chip.clock / 2, l2_rate=chip.l2_rate / 2, memory_rate=chip.memory_rate / 2)
    assert own < seconds(work, slower, *plan) <= 2 * own
    assert seconds(work, replace(chip, multiprocessors=2 * chip.multiprocessors), *plan) <= own


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_model_has_the_kernels_shapes(precision):
    """What the sources state, only a compiler knows: it is asked whether the model's numbers are theirs."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    shapes = gpu_nodes.shapes(precision)
    stated = {f"{name.title()}::{field}": number for name in ("small", "medium", "large")
              for field, number in zip(("rows", "columns", "threads"), shapes[name], strict=True)}  # fmt: skip
    stated |= {"kOutputThreads": shapes["output"][2], "kOutputThreads / 16": shapes["output"][0]}
    stated |= {"kGatherThreads": shapes["gather"][2], "kLossesThreads": shapes["losses"][2]}
    for name, kernel, batch in (("Head", "head", 1023), ("TallHead", "head_tall", 1024)):
        fields = ("rows", "outputs", "threads")
        shape = shapes[kernel.rpartition("_")[2]]
        stated |= {f"{name}::{field}": number for field, number in zip(fields, shape, strict=True)}
        work = gpu_nodes.StepWork(Workload(NET, batch), precision)
        (head,) = (node for node in work.graph(1) if node.kernel.startswith("head"))
        assert (head.kernel, head.rows, head.columns) == (kernel, *shape[:2])
        assert head.blocks == math.ceil(batch / shape[0])
        stated[f"{name}::parts"] = head.parts
    claims = "\n".join(f'static_assert({name} == {number}, "{name}");' for name, number in stated.items())
    text = f'#include "head.cuh"\n#include "small.cuh"\n#include "tile.cuh"\nusing namespace schuss::gpu;\n{claims}'
    package = ROOT / "src" / "schuss"
    macros = [f"-D{name}={value}" for name, value in defines(precision).items()]
    options = [
        "-std=c++20",
        "-default-device",
        "-arch=sm_80",
        f"-I{package}",
        f"-I{package / 'cuda' / 'kernels'}",
    ]
    _, program = nvrtc.nvrtcCreateProgram(text.encode(), b"shapes.cu", 0, [], [])
    given = [option.encode() for option in options + macros]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(given), given)
    log = b" " * nvrtc.nvrtcGetProgramLogSize(program)[1]
    nvrtc.nvrtcGetProgramLog(program, log)
    assert int(status) == 0, log.decode()


def test_naive_tiles_are_the_sources():
    text = (ROOT / "src" / "schuss" / "cuda" / "kernels" / "naive.cu").read_text()
    side = int(re.search(r"constexpr int kSide = (\d+);", text)[1])
    nodes = gpu_nodes.StepWork(Workload(NET), "float32", naive=True).graph(1)
    tiles = [node for node in nodes if node.kernel.startswith(("forward", "delta", "weights"))]
    assert len(tiles) >= 4
    assert {(node.rows, node.columns) for node in tiles} == {(side, side)}


def test_the_example_of_the_docs():
    """Its table, recomputed by the equations above it as they stand there, and by the model."""
    text = (ROOT / "docs" / "planner.md").read_text()
    table = re.findall(
        r"^\| (\w+) \| (\d+) \| (\d+) x (\d+) \| ([\d,]+) \| (\d) \| ([\d,]+) \|(.*)\|$", text, re.M
    )
    k, chip = Constants(), H200
    step = GpuStep(Workload((784, 1024, 10), 128, formula="momentum"), chip)
    assert [row[0] for row in table] == [node.kernel for node in step.nodes]
    written = {"forward_small": 4 * 128 * 1024, "head": 4 * 128 * 1024}
    written["weights_medium"] = 2 * 2 * 4 * (784 * 1024 + 1024 * 10)
    whole = 0.0
    for (name, *cells, times), node in zip(table, step.nodes, strict=True):
        b, r, n, terms, q, clocks = (int(cell.replace(",", "")) for cell in cells)
        assert q == math.ceil(b / chip.multiprocessors)
        fma = chip.fma["float32"]
        if name == "head":
            sums = terms * max(k.chain, r * n * q / fma) + q * r * 1024 * n / fma
            finished = r * 1024
        else:
            sums = terms * max(q * (r * n / fma + k.staging * (r + n)), k.chain)
            finished = r * n
        arithmetic = (q * k.finish * finished / fma + sums) / chip.clock
        cache = (4 * b * terms * (r + n) + written[name]) / chip.l2_rate
        took = k.gap + 2 * k.near / chip.clock + max(arithmetic, cache)
        assert clocks == pytest.approx(sums, abs=1)
        assert (node.parts["arithmetic"], node.parts["cache"]) == pytest.approx((arithmetic, cache), rel=1e-9)
        assert node.seconds == pytest.approx(took, rel=1e-9)
        assert times.split(" | ") == [f" {duration(arithmetic)}", duration(cache), f"{duration(took)} "]
        whole += took
    assert step.prediction().seconds == pytest.approx(whole)
    assert f"The step is their sum, {duration(whole)}." in text


def test_the_constants_of_the_docs():
    text = (ROOT / "docs" / "planner.md").read_text()
    k = Constants()
    for line in (
        f"| C_gap | {duration(k.gap)} |", f"| C_near | {k.near:g} clocks |", f"| C_chain | {k.chain:g} clocks |",
        f"| C_losses | {k.chain_of_losses:g} clocks |",
        f"| C_staging | {k.staging:g} clocks, matrix units {k.matrix_staging:g} |", f"| C_room | {k.room:g} |",
        f"| C_naive, C_shared | {k.naive:g}, {k.shared:g} |", f"| C_finish | {k.finish:g} operations |",
        f"| C_context | {k.context:g} s |", f"| C_compiling | {k.compiling:g} s |",
        f"of which {k.stream:g} are reached",
        f"| C_pageable | {k.pageable / 1e9:g} GB/s |", f"| C_epoch | {k.epoch * 1e3:g} ms |",
        f"more than **{MARGIN:g} times** as long", "(1 - held) / (0.9 D)",
    ):  # fmt: skip
        assert line in text


def test_nodes_are_those_of_the_engine():
    names = [node.kernel for node in GpuStep(Workload(NET), H200).nodes]
    assert [name.partition("_")[0] for name in names] == ["forward", "forward", "head", "delta", "weights"]
    wide = [node.kernel for node in GpuStep(Workload((10, 20, 40)), H200).nodes]
    assert [name.partition("_")[0] for name in wide] == ["forward", "forward", "output", "delta", "weights"]
    bare = [node.kernel for node in GpuStep(Workload((10, 3)), H200).nodes]
    assert [name.partition("_")[0] for name in bare] == ["head", "weights"]


def test_memory_counts_beyond_the_cache():
    slow, slower = (replace(H200, memory_rate=H200.memory_rate / times) for times in (5, 1000))
    inside, beyond = Workload(NET), Workload((4096, 8192, 8192, 10))
    assert seconds(inside, slow) == seconds(inside)
    assert GpuStep(beyond, slower).prediction().bound == "memory"
    # the examples come from memory, beside the step, until it has to wait for them
    assert "gather" in [node.kernel for node in GpuStep(inside, slower).nodes]
    step = GpuStep(beyond, H200)
    weights = step.nodes[-1].parts["memory"]
    held = (Constants().room * H200.l2_bytes / step.network_bytes) ** 2
    numbers = 128 * (4096 + 8192 + 8192 + 8192 + 8192 + 10) + 2 * (4096 * 8192 + 8192 * 8192 + 8192 * 10)
    assert weights == pytest.approx(4 * numbers * (1 - held) / (0.9 * H200.memory_rate))


def test_naive_nodes_are_those_of_the_engine():
    step = GpuStep(Workload(NET), H200, Plan("cuda-naive", 1, 1))
    names = [node.kernel for node in step.nodes]
    assert names == ["forward", "forward", "forward", "output", "delta", "delta", "weights", "apply"]


def test_in_float64_the_update_waits_for_the_losses():
    names = [node.kernel for node in GpuStep(Workload((20, 100, 2), 1024, dtype="float64"), H200).nodes]
    assert names[-2:] == ["losses", "weights_small"]


@pytest.mark.parametrize(("dtype", "waits"), [("float32", False), ("float64", True)])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_the_update_waits_for_the_losses_in_float64_only(monkeypatch, alpha, dtype, waits):
    monkeypatch.setitem(gpu_nodes._OPTIMIZERS, "sgd", Optimizer(alpha=alpha))
    monkeypatch.setitem(gpu_nodes._SHAPES, "penalties", (64, 256, 256))
    nodes = gpu_nodes.StepWork(Workload(NET, dtype=dtype), dtype).graph(1)
    (weights,) = (node for node in nodes if node.kernel.startswith("weights"))
    assert ("losses" in [nodes[i].kernel for i in weights.after]) is waits
    assert ("penalties" in [node.kernel for node in nodes]) is (alpha > 0)


class FakeDevice:
    """Enough of a device to ask an engine what it would take."""

    def allocate(self, nbytes):
        return SimpleNamespace(address=0, nbytes=nbytes)

    def fill(self, *rest):
        pass

    def module(self, source, macros):
        return gpu_nodes._Shapes(macros["SCHUSS_NUMBER"].lower(), source == "naive.cu")


@pytest.mark.parametrize(
    ("kernels", "precision"), [*(("cuda", name) for name in PRECISIONS), ("cuda-naive", "float32")]
)
@pytest.mark.parametrize("formula", ["sgd", "adam"])
def test_the_memory_is_what_the_engine_takes(kernels, precision, formula):
    dtype = "float64" if precision == "float64" else "float32"
    plan = Plan(kernels, 1, 1, precision=precision)
    engine = CudaEngine(
        NET, ("relu", "relu", "identity"), "squared_error", np.dtype(dtype), plan, Optimizer(solver=formula),
        device=FakeDevice(),
    )  # fmt: skip
    step = GpuStep(Workload(NET, 100, formula=formula, dtype=dtype), H200, plan)
    assert step.network_bytes == engine.memory(100)


def test_less_precision_is_faster_where_the_gpu_is_full():
    work = Workload((784, 4096, 4096, 10), 4096)
    found = [seconds(work, precision=name) for name in ("bfloat16", "tf32", "float32")]
    assert found == sorted(found)
    assert found[-1] < seconds(work, kernels="cuda-naive")
    assert found[-1] < seconds(replace(work, dtype="float64"))


def test_examples_that_do_not_fit_are_sent_in_every_epoch():
    assert gpu_cost.EXAMPLES == data._SHARE
    work = Workload((4096, 16, 2), 256, rows=2_000_000)
    small = replace(H200, memory_bytes=8 * 10**9)
    fits, sent = (GpuStep(work, chip).prediction() for chip in (H200, small))
    assert fits.parts["transfer"] == 0 < sent.parts["transfer"]
    assert fits.before > sent.before
    assert sent.bound == "transfer"
    step_bytes = work.batch_size * 4096 * 4
    assert sent.seconds == pytest.approx(step_bytes / Constants().pageable)


# --- the choice of the device -------------------------------------------------------------------------


def found_here(chip=H200):
    return lambda: chip


def unasked():
    raise AssertionError("a training too short for a GPU asks for none")


def best_on_cpu(work, machine="h200", threads=8):
    return candidates(work, load_machine(machine), threads)[0]


def test_small_nets_are_faster_on_the_cpu():
    work = Workload((20, 100, 2), 200, 2000)
    assert not choose_device(best_on_cpu(work, "rtx-4090"), 10, unasked).on_gpu
    long = choose_device(best_on_cpu(work, "rtx-4090"), 100_000, found_here(load_machine("rtx-4090").gpu))
    cpu, chip = long.cpu.training_seconds(100_000), long.gpu.training_seconds(100_000)
    assert long.on_gpu == (cpu > MARGIN * chip)
    slow = found_here(replace(H200, clock=H200.clock / 8))
    kept = choose_device(best_on_cpu(work, "rtx-4090"), 100_000, slow)
    assert not kept.on_gpu
    assert re.match(
        r"a step of 20-100-2 is 3 nodes of about [\d.]+ us on the GPU, predicted [\d.]+ us, ", kept.reason
    )
    assert re.search(
        r", against [\d.]+ us on the CPU; the whole training .* before the first step, ", kept.reason
    )


def test_large_nets_go_to_the_gpu():
    work = Workload(NET, 128, 50_000)
    cpu = best_on_cpu(work)
    assert not choose_device(cpu, 1, found_here()).on_gpu
    assert choose_device(cpu, 1000, found_here()).on_gpu
    assert not choose_device(cpu, 1000, lambda: "there is none").on_gpu
    assert choose_device(cpu, 1000, lambda: "there is none").reason == "no GPU: there is none"


@pytest.mark.parametrize(("times", "on_gpu"), [(0.99, False), (1.01, True)])
def test_the_margin(times, on_gpu):
    work, epochs = Workload(NET, 128, 50_000), 100
    whole = times * MARGIN * GpuStep(work, H200).prediction().training_seconds(epochs)
    step = whole / epochs / work.rows * work.batch_size
    cpu = Prediction(work, Plan("native", 1, 1), {"arithmetic": step}, 1e12, 0.0)
    assert choose_device(cpu, epochs, found_here()).on_gpu is on_gpu
    assert choose_device(cpu, epochs, found_here(replace(H200, compiled=True))).on_gpu  # 5 s less


def test_a_network_that_does_not_fit_stays():
    cpu = best_on_cpu(Workload(NET, 128, 50_000))
    kept = choose_device(cpu, 10_000, found_here(replace(H200, memory_bytes=10**7)))
    assert not kept.on_gpu
    assert "0.01 GB are too few" in kept.reason


@pytest.fixture
def with_gpu(monkeypatch):
    """The planner takes this for the machine at hand: eight cores, and an H200."""
    monkeypatch.setattr(
        choice, "profile_for", lambda threads, isa=None, seconds=None: load_machine("ryzen-5800x-8")
    )
    monkeypatch.setattr(device, "present", lambda number=0: H200)
    monkeypatch.setattr("schuss.planner.report.present", lambda number=0: H200)
    choice._chosen.cache_clear()
    yield
    choice._chosen.cache_clear()


LONG = {"threads": 8, "layer_sizes": NET, "batch_size": 128, "rows": 50_000, "epochs": 1000}


@pytest.mark.parametrize(
    ("text", "options", "kernels"),
    [
        ("auto", {}, "cuda"),
        ("predict", {}, "cuda"),
        ("auto", {"precision": "float32"}, "cuda"),
        ("auto", {"epochs": 1}, "native"),
        ("auto", {"rows": None}, "native"),
        ("auto", {"device": "cpu"}, "native"),
        ("auto", {"isa": "portable"}, "native"),
        ("native", {}, "native"),
        ("native:2x1", {}, "native"),
        ("auto", {"device": "cuda", "epochs": 1, "layer_sizes": (2, 2)}, "cuda"),
    ],
)
def test_where_a_plan_goes(with_gpu, text, options, kernels):
    plan = choose(text, **(LONG | options))
    assert (plan.kernels, plan.asked, plan.allowed) == (kernels, text, 8)
    assert plan.place == ("cuda:0" if kernels == "cuda" else "cpu")


def test_without_a_gpu_there_is_none(with_gpu, monkeypatch):
    monkeypatch.setattr(device, "present", lambda number=0: "no NVIDIA driver")
    plan = choose("auto", **LONG)
    assert (plan.kernels, plan.reason) == ("native", "")


def test_the_report_says_why(with_gpu):
    for epochs, start in (
        (1000, "cuda on cuda:0: a step of "),
        (5, "native:1x8: 8 of 8 threads, predicted "),
    ):
        plan = choose("auto", **(LONG | {"epochs": epochs}))
        engine = SimpleNamespace(plan=plan, present=plan, records=lambda plan=plan: [(plan, 3, math.inf)])
        report = PlanReport.of(engine, Network(NET), 128, 50_000, "sgd")
        assert report.sentence.startswith(start)
        assert plan.reason in report.sentence
        assert str(plan) in str(report)
        told = json.loads(json.dumps(report.as_dict()))
        assert told["device"] == plan.place
        assert told["plan"] in told["predicted_seconds"]
    assert "not the GPU: a step of 784-1024-1024-10 is 5 nodes of about " in report.sentence


def test_the_report_of_a_named_gpu_plan(with_gpu, monkeypatch):
    for name in ("cuda", "cuda-naive"):
        plan = choose(name, **LONG)
        engine = SimpleNamespace(plan=plan, present=plan, records=lambda plan=plan: [(plan, 3, 1e-6)])
        report = PlanReport.of(engine, Network(NET), 128, 50_000, "sgd")
        assert report.sentence == f"{name} on cuda:0, as asked for"
        assert f"gpu: {H200.name}, from data sheets" in str(report)
        assert str(report.predictions[0].plan) == name
        monkeypatch.setattr("schuss.planner.report.present", lambda number=0: "gone")
        assert report.gpu is not None  # as it was looked up
        other = PlanReport.of(engine, Network(NET), 128, 50_000, "sgd")
        assert (other.gpu, other.as_dict()["gpu"]) == (None, None)
        monkeypatch.setattr("schuss.planner.report.present", lambda number=0: H200)
