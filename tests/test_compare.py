"""Two studies side by side: what counts as moved, and how it is told."""

import dataclasses
import json

import pytest
from study_results import a_run, a_study

from schuss.study.compare import compare
from schuss.study.results import ResultsError


@pytest.fixture
def before():
    return a_study(batches=(128, 4096), scaling=())


def changed(study, name, factor):
    """The study with one implementation's seconds times `factor`."""
    runs = tuple(
        dataclasses.replace(r, seconds=factor * r.seconds, low=factor * r.low, high=factor * r.high)
        if r.implementation == name
        else r
        for r in study.runs
    )
    return dataclasses.replace(study, runs=runs)


def test_the_same_study_has_not_moved(before):
    found = compare(before, before)
    assert len(found.rows) == len(before.runs)
    assert not found.moved
    assert not found.differences
    assert not found.other_machine
    assert f"None of {len(before.runs)} measurements moved beyond noise." in str(found)


@pytest.mark.parametrize(
    ("factor", "word", "change"), [(1.2, "slower", "+20.0 %"), (0.8, "faster", "-20.0 %")]
)
def test_what_moved_is_named(before, factor, word, change):
    found = compare(before, changed(before, "jax", factor))
    assert {(row.implementation, row.moved) for row in found.moved} == {("jax", word)}
    assert len(found.moved) == 4
    assert f"{word.capitalize()}:" in str(found)
    assert "jax, Net-2h at 128, 2 threads" in str(found)
    assert change in str(found)


@pytest.mark.parametrize(
    ("spread", "other", "moved"),
    [
        (0.001, 0.98, None),  # apart, but by less than 3 %
        (0.001, 0.96, "slower"),
        (0.05, 0.95, None),  # by more, but the rounds overlap
        (0.01, 1.05, "faster"),
    ],
)
def test_beyond_noise_is_both_rules(before, spread, other, moved):
    def one(rate):
        return dataclasses.replace(before, runs=(a_run("Net-1h", 128, "jax", rate, spread=spread),))

    (row,) = compare(one(300), one(300 * other)).rows
    assert row.moved == moved
    assert row.ratio == pytest.approx(1 / other)


def test_rows_match_by_all_that_identifies_them(before):
    run = before.runs[0]
    other = dataclasses.replace(run, threads=7)
    found = compare(dataclasses.replace(before, runs=(run,)), dataclasses.replace(before, runs=(other,)))
    assert not found.rows
    assert found.only_a == (run.key,)
    assert found.only_b == (other.key,)
    assert "no measurement in common" in str(found)
    assert "Only in A: 1 measurement (serial on Net-1h)" in str(found)


def test_scaling_takes_part_and_runs_come_first():
    study = a_study(batches=(128,))
    rows = compare(study, study).rows
    assert [row.threads for row in rows[: len(study.runs)]] == [run.threads for run in study.runs]
    assert {(r.implementation, r.threads) for r in rows} >= {("jax", 1), ("jax", 2)}


def test_another_machine_is_said_first(before):
    machine = before.machine | {"cpu": "Other", "versions": {"python": "3.13.0"}}
    found = compare(before, dataclasses.replace(before, machine=machine, environment={}))
    assert found.other_machine
    lines = str(found).splitlines()
    assert lines[2].startswith("The machines differ")
    assert any(line.split() == ["machine.cpu", "AMD", "EPYC", "|", "Other"] for line in lines)
    assert found.differences[0].name == "machine.cpu"
    assert ("environment.OMP_NUM_THREADS", "2", None) in [dataclasses.astuple(d) for d in found.differences]


def test_another_library_is_no_other_machine(before):
    facts = dataclasses.replace(before.implementations["jax"], versions={"jax": "0.11"})
    found = compare(
        before, dataclasses.replace(before, implementations=before.implementations | {"jax": facts})
    )
    assert not found.other_machine
    assert ("libraries.jax.jax", None, "0.11") in [dataclasses.astuple(d) for d in found.differences]


def test_from_folders_to_json_and_to_a_page(before, tmp_path):
    for name, study in (("a", before), ("b", changed(before, "jax", 1.2))):
        (tmp_path / name).mkdir()
        study.save(tmp_path / name)
    found = compare(tmp_path / "a", tmp_path / "b" / "results.json")
    document = json.loads(json.dumps(found.as_dict()))
    assert sum(row["moved"] == "slower" for row in document["rows"]) == 4
    assert document["summary"] in str(found)
    page = found.write(tmp_path / "compare.html").read_text(encoding="utf-8")
    assert '<td class="slower">slower</td>' in page
    assert page.index("slower</td>") < page.index("within noise</td>")
    with pytest.raises(ResultsError, match="no such file"):
        compare(tmp_path / "a", tmp_path / "c")
