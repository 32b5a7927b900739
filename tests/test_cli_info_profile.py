"""`schuss info`: the machine and its profile, as tables, JSON, a file and a picture."""

import json
import sys

import pytest
from click.testing import CliRunner

from schuss import machine
from schuss.cli import app
from schuss.planner import last, probe
from schuss.planner.files import load_machine
from schuss.planner.profile import Blas, Profile


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["info", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def profile(monkeypatch, tmp_path):
    """A profile in the place of measuring, and no training before."""
    facts = load_machine("ryzen-5800x-8").as_dict()
    blas = [Blas(1, 64, 32, 1, 5e9), Blas(128, 64, 32, 1, 50e9), Blas(128, 64, 32, 8, 300e9)]
    facts |= {"blas": [vars(one) for one in blas], "measured": "2026-01-02T03:04:05+00:00", "source": ""}
    found = Profile.from_dict(facts)
    other = load_machine("epyc-7763-2x64")
    monkeypatch.setattr(probe, "current", lambda _threads=None, fresh=False: other if fresh else found)
    monkeypatch.setattr(last, "cache_dir", lambda: tmp_path / "cache")
    return found


def test_the_machine_and_its_profile_as_tables():
    text = run().stdout
    summary, *tables = text.split("\n\n")
    assert f"cores used             {machine.summary()['cores']['used']}" in summary
    assert "AMD Ryzen 7 5800X: 8 cores, avx2; measured 2026-01-02" in summary
    by_heading = {table.split("\n")[0]: table.splitlines()[1:] for table in tables}
    assert list(by_heading) == [
        "Peak in registers, GFLOP/s",
        "Kernels: GFLOP/s of one thread, of register tiles of rows x vectors",
        "Caches and memory, GB/s of all threads (update: read and written back, both counted)",
        "Rows of X",
        "Barriers",
        "BLAS, float32, GFLOP/s",
    ]
    peak, tiles, levels, _, barriers, blas = by_heading.values()
    assert [row.split() for row in peak] == [
        ["threads", "float32", "float64"],
        ["1", "121.6", "60.8"],
        ["8", "972.8", "486.4"],
    ]
    assert len(tiles) == 1 + 6
    assert [row.split()[0] for row in levels[1:]] == ["L1", "L2", "L3", "memory"]
    assert levels[1].split() == ["L1", "32", "KB", "1", "243.2", "1,945.6", "243.2", "1,945.6"]
    assert barriers[1].split() == ["8", "160", "ns"]
    assert blas[1].split() == ["gemv", "1", "64", "32", "5.0", "-"]
    assert blas[2].split() == ["gemm", "128", "64", "32", "50.0", "300.0"]


def test_facts_of_every_kind(monkeypatch):
    facts = {
        "cores": 2048,
        "caches": {"L1d": "48 KiB", "L2": None},
        "isa": ["portable", "avx2"],
        "fast": True,
    }
    monkeypatch.setattr(machine, "summary", lambda: facts)
    assert run().stdout.splitlines()[:5] == [
        "cores       2,048",
        "caches L1d  48 KiB",
        "caches L2   -",
        "isa         portable, avx2",
        "fast        yes",
    ]
    assert json.loads(run("--json").stdout).items() > facts.items()


def test_tile_rates_are_those_of_deep_products(profile):
    _, per_depth = profile.tiles[6, 2]
    row = next(line for line in run().stdout.splitlines() if line.startswith("   6 "))
    assert row.split()[2] == f"{2 * 6 * 2 * 8 / per_depth / 1e9:.1f}"


def test_json_has_the_whole_profile(profile):
    found = json.loads(run("--json").stdout)
    assert found["cpu"] == machine.summary()["cpu"]
    assert Profile.from_dict(found["profile"]) == profile


def test_a_profile_for_planning_elsewhere(tmp_path, profile):
    file = tmp_path / "machine.json"
    assert run("--save-profile", file).stdout.endswith(f"profile in  {file}\n")
    assert Profile.load(file) == profile
    planned = CliRunner().invoke(app, ["plan", "30-20-10", "--machine", str(file), "--json"])
    assert json.loads(planned.stdout)["machine"]["measured"] == profile.measured


def test_measure_takes_new_figures():
    assert "2 x AMD EPYC 7763: 128 cores" in run("--measure").stdout


def test_the_roofline(tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "roof.png"
    assert run("--plot", file).stdout.endswith(f"plot  {file}\n")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("--plot", tmp_path / "roof.png", code=1)
    assert result.stderr == "schuss: error: --plot needs matplotlib: pip install 'schuss[plot]'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "3-2", "--measure"], "--measure cannot be had with --memory."),
        (["--memory", "3-2", "--save-profile", "x.json"], "--save-profile cannot be had with --memory."),
        (["--plot", "nowhere/a.png"], "there is no folder 'nowhere'"),
        (["--save-profile", "nowhere/a.json"], "there is no folder 'nowhere'"),
    ],
)
def test_what_is_refused(arguments, message):
    assert message in " ".join(run(*arguments, code=2).stderr.split())


def test_measured_here(monkeypatch):
    """A profile measured in full on this machine, whatever it is."""
    monkeypatch.undo()
    found = probe.measure(1)
    assert Profile.from_dict(json.loads(json.dumps(found.as_dict()))) == found
