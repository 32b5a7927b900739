"""Estimators in model files: parameters, what was learnt, and every bit of the predictions come back."""

import json

import numpy as np
import pytest
import safetensors.numpy
import scipy.sparse
from safetensors import safe_open
from sklearn.exceptions import NotFittedError

import schuss
from schuss.errors import ModelFileError
from schuss.estimators import MLPClassifier, MLPRegressor
from schuss.model_file import load, load_for_use, save
from schuss.schedules import Constant, Cosine, WarmUp

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 6))
KINDS = np.array(["ham", "jam", "spam"])[np.argmax(X[:, :3], axis=1)]
NUMBERS = np.abs(X @ RANDOM.normal(size=(6, 2))) + 0.1

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(y=KINDS, data=X, **options):
    return MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0} | options).fit(
        data, y
    )


def regressor(y=NUMBERS, **options):
    return MLPRegressor(**{"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0} | options).fit(X, y)


def again(model, path):
    model.save(path / "m")
    return schuss.load(path / "m")


def same_bits(a, b):
    if scipy.sparse.issparse(a):
        a, b = a.toarray(), b.toarray()
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert np.array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("y", "options"),
    [
        (KINDS, {}),
        (KINDS.astype(object), {}),
        (KINDS == "ham", {}),
        ((KINDS == "ham") * 5, {"loss": "squared_error"}),
        (KINDS, {"loss": "focal", "focal_gamma": 1.5, "label_smoothing": 0.1}),
        (KINDS, {"early_stopping": True, "max_iter": 3}),
        (KINDS, {"class_weight": {"ham": 2.0, "jam": 1, "spam": 0.5}, "dropout": [0.1]}),
        ((X[:, :4] > 0).astype(int), {}),
        (KINDS, {"solver": "lbfgs"}),
        (KINDS, {"activation": ["gelu", "elu"], "hidden_layer_sizes": [5, 4]}),
    ],
    ids=str,
)
def test_classifier(tmp_path, y, options, dtype):
    data = X.astype(dtype)
    model = classifier(y, data, **options)
    found = again(model, tmp_path)
    assert type(found) is MLPClassifier
    assert found.get_params() == model.get_params()
    same_bits(found.predict(data), model.predict(data))
    same_bits(found.predict_proba(data), model.predict_proba(data))
    same_bits(found.classes_, model.classes_)
    assert found.score(data, y) == model.score(data, y)
    for name in model._fitted_state():
        got, wanted = getattr(found, name), getattr(model, name)
        assert np.array_equal(got, wanted) if isinstance(wanted, np.ndarray) else got == wanted, name
    assert found.history_ == model.history_


def test_hinge(tmp_path):
    model = classifier(loss="hinge")
    found = again(model, tmp_path)
    same_bits(found.decision_function(X), model.decision_function(X))
    same_bits(found.predict(X), model.predict(X))


@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, 0]], ids=["two", "one"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "poisson"},
        {"loss": "huber", "huber_delta": 0.3},
        {"loss": "quantile", "quantile": (0.1, 0.9)},
        {"loss": "quantile", "quantile": [0.5]},
    ],
    ids=str,
)
def test_regressor(tmp_path, options, y):
    model = regressor(y, **options)
    found = again(model, tmp_path)
    assert type(found) is MLPRegressor
    assert found.get_params() == model.get_params()
    same_bits(found.predict(X), model.predict(X))
    assert found.score(X, y) == model.score(X, y)


def test_labels_in_a_sparse_matrix(tmp_path):
    y = scipy.sparse.csr_matrix((X[:, :4] > 0).astype(int))
    model = classifier(y)
    found = again(model, tmp_path).predict(X)
    same_bits(found.toarray() if scipy.sparse.issparse(found) else found, model.predict(X).toarray())


def test_one_class(tmp_path):
    model = classifier(np.full(len(X), "ham"))
    found = again(model, tmp_path)
    same_bits(found.predict(X), model.predict(X))


def test_names_of_features(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    found = again(classifier(data=frame), tmp_path)
    assert found.feature_names_in_.tolist() == list("abcdef")
    assert found.feature_names_in_.dtype == object
    with pytest.raises(ValueError, match="feature names"):
        found.predict(frame[list("fedcba")])


def test_schedule_and_generator(tmp_path):
    random = np.random.RandomState(3)
    model = classifier(random_state=random, learning_rate=WarmUp(2, then=Cosine(0.1)), warm_start=True)
    found = again(model, tmp_path)
    assert found.learning_rate == model.learning_rate
    model.fit(X, KINDS)
    found.fit(X, KINDS)  # draws the same shuffles as the model does
    same_bits(found.predict_proba(X), model.predict_proba(X))


def test_goes_on_training(tmp_path):
    model = classifier(warm_start=True)
    found = again(model, tmp_path)
    model.fit(X, KINDS)
    found.fit(X, KINDS)
    same_bits(found.predict_proba(X), model.predict_proba(X))
    assert (found.t_, found.loss_curve_) == (model.t_, model.loss_curve_)
    before = found.coefs_[0].copy()
    found.partial_fit(X, KINDS)
    assert not np.array_equal(found.coefs_[0], before)


def test_loss_parameters_that_its_loss_does_not_use(tmp_path):
    model = regressor(huber_delta=0.3, quantile=(0.1, 0.9), warm_start=True)
    found = again(model, tmp_path)
    found.fit(X, NUMBERS)


def test_threads_and_plan(tmp_path):
    model = classifier(n_jobs=1, plan="native:1x1")
    model.set_params(plan="native:999x1")
    model.save(tmp_path / "m")
    found = load(tmp_path / "m")
    assert (found.plan, found.n_jobs, found.network_.n_jobs) == ("native:999x1", 1, 1)
    same_bits(found.predict_proba(X), model.predict_proba(X))  # with as many threads as there are
    assert load(tmp_path / "m", n_jobs=2).n_jobs == 2


def test_network_alone(tmp_path):
    model = classifier()
    model.save(tmp_path / "m")
    network, labels = load_for_use(tmp_path / "m")
    assert type(network) is schuss.Network
    assert labels is None
    same_bits(network.predict(X), model.predict(X))
    network.save(tmp_path / "n")
    assert type(load(tmp_path / "n")) is schuss.Network


def test_long_history_is_small(tmp_path):
    model = classifier()
    model.network_.history["loss"] = [0.125] * 300_000
    assert len(again(model, tmp_path).loss_curve_) == 300_000
    with safe_open(tmp_path / "m", framework="numpy") as file:
        assert len(file.metadata()["schuss"]) < 10_000


class Derived(MLPClassifier):
    pass


class OwnSchedule(Constant):
    pass


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(NotFittedError):
        save(MLPClassifier(), tmp_path / "m")
    with pytest.raises(TypeError, match="must be a Network, MLPClassifier or MLPRegressor, got Derived"):
        save(Derived(hidden_layer_sizes=(3,), max_iter=2).fit(X, KINDS), tmp_path / "m")
    with pytest.raises(TypeError, match="must be a Network, MLPClassifier or MLPRegressor, got dict"):
        save({}, tmp_path / "m")
    model = classifier().set_params(learning_rate=OwnSchedule())
    with pytest.raises(
        ModelFileError, match=r"parameter learning_rate must be a schedule of schuss\.schedules"
    ):
        save(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save(classifier(), path)
    return path


def rewrite(path, change):
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["schuss"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(config["estimator"])
    path.write_bytes(safetensors.numpy.save(tensors, {"schuss": json.dumps(config)}))


@pytest.mark.parametrize(
    ("part", "entries", "told"),
    [
        (None, {"class": "BaseEstimator"}, "its estimator must be MLPClassifier or MLPRegressor"),
        (None, {"class": "__init__"}, "its estimator must be MLPClassifier or MLPRegressor"),
        (None, {"class": "MLPRegressor"}, "its parameters are not those of MLPRegressor"),
        (None, {"state": {}}, "its n_features_in_ must be 6 as in the network, got None"),
        ("params", {"magic": 1}, "its parameters are not those of MLPClassifier"),
        ("params", {"random_state": {"pickle": "x"}}, "no value is stored as"),
        ("params", {"n_jobs": {"array": {"dtype": "<U1", "values": ["a"]}}}, "its n_jobs must be null or"),
        ("params", {"plan": 3}, "its plan must be text"),
        ("state", {"n_features_in_": 7}, "its n_features_in_ must be 6 as in the network, got 7"),
        ("state", {"out_activation_": "tanh"}, "its out_activation_ must be 'softmax'"),
        ("state", {"n_iter_": None}, "its n_iter_ must be a whole number"),
        ("state", {"t_": "many"}, "its t_ must be a whole number"),
        ("state", {"classes_": ["a", "b", "c"]}, "its classes_ must be an array of length 3, got"),
        (
            "state",
            {"classes_": {"array": {"dtype": "<i8", "values": [1, 2]}}},
            "its classes_ must be an array of length 3, got",
        ),
        (
            "state",
            {"classes_": {"array": {"dtype": "<U1", "values": ["a", "b", "c"]}}},
            "the network's classes",
        ),
        (
            "state",
            {"feature_names_in_": {"array": {"dtype": "<U1", "values": ["a"]}}},
            "must be an array of length 6, got",
        ),
    ],
    ids=str,
)
def test_damage(model, part, entries, told):
    rewrite(model, lambda stored: (stored if part is None else stored[part]).update(entries))
    with pytest.raises(ModelFileError) as caught:
        load(model)
    message = str(caught.value)
    assert message.startswith(f"{model}: damaged: ")
    assert told in message
    assert "\n" not in message


def test_classes_missing(model):
    rewrite(model, lambda stored: stored["state"].pop("classes_"))
    with pytest.raises(ModelFileError, match="damaged: its classes_ must be the network's classes"):
        load(model)


def test_parameter_of_a_later_version_has_its_default(model):
    rewrite(model, lambda stored: stored["params"].pop("clip_norm"))
    assert load(model).clip_norm is None
