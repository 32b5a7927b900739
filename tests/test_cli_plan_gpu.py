"""`schuss plan` with a GPU: CPU and GPU side by side, and why there is none; what `schuss info` saves of one."""

import json
import re
import subprocess
import sys
import textwrap

import pytest
from click.testing import CliRunner

from schuss.cli import app
from schuss.plan import Plan
from schuss.planner import gpu, probe
from schuss.planner.account import Workload
from schuss.planner.files import load_machine
from schuss.planner.gpu import GpuProfile
from schuss.planner.gpu_cost import GpuStep

H200 = load_machine("h200").gpu


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["plan", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def document(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def test_cpu_and_gpu_side_by_side():
    found = document("784-1024-10", "--machine", "h200", "--epochs", 500, "--top", 2)
    rows = {row["plan"]: row for row in found["candidates"]}
    work = Workload((784, 1024, 10), 128, 50_000, formula="momentum")
    assert rows["cuda"]["step_seconds"] == GpuStep(work, H200, Plan("cuda", 1, 1)).prediction().seconds
    assert [node["kernel"].partition("_")[0] for node in rows["cuda"]["nodes"]] == [
        "forward",
        "head",
        "weights",
    ]
    assert sum(plan.startswith("native:") for plan in rows) == 2
    assert (found["choice"], found["device"], found["gpu"]["name"]) == ("cuda", "cuda", H200.name)
    assert found["device_reason"].startswith("The GPU: a step of 784-1024-10 is 3 nodes of about ")
    short = document("784-1024-10", "--machine", "h200", "--epochs", 1, "--top", 2)
    assert (short["device"], short["choice"][:7]) == ("cpu", "native:")
    assert "cuda" in [row["plan"] for row in short["candidates"]]


def test_the_gpu_in_words():
    text = run("784-1024-10", "--machine", "rtx-4090", "--epochs", 500, "--top", 1).stdout
    assert re.search(
        r"^gpu +NVIDIA GeForce RTX 4090: 128 multi.* 8\.9; from data sheets .*not measured$", text, re.M
    )
    assert "3 nodes that wait for one another" in text
    assert "of the GPU's peak, bound by" in text
    assert re.search(
        r"^500 epochs take .*, after [\d.]+ s before the first step, beside validation\.$", text, re.M
    )


def test_what_is_asked_of_the_gpu():
    found = document(
        "784-1024-10", "--machine", "h200", "--device", "cuda", "--precision", "tf32", "--all-kernels"
    )
    plans = [(row["plan"], row.get("precision")) for row in found["candidates"]]
    assert {("cuda", name) for name in ("float32", "tf32", "bfloat16")} < set(plans)
    assert {("cuda-naive", "float32"), ("naive:1x1", None)} < set(plans)
    assert found["workload"]["dtype"] == "float32"
    assert "named, where native:" in found["reason"]
    chosen = next(row for row in found["candidates"] if row.get("precision") == "tf32")
    assert found["reason"].startswith("cuda, tf32, 3 nodes that wait for one another: ")
    assert chosen["memory_bytes"] > 4 * 814_090
    naive = document("9-9-9", "--machine", "a100", "--plan", "cuda-naive")
    assert (naive["choice"], naive["device"]) == ("cuda-naive", "cuda")
    double = document("9-9-9", "--machine", "a100", "--precision", "float64", "--all-kernels")
    assert {row["plan"] for row in double["candidates"]} >= {"cuda", "cuda-naive"}
    cpu = document("784-1024-10", "--machine", "h200", "--device", "cpu", "--epochs", 1000)
    assert (cpu["device"], cpu["gpu"]) == ("cpu", None)
    assert all(row["plan"].startswith("native") for row in cpu["candidates"])


def test_a_machine_without_a_gpu():
    assert document("9-9-9", "--machine", "ryzen-5800x-8")["gpu"] is None
    refused = " ".join(run("9-9-9", "--machine", "ryzen-5800x-8", "--device", "cuda", code=2).stderr.split())
    assert refused.endswith("Invalid value for '--device': ryzen-5800x-8 has no GPU, got cuda.")


def test_this_machine_says_in_one_line_why_no_gpu_counts(monkeypatch):
    monkeypatch.setattr(gpu, "present", lambda number=0: "no NVIDIA driver: gone")
    text = run("9-9-9", "--threads", 1).stdout
    assert re.findall(r"^gpu +(.*)$", text, re.M) == ["none counted: no NVIDIA driver: gone"]
    assert "\ngpu" not in run("9-9-9", "--threads", 1, "--device", "cpu").stdout
    failed = run("9-9-9", "--threads", 1, "--device", "cuda", code=1)
    assert failed.stderr.strip() == "schuss: error: no NVIDIA driver: gone"


@pytest.mark.parametrize("found", [H200, "no NVIDIA driver: gone"])
def test_a_saved_profile_has_the_gpu(monkeypatch, tmp_path, found):
    monkeypatch.setattr(gpu, "present", lambda number=0: found)
    monkeypatch.setattr(probe, "current", lambda threads, fresh: load_machine("ryzen-5800x-8"))
    saved = tmp_path / "machine.json"
    result = CliRunner().invoke(app, ["info", "--save-profile", str(saved)])
    assert result.exit_code == 0, result.output
    assert load_machine(str(saved)).gpu == (found if isinstance(found, GpuProfile) else None)
    planned = document("9-9-9", "--machine", saved)["gpu"]
    assert (planned is None) == isinstance(found, str)


def test_ranks_are_planned_for_cpus():
    for option in (("--device", "cuda"), ("--precision", "tf32")):
        few = ["--machine", "h200", "--ranks", 4, "--network", "hdr", *option]
        assert "--ranks are planned for CPUs" in " ".join(run("9-9-9", *few, code=2).stderr.split())
    text = run(
        "784-1024-10", "--machine", "h200", "--ranks", 4, "--network", "hdr", "--batch-size", 1024
    ).stdout
    assert "\ngpu" not in text


def test_planning_for_a_named_machine_touches_no_driver():
    code = """
        import ctypes, sys
        from click.testing import CliRunner
        from schuss.cli import app

        def refuse(name, *rest, **more):
            raise AssertionError(f"{name} is loaded")

        ctypes.CDLL = refuse
        found = CliRunner().invoke(app, ["plan", "784-1024-10", "--machine", "h200", "--all-kernels", "--epochs", "99"])
        assert found.exit_code == 0, found.output
        assert "\\ncuda" in found.output, found.output
        assert not [name for name in sys.modules if name == "cuda" or name.startswith("cuda.")]
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(code)], check=True, timeout=60)
