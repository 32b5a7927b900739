"""Results of a study: to JSON and back, refused where they are not whole, and as a table."""

import csv
import io
import json
from dataclasses import replace

import pytest

from schuss.study.results import (
    SCHEMA,
    Absent,
    Accuracy,
    Check,
    Implementation,
    LossCurve,
    NetworkFacts,
    ResultsError,
    Run,
    Study,
)

CHECK = Check(0.5, 0.5, 0.0, 1e-5)


def run(name, times, **changed):
    middle = sorted(times)[len(times) // 2]
    found = Run(
        "net", 128, name, 2, None, 640, 0.5, tuple(times), middle, min(times), max(times), 10.0, 40.0, CHECK
    )
    return replace(found, **changed)


@pytest.fixture
def study():
    implementations = {
        "serial": Implementation("Serial", "naive", "naive:1x1", "-", "loops", None, 1, {"schuss": "1"}),
        "hybrid": Implementation("Hybrid", "native", "native", "both", "own", "serial", 2, {"schuss": "1"}),
    }
    return Study(
        preset="quick",
        created="2026-01-01T00:00:00+00:00",
        command=("schuss", "bench"),
        machine={"cpu": "a cpu", "cores": {"used": 2}},
        environment={},
        settings={"rounds": 3, "examples": 1280},
        networks={"net": NetworkFacts((3, 4, 2), 26, 64)},
        implementations=implementations,
        absent=(Absent("torch", "not installed"), Absent("jax", "broken", "net", 128)),
        runs=(
            run("serial", [4.0, 4.1, 3.9], threads=1),
            run("hybrid", [1.0, 2.0, 1.5], plan="native:2x1"),
        ),
        scaling=(run("hybrid", [1.5], threads=2),),
        loss_curves=(LossCurve("net", 128, "hybrid", (0.0, 0.5), (2.0, 1.0)),),
        accuracy=(Accuracy("net", 16, "hybrid", 0.5, 20, 3.5, 0.95, None),),
    )


def test_results_survive_their_file(study, tmp_path):
    study.save(tmp_path)
    assert Study.load(tmp_path) == study
    assert Study.load(tmp_path / "results.json") == study
    assert json.loads((tmp_path / "results.json").read_text())["schema"] == SCHEMA
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.csv", "results.json"]


def test_whole_numbers_may_stand_for_seconds(study):
    document = json.loads(json.dumps(study.as_dict()))
    document["runs"][0]["seconds"] = 4
    assert isinstance(Study.from_dict(document).runs[0].seconds, float)


def test_what_may_be_missing(study):
    document = json.loads(json.dumps(study.as_dict()))
    del document["absent"][0]["network"], document["absent"][0]["batch"]
    assert Study.from_dict(document) == study


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("schema"), "no results of a study: there is no entry 'schema'"),
        (
            lambda d: d.update(schema="schuss-study/9"),
            "schema must be 'schuss-study/1', got 'schuss-study/9'",
        ),
        (lambda d: d.pop("runs"), "runs is missing"),
        (lambda d: d["runs"][1].pop("batch"), r"runs\[1\]\.batch is missing"),
        (lambda d: d["runs"][0].update(rows="many"), r"runs\[0\]\.rows must be of type int, got 'many'"),
        (lambda d: d["runs"][0].update(rows=True), r"runs\[0\]\.rows must be of type int, got True"),
        (lambda d: d["runs"][0].update(seconds=0.0), "time or a rate that is not positive"),
        (lambda d: d["runs"][0].update(peak_gflops=float("nan")), "time or a rate that is not positive"),
        (lambda d: d["runs"][0].update(network="other"), "'other', which networks does not have"),
        (
            lambda d: d["scaling"][0].update(implementation="x"),
            "'x', which implementations does not have",
        ),
        (lambda d: d["implementations"]["serial"].update(family="x"), "family must be one of naive"),
        (lambda d: d["loss_curves"][0]["loss"].pop(), "2 seconds, 1 losses"),
        (lambda d: d.update(runs={}), "runs must be a list, got dict"),
        (lambda d: d.update(networks=[]), "networks must be an object, got list"),
        (lambda d: d["networks"].update(net=1), "networks.net must be an object, got int"),
    ],
)
def test_results_that_are_not_whole_are_refused(study, change, message):
    document = json.loads(json.dumps(study.as_dict()))
    change(document)
    with pytest.raises(ResultsError, match=message):
        Study.from_dict(document)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ResultsError, match="not the folder of a finished study"):
        Study.load(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ResultsError, match=r"results\.json: "):
        Study.load(tmp_path)


def test_table(study):
    rows = list(csv.DictReader(io.StringIO(study.csv())))
    assert [(row["kind"], row["implementation"]) for row in rows] == [
        ("run", "serial"),
        ("run", "hybrid"),
        ("scaling", "hybrid"),
    ]
    hybrid = rows[1]
    assert (float(hybrid["seconds"]), float(hybrid["low"]), float(hybrid["high"])) == (1.5, 1.0, 2.0)
    assert float(hybrid["speedup"]) == pytest.approx(4 / 1.5, rel=1e-5)
    assert float(hybrid["share_of_peak"]) == 0.25
    assert rows[0]["speedup"] == ""
    assert (hybrid["plan"], hybrid["rounds"], hybrid["threads"]) == ("native:2x1", "3", "2")


def test_runs_are_found(study):
    assert study.run("net", 128, "hybrid").plan == "native:2x1"
    assert study.run("net", 256, "hybrid") is None
    assert study.batches == [128]
