"""Names of features in model files, and weights that are no numbers."""

import json

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

import schuss
from schuss.errors import ModelFileError
from schuss.estimators import MLPClassifier
from schuss.model_file import load, load_for_use
from schuss.network import Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NAMES = ("width", "height", "Länge, cm")
X = np.random.default_rng(0).normal(size=(30, 3))
KINDS = np.where(X[:, 0] > 0, "x", "y")


@pytest.fixture
def path(tmp_path):
    """A network with names in a file."""
    network = Network((3, 4, 2), seed=0)
    network.feature_names = NAMES
    network.save(tmp_path / "m")
    return tmp_path / "m"


def rewrite(path, change=None, tensors=None):
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["schuss"])
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if change is not None:
        change(config)
    path.write_bytes(safetensors.numpy.save(kept | (tensors or {}), {"schuss": json.dumps(config)}))


def damaged(path):
    with pytest.raises(ModelFileError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: damaged: ")


def test_a_network_keeps_them(path):
    assert load(path).feature_names == NAMES
    assert load_for_use(path)[0].feature_names == NAMES


def test_a_network_without(tmp_path):
    Network((3, 2)).save(tmp_path / "m")
    assert load(tmp_path / "m").feature_names is None


def test_a_file_from_before_there_were_names(path):
    rewrite(path, lambda config: config.pop("feature_names"))
    assert load(path).feature_names is None
    with safe_open(path, framework="numpy") as file:
        assert "feature_names" not in json.loads(file.metadata()["schuss"])


@pytest.mark.parametrize("names", ["abc", ["a", "b"], ["a", "b", "a"], ["a", "b", 3], [], {}])
def test_damaged_names(path, names):
    rewrite(path, lambda config: config.update(feature_names=names))
    assert "feature_names must be" in damaged(path)


def test_names_that_do_not_fit_are_not_saved(tmp_path):
    network = Network((3, 2))
    network.feature_names = ("a", "b")
    with pytest.raises(ModelFileError, match="feature_names must be 3 different texts, got"):
        network.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_an_estimator_has_those_of_its_frame(tmp_path):
    pandas = pytest.importorskip("pandas")
    model = MLPClassifier((4,), max_iter=2).fit(pandas.DataFrame(X, columns=NAMES), KINDS)
    model.save(tmp_path / "m")
    assert load(tmp_path / "m").network_.feature_names == NAMES
    network, _ = load_for_use(tmp_path / "m")
    assert network.feature_names == NAMES
    network.save(tmp_path / "n")
    assert load(tmp_path / "n").feature_names == NAMES
    again = load(tmp_path / "m").fit(X, KINDS)  # on an array
    again.save(tmp_path / "m")
    assert load_for_use(tmp_path / "m")[0].feature_names is None


def test_names_that_tell_nothing_apart(tmp_path):
    model = MLPClassifier((4,), max_iter=2).fit(X, KINDS)
    model.feature_names_in_ = np.array(["a", "b", "a"], object)  # as of a frame with two columns of a name
    model.save(tmp_path / "m")
    assert load_for_use(tmp_path / "m")[0].feature_names is None
    assert load(tmp_path / "m").feature_names_in_.tolist() == ["a", "b", "a"]


def test_what_the_outputs_stand_for(tmp_path):
    MLPClassifier((4,), max_iter=2).fit(X, (X > 0).astype(int)).save(tmp_path / "m")
    labels = load_for_use(tmp_path / "m")[1]
    assert (labels.multilabel, labels.classes.tolist()) == (True, [0, 1, 2])
    MLPClassifier((4,), max_iter=2).fit(X, KINDS).save(tmp_path / "m")
    assert load_for_use(tmp_path / "m")[1] is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
def test_weights_that_are_no_numbers(path, name, value):
    with safe_open(path, framework="numpy") as file:
        tensor = file.get_tensor(name)
    tensor.flat[-1] = value
    rewrite(path, tensors={name: tensor})
    assert damaged(path) == f"{name} must hold finite numbers, got {value}"
    with pytest.raises(ModelFileError, match=name):
        load_for_use(path)


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    network = Network((3, 2))
    network.parameters = np.full(8, np.nan)
    with pytest.raises(ModelFileError, match="W1 must hold finite numbers, got nan"):
        network.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_the_environment_does_not_make_a_file_damaged(tmp_path, monkeypatch):
    MLPClassifier((4,), max_iter=2, plan="native:1x1").fit(X, KINDS).save(tmp_path / "m")
    monkeypatch.setenv("OMP_NUM_THREADS", "abc")
    model = schuss.load(tmp_path / "m")
    with pytest.raises(ValueError, match="OMP_NUM_THREADS must be a positive integer, got 'abc'"):
        model.fit(X, KINDS)
