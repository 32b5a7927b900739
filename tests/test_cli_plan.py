"""`schuss plan`: what it plans for, what it prints, and what it refuses."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from schuss.cli import app
from schuss.cli.plan import MACHINES, NETWORKS
from schuss.optimizers import Optimizer
from schuss.plan import Plan
from schuss.planner.account import Workload
from schuss.planner.choice import candidates
from schuss.planner.cost import predict
from schuss.planner.files import given, load_machine
from schuss.trainer import training_memory

DESKTOP = ("--machine", "ryzen-5800x-8")


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["plan", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def document(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def refused(*arguments, code=2):
    """The last line of what went wrong, without the frame that a wide message is wrapped in."""
    return " ".join(run(*arguments, code=code).stderr.split())


@pytest.fixture
def table(tmp_path):
    """120 examples of 3 features and 2 classes."""
    random = np.random.default_rng(0)
    rows = [
        f"{a:.3f},{b:.3f},{c:.3f},{'y' if a + b > 0 else 'n'}" for a, b, c in random.normal(size=(120, 3))
    ]
    file = tmp_path / "table.csv"
    file.write_text("\n".join(["a,b,c,label", *rows]) + "\n")
    return file


# --- what is planned --------------------------------------------------------------------------------


def test_layer_sizes_alone():
    found = document("784-100-10", *DESKTOP)
    work = found["workload"]
    assert work["layer_sizes"] == [784, 100, 10]
    assert (work["batch_size"], work["rows"], work["formula"]) == (128, 50_000, "momentum")
    assert (work["activation"], work["loss"], work["dtype"]) == ("relu", "log_loss", "float32")
    assert found["data"] is None
    assert (found["machine"]["cores"], found["machine"]["measured"]) == (8, "")
    assert found["threads"] == 8


def test_the_options_of_train_count():
    options = ["--batch-size", 32, "--rows", 1000, "--solver", "adam", "--activation", "tanh,relu"]
    options += ["--loss", "squared_error", "--precision", "float64", "--epochs", 3, "--seed", 4]
    work = document("20-30-40-2", *DESKTOP, *options)["workload"]
    assert (work["batch_size"], work["rows"], work["formula"]) == (32, 1000, "adam")
    assert (work["activation"], work["loss"], work["dtype"]) == ("tanh", "squared_error", "float64")


@pytest.mark.parametrize(
    ("sizes", "options", "loss"),
    [
        ("4-1", (), "squared_error"),
        ("4-3", (), "log_loss"),
        ("4-3", ("--task", "numbers"), "squared_error"),
        ("4-5-6", ("--loss", "quantile", "--quantiles", "0.1,0.5,0.9"), "quantile"),
        ("4-5-3", ("--loss", "hinge"), "hinge"),
        ("4-5-3", ("--loss", "gamma"), "gamma"),
    ],
)
def test_what_outputs_are_for(sizes, options, loss):
    assert document(sizes, *DESKTOP, *options)["workload"]["loss"] == loss


def test_data(table):
    found = document(table, *DESKTOP, "--hidden", "16,8")
    assert found["data"] == "table.csv"
    assert found["workload"]["layer_sizes"] == [3, 16, 8, 2]
    assert found["workload"]["rows"] == 96
    assert found["workload"]["batch_size"] == 96
    folds = document(table, *DESKTOP, "--hidden", "16,8", "--cv", 4)
    assert folds["workload"]["rows"] == 90


def test_a_file_called_like_layer_sizes_is_a_file(table, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "3-4").mkdir()
    for part, values in (("X", np.zeros((20, 3))), ("y", np.arange(20) % 2)):
        np.save(tmp_path / "3-4" / f"{part}.npy", values)
    assert document("3-4", *DESKTOP, "--hidden", "5")["workload"]["layer_sizes"] == [3, 5, 2]


# --- what comes out ---------------------------------------------------------------------------------


def test_the_candidates_are_the_planners_own():
    found = document("784-100-10", *DESKTOP, "--top", 3)
    profile = load_machine("ryzen-5800x-8")
    work = Workload((784, 100, 10), batch_size=128, rows=50_000, formula="momentum")
    best = candidates(work, profile, 8)
    assert [row["plan"] for row in found["candidates"]] == [str(one.plan) for one in best[:3]]
    first = found["candidates"][0]
    assert (first["step_seconds"], first["epoch_seconds"]) == (best[0].seconds, best[0].epoch_seconds)
    assert (first["bound"], first["parts"]) == (best[0].bound, dict(best[0].parts))
    memory = training_memory(
        (784, 100, 10), best[0].plan, Optimizer(momentum=0.9), 128, isa=isa_here(profile)
    )
    assert first["memory_bytes"] == memory
    assert found["choice"] == str(best[0].plan)


def isa_here(profile):
    from schuss import _core

    return profile.isa if profile.isa in [name for name, *_, there in _core.isas() if there] else None


def test_the_table_and_the_choice_in_one_sentence():
    text = run("784-1024-10", *DESKTOP, "--top", 2).stdout
    head, table, sentence = text.strip().split("\n\n")
    assert "network  784-1024-10, 814,090 parameters, float32" in head
    assert "from data sheets, not measured" in head
    assert re.match(r"plan +step +epoch +GFLOP/s +of peak +bound by +memory\n", table)
    assert len(table.splitlines()) == 3
    plan = table.splitlines()[1].split()[0]
    chosen, whole = sentence.split("\n")
    assert chosen.startswith(f"{plan}, ")
    assert re.fullmatch(r"10 epochs take [\d.]+ m?s, beside validation\.", whole)


def test_a_named_plan_is_the_choice_and_is_compared():
    found = document("784-100-10", *DESKTOP, "--plan", "native:1x3", "--top", 1)
    assert found["choice"] == "native:1x3"
    assert {row["plan"] for row in found["candidates"]} > {"native:1x3"}
    assert "named, where native:" in found["reason"]


def test_all_kernels_are_predicted_and_never_chosen():
    found = document("784-100-10", *DESKTOP, "--all-kernels", "--top", 1)
    plans = [row["plan"] for row in found["candidates"]]
    for kernels in ("naive", "gemv", "gemm"):
        assert {f"{kernels}:1x1", f"{kernels}:8x1", f"{kernels}:1x8"} <= set(plans)
    assert found["choice"].startswith("native:")
    work = Workload((784, 100, 10), formula="momentum")
    naive = predict(work, Plan("naive", 8, 1), load_machine("ryzen-5800x-8"))
    assert found["candidates"][plans.index("naive:8x1")]["step_seconds"] == naive.seconds


def test_threads_and_cores():
    assert document("9-9-9", *DESKTOP, "--threads", 3)["threads"] == 3
    fewer = document("784-1024-10", *DESKTOP, "--cores", 4)
    assert (fewer["machine"]["cores"], fewer["threads"]) == (4, 4)
    more = document("784-1024-1024-10", "--machine", "epyc-7763-2x64", "--batch-size", 4096)
    assert more["threads"] == 128
    assert Plan.parse(more["choice"]).threads > 8


def test_threads_that_would_not_pay_are_left_alone():
    found = document("10-10-2", "--machine", "epyc-7763-2x64", "--batch-size", 8)
    used = Plan.parse(found["choice"]).threads
    assert used < 128
    assert f"more than {used} of the 128 threads would not pay" in found["reason"]


def test_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("9-9-9", *DESKTOP, "--out", "model.safetensors", "--quiet")
    assert not list(tmp_path.iterdir())


# --- ranks ------------------------------------------------------------------------------------------


def test_scaling_over_ranks():
    found = document("784-1024-10", *DESKTOP, "--ranks", 1024, "--network", "hdr", "--batch-size", 4096)
    rows = found["ranks"]["scaling"]
    assert [row["ranks"] for row in rows] == [2**k for k in range(11)]
    assert rows[0]["efficiency"] == 1
    assert rows[0]["step_seconds"] == found["candidates"][0]["step_seconds"]
    assert [row["rows"] for row in rows] == [4096 // 2**k for k in range(11)]
    assert 1 <= found["ranks"]["paying_ranks"] <= found["ranks"]["fastest_ranks"] <= 1024
    assert set(found["ranks"]["pays_from_batch"]) == {str(2**k) for k in range(1, 11)}
    faster = document("784-1024-10", *DESKTOP, "--ranks", 16, "--network", "ndr", "--batch-size", 4096)
    assert faster["ranks"]["scaling"][4]["step_seconds"] < rows[4]["step_seconds"]


def test_scaling_in_words():
    text = run("784-1024-10", *DESKTOP, "--ranks", 256, "--network", "10gbe", "--batch-size", 100).stdout
    assert "10 Gigabit Ethernet, TCP: 10 us and 1.18 GB/s; from data sheets, not measured" in text
    assert re.search(r"^ranks +rows each +plan .* +efficiency +bound by +pays from batch$", text, re.M)
    assert "More than 100 ranks would have no example each." in text
    assert re.search(r"^Minibatches of 100 pay up to \d+ machine", text, re.M)
    assert re.search(r"^The fastest is \d+ machine", text, re.M)


# --- pictures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--ranks", 64, "--network", "hdr")])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture(tmp_path, more, ending):
    pytest.importorskip("matplotlib")
    file = tmp_path / f"scaling.{ending}"
    result = run("784-1024-10", *DESKTOP, "--plot", file, *more)
    start = file.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if ending == "png" else b"<?xml" in start
    assert result.stdout.endswith(f"plot  {file}\n")


def test_a_picture_of_no_known_kind(tmp_path):
    pytest.importorskip("matplotlib")
    message = refused("9-9-9", *DESKTOP, "--plot", tmp_path / "scaling.doc", code=1)
    assert re.search(r"--plot must end in \.png, \.svg or \.pdf, got '.*scaling\.doc'$", message)


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    message = refused("9-9-9", *DESKTOP, "--plot", tmp_path / "scaling.png", code=1)
    assert message == "schuss: error: --plot needs matplotlib: pip install 'schuss[plot]'"


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["9-0-9"], "9-0-9: a layer needs at least 1 unit."),
        (["9-9", "--net", "net-1h"], "--net cannot be had with layer sizes, got 9-9."),
        (["9-9", "--hidden", "3"], "--hidden cannot be had with layer sizes, got 9-9."),
        (["9-9", "--data-dir", "."], "--data-dir cannot be had with layer sizes, got 9-9."),
        (["9-9", "--activation", "tanh"], "--activation and --dropout need a hidden layer, got 9-9."),
        (
            ["9-9-9", "--activation", "tanh,relu"],
            "one for all or one for each of the 1 hidden layers, got 2.",
        ),
        (["9-9", "--loss", "quantile", "--quantiles", "0.1,0.9"], "2 levels a target are wanted"),
        (["digits", "--rows", 5], "--rows goes with layer sizes; of data, the training part counts."),
        (["9-9", "--rows", 5, "--batch-size", 6], "--rows has 5 examples to train on, got 6."),
        (["9-9", "--ranks", 2], "--ranks and --network go together"),
        (["9-9", "--network", "hdr"], "--ranks and --network go together"),
        (["9-9", "--ranks", 1025, "--network", "hdr"], "1025 is not in the range 1<=x<=1024"),
        (
            ["9-9", "--ranks", 2, "--network", "hdr", "--plan", "native:1x1"],
            "--plan cannot be had with --ranks",
        ),
        (["9-9", "--ranks", 2, "--network", "string"], "network must be a file or one of 100gbe"),
        (["9-9", "--threads", 9], "must be at most the 8 cores, got 9."),
        (["9-9", "--plan", "native:9x1"], "plan native:9x1 needs 9 threads, 8 allowed"),
        (["9-9", "--plot", "nowhere/a.png"], "there is no folder 'nowhere'"),
    ],
)
def test_what_is_refused(arguments, message):
    assert message in refused(*arguments, *DESKTOP)


def test_a_profile_of_another_instruction_set():
    message = "the profile is of avx2, got portable; SCHUSS_ISA sets what is measured here."
    assert message in refused("9-9", *DESKTOP, "--isa", "portable")


def test_machines_that_are_none(tmp_path):
    assert "machine must be a file or one of a100, ec2-c6i-16, " in refused("9-9", "--machine", "abacus")
    file = tmp_path / "machine.json"
    file.write_text("{}")
    assert "Invalid value for '--machine'" in refused("9-9", "--machine", file)


# --- the machines that are given --------------------------------------------------------------------


def test_the_help_names_what_is_given():
    assert list(MACHINES) == given("machine")
    assert list(NETWORKS) == given("network")


@pytest.mark.parametrize("name", MACHINES)
def test_given_machines_are_profiles_from_data_sheets(name):
    profile = load_machine(name)
    assert (profile.measured, bool(profile.source)) == ("", True)
    assert profile.cores >= 8
    work = Workload((784, 1024, 1024, 10), batch_size=1024, rows=50_000)
    best = candidates(work, profile, profile.cores)[0]
    assert 0 < best.share_of_peak <= 1
    assert best.seconds < predict(work, Plan("native", 1, 1), profile).seconds
