"""The model file: everything comes back, and whatever is wrong with a file is one line."""

import contextlib
import json
import math
import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from schuss.errors import ModelFileError
from schuss.losses import Loss
from schuss.model_file import FORMAT_VERSION, is_model_file, load, save, write_file
from schuss.network import Network


def small_network(**options):
    options = {"seed": 1, "classes": np.array(["ham", "jam", "spam"])} | options
    return Network((5, 4, 7, 3), **options)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save(small_network(), path)
    return path


def rewrite(path, change=None, tensors=None):
    """The file again, its configuration changed in place by `change`, its tensors perhaps replaced."""
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["schuss"])
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if change is not None:
        change(config)
    path.write_bytes(
        safetensors.numpy.save(kept if tensors is None else tensors(kept), {"schuss": json.dumps(config)})
    )


def load_error(path):
    with pytest.raises(ModelFileError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip(tmp_path, dtype):
    network = small_network(dtype=dtype, activation="tanh", input_scale=1 / 255, input_shift=-0.1)
    network.trained_plan = "native:2x1"
    network.history = {"loss": [0.5, np.float64(0.25)], "validation_accuracy": [0.9, math.nan]}
    network.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.layer_sizes == (5, 4, 7, 3)
    assert (again.activation, again.output_activation, again.loss_name) == ("tanh", "softmax", "log_loss")
    assert (again.input_scale, again.input_shift, again.dtype) == (1 / 255, -0.1, np.dtype(dtype))
    assert np.array_equal(again.parameters, network.parameters)
    X = np.random.default_rng(0).random((6, 5)).astype(dtype)
    assert np.array_equal(again.forward(X), network.forward(X))
    assert np.array_equal(again.predict(X), network.predict(X))
    assert again.trained_plan == "native:2x1"
    assert again.history["loss"] == [0.5, 0.25]
    assert again.history["validation_accuracy"][0] == 0.9
    assert math.isnan(again.history["validation_accuracy"][1])


@pytest.mark.parametrize(
    "classes",
    [
        np.array([3, 5, 8]),
        np.array([0, 1, 255], dtype=np.uint8),
        np.array([2**62, 2**62 + 1, 2**62 + 2]),
        np.array([0.1, 0.2, 0.3], dtype=np.float32),
        np.array(["a", "ä", "日本"]),
        np.array(["a", "b", "c"], dtype=object),
    ],
    ids=lambda classes: str(classes.dtype),
)
def test_class_labels_come_back_exactly(tmp_path, classes):
    save(small_network(classes=classes), tmp_path / "m")
    again = load(tmp_path / "m").classes
    assert again.dtype == classes.dtype
    assert np.array_equal(again, classes)


@pytest.mark.parametrize(
    ("loss", "output"),
    [
        (Loss("quantile", quantiles=(0.1, 0.5, 0.9)), "identity"),
        (Loss("huber", huber_delta=0.3), "identity"),
        (Loss("focal", focal_gamma=1.5, label_smoothing=0.1), "logistic"),
        ("poisson", "exp"),
    ],
    ids=str,
)
def test_losses_and_an_activation_a_layer(tmp_path, loss, output):
    network = small_network(
        classes=None, loss=loss, output_activation=output, activation=["gelu", "leaky_relu"]
    )
    network.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.loss_function == network.loss_function
    assert again.activations == ("gelu", "leaky_relu", output)
    X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    assert np.array_equal(again.forward(X), network.forward(X))


def test_network_without_hidden_layers(tmp_path):
    Network((5, 3)).save(tmp_path / "m")
    assert load(tmp_path / "m").activations == ("softmax",)


@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_format_1_is_read(tmp_path, loss):
    network = small_network(loss=loss, activation="tanh", output_activation=None)
    config = {
        "format_version": 1,
        "schuss_version": "0.1.0",
        "layer_sizes": [5, 4, 7, 3],
        "activation": "tanh",
        "output_activation": network.output_activation,
        "loss": loss,
        "classes": {"dtype": "<U4", "values": ["ham", "jam", "spam"]},
        "input_scale": 1.0,
        "input_shift": 0.0,
        "dtype": "float32",
        "plan": "native:1x1",
        "history": {"loss": [0.5, None]},
    }
    layers = enumerate(zip(network.weights, network.biases, strict=True), start=1)
    tensors = {f"{kind}{at}": array for at, pair in layers for kind, array in zip("Wb", pair, strict=True)}
    (tmp_path / "m").write_bytes(safetensors.numpy.save(tensors, {"schuss": json.dumps(config)}))
    again = load(tmp_path / "m")
    assert (again.activations, again.loss_function) == (network.activations, network.loss_function)
    assert np.array_equal(again.classes, network.classes)
    assert np.array_equal(again.parameters, network.parameters)
    assert again.history["loss"][0] == 0.5
    assert math.isnan(again.history["loss"][1])
    del config["activation"]
    (tmp_path / "m").write_bytes(safetensors.numpy.save(tensors, {"schuss": json.dumps(config)}))
    assert "its activations must be a list of text" in load_error(tmp_path / "m")


def test_network_for_numbers_has_no_classes(tmp_path):
    save(small_network(classes=None, loss="squared_error"), tmp_path / "m")
    assert load(tmp_path / "m").classes is None


@pytest.mark.parametrize("label", [b"bytes", np.datetime64("2020-01-01"), np.longdouble(1)])
def test_labels_that_json_cannot_hold(tmp_path, label):
    network = small_network()
    network.classes = np.array([label] * 3)
    with pytest.raises(ModelFileError, match="class labels must be numbers, booleans or text, got dtype"):
        save(network, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_file_is_plain_safetensors(model):
    with safe_open(model, framework="numpy") as file:
        assert set(file.keys()) == {"W1", "b1", "W2", "b2", "W3", "b3"}
        config = json.loads(file.metadata()["schuss"])
    assert config["format_version"] == FORMAT_VERSION
    assert config["layer_sizes"] == [5, 4, 7, 3]
    assert config["activations"] == ["relu", "relu", "softmax"]
    assert config["loss"] == {"name": "log_loss", "label_smoothing": 0.0}
    assert {"schuss_version", "plan", "dtype"} <= set(config)


def test_missing(tmp_path):
    assert "no such file" in load_error(tmp_path / "none")


def test_folder(tmp_path):
    assert "this is a folder" in load_error(tmp_path)


def test_device():
    assert "a model file is wanted" in load_error(Path("/dev/null"))


def test_unreadable(model, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("schuss.model_file.open", refuse, raising=False)  # root may read everything
    assert "cannot be read: Permission denied" in load_error(model)


@pytest.mark.parametrize("keep", [0, 4, 8, 60, 500, -1])
def test_cut_short(model, keep):
    model.write_bytes(model.read_bytes()[:keep])
    assert "damaged, cut short or no safetensors file" in load_error(model)


def test_longer_than_it_should_be(model):
    model.write_bytes(model.read_bytes() + b"\0")
    assert "damaged" in load_error(model)


def test_other_kind_of_file(tmp_path):
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "no safetensors file" in load_error(tmp_path / "m.png")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_foreign_safetensors(tmp_path, metadata):
    (tmp_path / "m").write_bytes(safetensors.numpy.save({"W1": np.zeros((2, 2))}, metadata))
    assert "not one that Schuss wrote" in load_error(tmp_path / "m")


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_changed_bytes_load_or_are_refused(model, changes):
    save(small_network(), model)
    content = bytearray(model.read_bytes())
    for place, byte in changes:
        content[int(place**3 * (len(content) - 1))] = byte  # more of them in the header
    model.write_bytes(content)
    with contextlib.suppress(ModelFileError):
        load(model)


def test_newer_format(model):
    rewrite(
        model, lambda config: config.update(format_version=FORMAT_VERSION + 1, schuss_version="9.0", loss=3)
    )
    message = load_error(model)
    assert f"written in format {FORMAT_VERSION + 1} by Schuss '9.0'" in message
    assert "upgrade" in message


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", "[" * 100_000, '{"format_version": true}', '{"format_version": "1"}']
)
def test_configuration_is_no_object_with_a_version(model, text):
    model.write_bytes(safetensors.numpy.save({"W1": np.zeros(1)}, {"schuss": text}))
    assert "damaged" in load_error(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layer_sizes", [5]),
        ("layer_sizes", [5, 0, 3]),
        ("layer_sizes", [5, True, 7, 3]),
        ("layer_sizes", "5-4-7-3"),
        ("activations", "relu"),
        ("activations", ["relu", 3, "softmax"]),
        ("activations", []),
        ("loss", "log_loss"),
        ("loss", {"name": None}),
        ("classes", ["a", "b", "c"]),
        ("classes", {"dtype": "<i8"}),
        ("input_scale", math.nan),
        ("input_scale", "1"),
        pytest.param("input_scale", 10**400, id="input_scale-huge"),
        ("input_shift", True),
        ("dtype", "float16"),
        ("dtype", ["float32"]),
        ("history", []),
        ("history", {"loss": 0.5}),
        ("estimator", "MLPClassifier"),
        ("estimator", {"class": "MLPClassifier", "params": {}}),
    ],
)
def test_entry_of_the_wrong_type(model, key, value):
    rewrite(model, lambda config: config.update({key: value}))
    assert f"damaged: its {key} must be" in load_error(model)


@pytest.mark.parametrize("key", ["loss", "classes", "estimator", "layer_sizes"])
def test_entry_missing(model, key):
    rewrite(model, lambda config: config.pop(key))
    assert f"damaged: its {key} is missing" in load_error(model)


@pytest.mark.parametrize(
    "classes",
    [
        {"dtype": "<i8", "values": ["a", "b", "c"]},
        {"dtype": "<U1", "values": ["ham", "jam", "spam"]},
        {"dtype": "|u1", "values": [1, 2, 300]},
        {"dtype": "nonsense", "values": [1, 2, 3]},
        {"dtype": "object", "values": [1, 2, 3]},
        {"dtype": "<M8[D]", "values": ["2020-01-01"] * 3},
        {"dtype": "<i8", "values": [[1, 2, 3]]},
        {"dtype": "<i8,<i8", "values": [1, 2, 3]},
        {"dtype": "<i8", "values": [1, 2, 10**30]},
        {"dtype": "<U500000000", "values": ["a", "b", "c"]},  # 6 GB
    ],
)
def test_class_labels_that_do_not_read(model, classes):
    rewrite(model, lambda config: config.update(classes=classes))
    assert "damaged: its class labels do not read as" in load_error(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activations", ["relu", "magic", "softmax"]),
        ("activations", ["relu", "relu", "magic"]),
        ("loss", {"name": "magic"}),
    ],
)
def test_name_that_no_network_has(model, key, value):
    rewrite(model, lambda config: config.update({key: value}))
    message = load_error(model)
    assert "damaged: " in message
    assert "'magic'" in message


def test_a_whole_number_serves_as_scale(model):
    rewrite(model, lambda config: config.update(input_scale=10**30))
    assert load(model).input_scale == 1e30


def test_number_of_classes_that_does_not_fit(model):
    rewrite(model, lambda config: config["classes"].update(values=["ham", "jam"]))
    assert "damaged: " in load_error(model)


def without_b2(tensors):
    return {name: tensor for name, tensor in tensors.items() if name != "b2"}


@pytest.mark.parametrize("tensors", [without_b2, lambda kept: kept | {"W9": np.zeros(3)}, lambda kept: {}])
def test_tensors_missing_or_too_many(model, tensors):
    rewrite(model, tensors=tensors)
    assert (
        "layer_sizes [5, 4, 7, 3] and history ask for the tensors W1, b1, W2, b2, W3, b3, it holds"
        in load_error(model)
    )


def test_tensor_of_the_wrong_shape(model):
    rewrite(model, tensors=lambda kept: kept | {"W2": np.zeros((7, 4), np.float32)})
    assert "W2 must be F32 of shape (4, 7), got F32 of shape (7, 4)" in load_error(model)


def test_tensor_of_the_wrong_type(model):
    rewrite(model, tensors=lambda kept: kept | {"b3": np.zeros(3)})
    assert "b3 must be F32 of shape (3,), got F64 of shape (3,)" in load_error(model)


def test_is_model_file(model, tmp_path):
    assert is_model_file(model)
    rewrite(model, lambda config: config.update(format_version=FORMAT_VERSION + 1))
    assert is_model_file(model)
    (tmp_path / "text").write_text("important")
    assert not is_model_file(tmp_path / "text")
    assert not is_model_file(tmp_path / "none")
    assert not is_model_file(tmp_path)


def test_save_replaces_and_leaves_nothing_beside(model):
    save(small_network(seed=2), model)
    assert np.array_equal(load(model).parameters, small_network(seed=2).parameters)
    assert os.listdir(model.parent) == [model.name]


def test_failed_write_leaves_what_was_there(model, monkeypatch):
    before = model.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelFileError, match="cannot be written: No space left on device"):
        save(small_network(seed=2), model)
    assert model.read_bytes() == before
    assert os.listdir(model.parent) == [model.name]


def test_interrupted_write_leaves_what_was_there(model, monkeypatch):
    before = model.read_bytes()

    def interrupt(*_paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(small_network(seed=2), model)
    assert model.read_bytes() == before
    assert os.listdir(model.parent) == [model.name]


def test_save_into_a_missing_folder(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be written: No such file or directory"):
        save(small_network(), tmp_path / "none" / "m")


def test_save_over_a_folder(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be written: it is a folder"):
        save(small_network(), tmp_path)


def test_save_over_a_device():
    with pytest.raises(ModelFileError, match="cannot be written: it is not a regular file"):
        save(small_network(), "/dev/null")


def test_link_stays_a_link(model, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(model)
    save(small_network(seed=2), link)
    assert link.is_symlink()
    assert np.array_equal(load(model).parameters, small_network(seed=2).parameters)


def test_new_file_has_the_usual_permissions(tmp_path):
    write_file(tmp_path / "ours", b"")
    (tmp_path / "theirs").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode
