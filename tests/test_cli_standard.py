"""`--standardize`: what is folded back into the network, and what is said about the scale of features."""

import numpy as np
import pytest
from click.testing import CliRunner

import schuss
from schuss.cli import app
from schuss.cli._examples import Part
from schuss.cli._standard import Standard
from schuss.data import Dataset
from schuss.losses import Loss

ROWS = 60


def table(outputs=1, classes=None):
    rng = np.random.default_rng(0)
    X = rng.normal([2000, -3, 0.01, 7], [5, 100, 1e-3, 0], (ROWS, 4))
    y = rng.normal(1e4, 300, (ROWS, outputs))
    if classes is not None:
        return Dataset(X, rng.integers(0, len(classes), ROWS).astype(np.int32), np.array(classes))
    return Dataset(X, y[:, 0] if outputs == 1 else y)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize(
    ("loss", "outputs"), [("squared_error", 1), ("huber", 3), (Loss("quantile", quantiles=(0.2, 0.8)), 4)]
)
def test_folded_network_gives_the_numbers_as_they_are(hidden, loss, outputs):
    copies = schuss.losses.as_loss(loss).outputs_per_target
    data = table(outputs // copies)
    network = schuss.Network((4, *hidden, outputs), loss=loss, dtype="float64", seed=1)
    standard = Standard.of(data, network)
    learnt = standard.apply(Part(data)).data
    assert np.allclose(learnt.X[:, :3].std(0), 1)
    assert np.allclose(learnt.X.mean(0), 0, atol=1e-9)
    assert np.allclose(learnt.y.std(0), 1)
    inside = network.forward(learnt.X)
    standard.fold(network)
    targets = data.y.reshape(ROWS, -1)
    wanted = inside * np.repeat(targets.std(0), copies) + np.repeat(targets.mean(0), copies)
    np.testing.assert_allclose(network.forward(data.X), wanted, rtol=1e-9)


def test_classes_and_rates_stay_as_they_are():
    for loss, data in (("log_loss", table(classes=["a", "b", "c"])), ("poisson", table())):
        outputs = 3 if loss == "log_loss" else 1
        network = schuss.Network((4, 5, outputs), loss=loss, dtype="float64", seed=1)
        standard = Standard.of(data, network)
        learnt = standard.apply(Part(data)).data
        np.testing.assert_array_equal(learnt.y, data.y)
        inside = network.forward(learnt.X)
        standard.fold(network)
        np.testing.assert_allclose(network.forward(data.X), inside, rtol=1e-9)


@pytest.fixture
def csv(tmp_path):
    rng = np.random.default_rng(3)
    X = rng.normal([500, 0], [100, 0.01], (200, 2))
    y = 1000 + 3 * (X[:, 0] - 500) + 2e4 * X[:, 1]
    path = tmp_path / "far.csv"
    path.write_text("a,b,y\n" + "\n".join(f"{a},{b},{c}" for (a, b), c in zip(X, y, strict=True)))
    return path


def trained(csv, *options):
    out = csv.with_suffix(".safetensors")
    arguments = ["train", str(csv), "--hidden", "16", "--solver", "adam", "--learning-rate", "0.02"]
    done = CliRunner().invoke(app, [*arguments, "--epochs", "60", "--out", str(out), *options])
    return done, out


def test_a_table_far_from_zero_is_learnt(csv):
    done, out = trained(csv, "--standardize")
    assert done.exit_code == 0, done.output
    assert "scale    features and targets in standard deviations while it learns" in done.stderr
    data = schuss.data.load_table(str(csv))
    explained = 1 - np.mean((schuss.load(out).predict(data.X)[:, 0] - data.y) ** 2) / data.y.var()
    assert explained > 0.9


def test_large_features_are_pointed_out(csv):
    done, _ = trained(csv)
    assert "note     features differ by up to" in done.stderr
    assert "--standardize may help" in done.stderr


def test_refused_for_data_with_a_scale_of_their_own():
    done = CliRunner().invoke(app, ["train", "digits28", "--standardize"])
    assert done.exit_code == 2
    assert "digits28 comes with a scale of its own: leave it out." in done.output
