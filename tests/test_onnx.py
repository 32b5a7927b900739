"""The ONNX file: ONNX Runtime computes from it what the model predicts."""

import json
import os
import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import schuss
from schuss import ModelFileError, Network
from schuss.activations import HIDDEN_ACTIVATIONS
from schuss.estimators import MLPClassifier, MLPRegressor
from schuss.losses import Loss
from schuss.onnx_export import export_onnx, to_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 5))
KINDS = np.array(["ham", "jam", "spam"])[np.argmax(X[:, :3], axis=1)]
NUMBERS = np.abs(X @ RANDOM.normal(size=(5, 2))) + 0.1

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def session(proto):
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def run(model, data=X, **options):
    """Name -> output of the ONNX model, after a full check of its types and shapes."""
    proto = to_onnx(model, **options)
    onnx.checker.check_model(proto, full_check=True)
    running = session(proto)
    wanted = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
    (given,) = running.get_inputs()
    assert (given.name, given.shape) == ("X", ["n", data.shape[1]])
    results = running.run(None, {"X": data.astype(wanted[given.type])})
    for described, result in zip(running.get_outputs(), results, strict=True):
        assert described.shape[1:] == list(result.shape[1:])
    return {described.name: result for described, result in zip(running.get_outputs(), results, strict=True)}


def close(got, wanted):
    assert got.shape == wanted.shape
    assert np.allclose(got, wanted, rtol=1e-5, atol=1e-5)


def network(**options):
    """Three layers whose values lie on both sides of every kink, and where tails bend."""
    made = Network((5, 7, 6, 3), **{"seed": 1, "loss": "squared_error"} | options)
    made.parameters = 1.5 * made.parameters + np.linspace(-0.5, 0.5, made.n_parameters)
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_every_activation(activation, dtype):
    made = network(activation=activation, dtype=dtype)
    result = run(made)
    assert list(result) == ["variable"]
    assert result["variable"].dtype == dtype
    close(result["variable"], made.forward(X.astype(dtype)))
    if dtype == "float64":
        assert np.allclose(result["variable"], made.forward(X), rtol=1e-12, atol=1e-12)


def test_an_activation_a_layer():
    made = network(activation=["gelu", "hardtanh"])
    close(run(made)["variable"], made.forward(X.astype(np.float32)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("loss", "output"),
    [
        ("squared_error", "identity"),
        ("squared_error", "logistic"),
        ("squared_error", "tanh"),
        ("squared_error", "relu"),
        ("log_loss", "softmax"),
        ("log_loss", "logistic"),
        ("poisson", "exp"),
        ("gamma", "exp"),
        ("absolute_error", "identity"),
        (Loss("huber", huber_delta=0.5), "identity"),
        (Loss("quantile", quantiles=(0.1, 0.5, 0.9)), "identity"),
        ("hinge", "identity"),
        ("focal", "softmax"),
        ("focal", "logistic"),
    ],
    ids=str,
)
def test_every_losss_output(loss, output, dtype):
    made = network(loss=loss, output_activation=output, dtype=dtype)
    close(run(made)["variable"], made.forward(X.astype(dtype)))


def test_a_network_without_hidden_layers():
    made = Network((5, 2), loss="squared_error", seed=0)
    close(run(made)["variable"], made.forward(X.astype(np.float32)))


@pytest.mark.parametrize("input_dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scale_shift_and_type_of_the_input(dtype, input_dtype):
    made = network(input_scale=1 / 255, input_shift=-0.3, dtype=dtype)
    pixels = RANDOM.integers(0, 256, (9, 5)).astype(input_dtype)
    assert to_onnx(made, input_dtype=input_dtype).graph.input[0].type.tensor_type.elem_type in (1, 2, 11)
    close(run(made, pixels, input_dtype=input_dtype)["variable"], made.forward(pixels))


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_any_number_of_examples(rows):
    made, many = network(), RANDOM.normal(size=(rows, 5)).astype(np.float32)
    close(run(made, many)["variable"], made.forward(many))


@pytest.mark.parametrize(
    "classes",
    [
        np.array([3, 5, 8]),
        np.array([1, 2, 3], dtype=np.uint8),
        np.array(["a", "ä", "日本"]),
        np.array(["a", "b", "c"], dtype=object),
    ],
    ids=lambda classes: str(classes.dtype),
)
def test_labels_of_a_network(classes):
    made = network(classes=classes, loss="log_loss")
    result = run(made)
    assert list(result) == ["label", "probabilities"]
    assert result["label"].tolist() == made.predict(X).tolist()
    close(result["probabilities"], made.forward(X.astype(np.float32)))


@pytest.mark.parametrize(
    "classes", [np.array([0.5, 1.5, 2.5]), np.array([1, 2, 2**63 + 5], np.uint64)], ids=["float", "uint64"]
)
def test_labels_that_onnx_lacks_are_class_numbers(classes):
    made = network(classes=classes, loss="log_loss")
    result = run(made)
    assert result["label"].dtype == np.int64
    assert np.array_equal(made.classes[result["label"]], made.predict(X))


def test_two_classes_with_one_output():
    made = Network((5, 4, 1), classes=["no", "yes"], seed=3)
    result = run(made)
    assert set(result["label"]) == {"no", "yes"}
    assert result["label"].tolist() == made.predict(X).tolist()
    second = made.forward(X.astype(np.float32))
    close(result["probabilities"], np.hstack([1 - second, second]))


@pytest.mark.parametrize("loss", ["squared_error", "hinge"])
def test_outputs_that_are_no_probabilities_are_scores(loss):
    made = network(classes=["a", "b", "c"], loss=loss)
    result = run(made)
    assert list(result) == ["label", "scores"]
    assert result["label"].tolist() == made.predict(X).tolist()
    close(result["scores"], made.forward(X.astype(np.float32)))


# --- Estimators -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("y", [KINDS, KINDS == "ham", (KINDS == "ham") * 2], ids=["three", "bool", "two"])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error", "focal"])
def test_classifier(loss, y, dtype):
    data = X.astype(dtype)
    model = MLPClassifier((8,), loss=loss, max_iter=20, random_state=0).fit(data, y)
    result = run(model, data)
    assert list(result) == ["label", "probabilities"]
    close(result["probabilities"], model.predict_proba(data))
    labels = result["label"]
    assert np.array_equal(model.classes_[labels] if y.dtype == bool else labels, model.predict(data))


@pytest.mark.parametrize("y", [KINDS, KINDS == "ham"], ids=["three", "two"])
def test_classifier_with_hinge(y):
    model = MLPClassifier((8,), loss="hinge", max_iter=20, random_state=0).fit(X, y)
    result = run(model)
    assert list(result) == ["label", "scores"]
    decision = model.decision_function(X)
    close(result["scores"], decision if decision.ndim == 2 else decision[:, None])
    labels = result["label"]
    assert np.array_equal(model.classes_[labels] if y.dtype == bool else labels, model.predict(X))


def test_classifier_with_several_labels_an_example():
    y = (X[:, :4] > 0).astype(int)
    model = MLPClassifier((8,), max_iter=20, random_state=0).fit(X, y)
    result = run(model)
    assert result["label"].dtype == np.int64
    assert np.array_equal(result["label"], model.predict(X))
    close(result["probabilities"], model.predict_proba(X))


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gamma", "absolute_error", "huber", "quantile"])
@pytest.mark.parametrize("targets", [1, 2])
def test_regressor(loss, targets):
    y = NUMBERS[:, 0] if targets == 1 else NUMBERS
    model = MLPRegressor(loss, (8,), max_iter=20, random_state=0).fit(X, y)
    result = run(model)
    assert list(result) == ["variable"]
    close(result["variable"], model.predict(X).reshape(len(X), targets))


def test_regressor_with_several_quantiles():
    model = MLPRegressor("quantile", (8,), quantile=(0.1, 0.5, 0.9), max_iter=20, random_state=0)
    for y in (NUMBERS[:, 0], NUMBERS):
        predicted = model.fit(X, y).predict(X)
        close(run(model)["variable"], predicted.reshape(len(X), -1))


# --- The file -------------------------------------------------------------------------------------


def test_models_write_themselves(tmp_path):
    made = network(classes=["a", "b", "c"], loss="log_loss")
    fitted = MLPClassifier(max_iter=2).fit(X, np.arange(len(X)) % 2)
    for model in (made, fitted):
        wanted = export_onnx(model, tmp_path / "by_function.onnx").read_bytes()
        assert model.export_onnx(tmp_path / "by_itself.onnx").read_bytes() == wanted


def test_file_is_written_whole(tmp_path):
    made = network(classes=["a", "b", "c"], loss="log_loss")
    assert export_onnx(made, tmp_path / "m.onnx") == tmp_path / "m.onnx"
    assert os.listdir(tmp_path) == ["m.onnx"]
    read = onnx.load(tmp_path / "m.onnx")
    assert (read.producer_name, read.opset_import[0].version) == ("schuss", 13)
    notes = {entry.key: entry.value for entry in read.metadata_props}
    assert json.loads(notes["classes"]) == ["a", "b", "c"]


def test_from_a_model_file(tmp_path):
    model = MLPClassifier((8,), max_iter=5, random_state=0).fit(X, KINDS)
    model.save(tmp_path / "m")
    assert np.array_equal(run(schuss.load(tmp_path / "m"))["label"], model.predict(X))


def test_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "m.onnx"
    target.write_text("before")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelFileError, match="cannot be written: No space left on device"):
        export_onnx(network(), target)
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_type_of_input_that_there_is_not():
    with pytest.raises(ValueError, match="input_dtype must be float32, float64, uint8 or None, got 'int8'"):
        to_onnx(network(), input_dtype="int8")


class Derived(MLPRegressor):
    pass


def test_only_what_is_fitted_and_ours():
    model = Derived(hidden_layer_sizes=(3,), max_iter=2)
    with pytest.raises(NotFittedError):
        to_onnx(model)
    close(run(model.fit(X, NUMBERS))["variable"], model.predict(X))
    with pytest.raises(TypeError, match="model must be a Network, MLPClassifier or MLPRegressor, got dict"):
        to_onnx({})


def test_one_class():
    model = MLPClassifier((3,), max_iter=2).fit(X, np.full(len(X), "ham"))
    result = run(model)
    assert result["label"].tolist() == model.predict(X).tolist()
    close(result["probabilities"], model.predict_proba(X))


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'schuss\[onnx\]'"):
        to_onnx(network())


def test_more_than_protobuf_holds(monkeypatch):
    monkeypatch.setattr("schuss.onnx_export._LARGEST", 100)
    with pytest.raises(ModelFileError, match="an ONNX file holds less than 2 GiB, the parameters take"):
        to_onnx(network())
