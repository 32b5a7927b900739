"""`schuss evaluate` and `schuss predict` with classifiers whose network has no classes: several labels, or one."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from schuss.cli import app
from schuss.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = (X > 0).astype(int)
WEIGHTS = np.arange(60) % 4


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(params=["log_loss", "squared_error", "hinge"])
def model(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted = MLPClassifier((8,), loss=request.param, max_iter=40, learning_rate_init=0.01, random_state=0)
    fitted.fit(X, Y).save("m")
    np.savez("d.npz", X=X, y=Y)
    rows = np.hstack([X, Y, WEIGHTS[:, None]]).tolist()
    lines = ["a,b,c,p,q,r,w", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    return fitted


def outputs(model):
    return model.decision_function(X) if model.loss == "hinge" else model.predict_proba(X)


def test_predicts_labels(model):
    expected = model.predict(X)
    assert 0 < expected.mean() < 1
    for table in (["d.npz"], ["d.csv", "--target", "p,q,r,w"]):
        printed = run("predict", "m", *table)
        assert (printed.exit_code, printed.stderr) == (0, "")
        assert printed.stdout.splitlines() == [",".join(map(str, row)) for row in expected]
        assert document("predict", "m", *table) == {"predictions": expected.tolist()}


def test_proba(model):
    header, *rows = run("predict", "m", "d.npz", "--proba").stdout.splitlines()
    assert header == "0,1,2"
    printed = np.array([row.split(",") for row in rows], np.float32)
    assert np.array_equal(printed, outputs(model).astype(np.float32))
    assert document("predict", "m", "d.npz", "--proba")["classes"] == [0, 1, 2]


def test_accuracy_is_that_of_all_labels_together(model):
    right = (model.predict(X) == Y).all(axis=1)
    assert 0 < right.mean() < 1
    for table in (["d.npz"], ["d.csv", "--target", "p,q,r", "--weights", "w"]):
        weights = WEIGHTS if "--weights" in table else None
        found = document("evaluate", "m", *table)
        assert found["accuracy"] == pytest.approx(model.score(X, Y, weights))
        losses = [model.network_.loss(X[[row]], Y[[row]].astype(np.float32)) for row in range(60)]
        assert found["loss"] == pytest.approx(np.average(losses, weights=weights), rel=1e-5)
    lines = run("evaluate", "m", "d.npz").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["examples", "loss", "accuracy", "seconds"]


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (Y[:, :2], "d.npz: targets must have shape (60, 3), got (60, 2)"),
        (Y[:, 0], "d.npz: targets must have shape (60, 3), got (60,)"),
        (Y * 2, "d.npz: targets must hold 0 and 1, got 2.0"),
    ],
)
@pytest.mark.parametrize("model", ["log_loss"], indirect=True)
@pytest.mark.usefixtures("model")
def test_targets_that_are_no_such_labels(y, told):
    np.savez("d.npz", X=X, y=y)
    result = run("evaluate", "m", "d.npz")
    assert (result.exit_code, result.stderr) == (1, f"schuss: error: {told}\n")


def test_a_single_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MLPClassifier((3,), max_iter=2, random_state=0).fit(X, ["ham"] * 60).save("m")
    np.savez("d.npz", X=X, y=np.full(60, "ham"))
    assert run("predict", "m", "d.npz").stdout == "ham\n" * 60
    assert run("predict", "m", "d.npz", "--proba").stdout == "ham\n" + "1.0\n" * 60
    assert document("evaluate", "m", "d.npz")["accuracy"] == 1
    np.savez("d.npz", X=X, y=np.full(60, "jam"))
    assert "labels known from training ('ham'), got 'jam'" in run("evaluate", "m", "d.npz").stderr
