"""What the estimators learn: labels of any kind, several at once, numbers; by every loss."""

import numpy as np
import pytest
import scipy.sparse
from fitting import BINARY, LABELS, NUMBERS, X, Y, fitted, quietly, regressor_fitted
from sklearn.exceptions import DataConversionWarning

from schuss import DataError
from schuss.estimators import MLPClassifier
from schuss.losses import CLASS_LOSSES, NUMBER_LOSSES


def test_several_labels_at_once():
    dense, sparse = fitted(LABELS), fitted(scipy.sparse.csr_matrix(LABELS))
    assert dense.out_activation_ == "logistic"
    assert dense.predict_proba(X).shape == (400, 3)
    assert (dense.predict(X) == LABELS).mean() > 0.8
    assert scipy.sparse.issparse(sparse.predict(X))
    assert np.array_equal(sparse.predict(X).toarray(), dense.predict(X))
    assert dense.classes_.tolist() == [0, 1, 2]
    online = MLPClassifier(random_state=0).partial_fit(X, LABELS)  # the columns say how many there are
    assert online.partial_fit(X[:1], LABELS[:1]).predict(X).shape == LABELS.shape
    with pytest.raises(DataError, match=r"y must have shape \(400, 3\), got \(400, 2\)"):
        online.partial_fit(X, LABELS[:, :2])
    with pytest.raises(DataError, match="y must hold 0 and 1, got 2"):
        online.partial_fit(X, 2 * LABELS)


@quietly
def test_one_class():
    """A fold of a cross-validation may have no more."""
    model = MLPClassifier(max_iter=3).fit(X, np.full(400, "one"))
    assert set(model.predict(X)) == {"one"}
    assert np.array_equal(model.predict_proba(X), np.ones((400, 1)))


def test_targets_as_columns():
    with pytest.warns(DataConversionWarning):
        column = fitted(Y[:, None])
    assert np.array_equal(column.coefs_[0], fitted().coefs_[0])
    two = regressor_fitted(np.stack([NUMBERS, -NUMBERS], 1))
    assert two.predict(X).shape == (400, 2)
    assert two.loss_curve_[0] < 1.5 * np.mean(NUMBERS**2)  # the mean over the targets, not their sum


@pytest.mark.parametrize("loss", CLASS_LOSSES)
@pytest.mark.parametrize("y", [Y, BINARY, LABELS], ids=["classes", "binary", "labels"])
def test_losses_of_classes(loss, y):
    model = fitted(y, loss=loss, learning_rate_init=0.01, max_iter=40, batch_size=50)
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 2
    assert model.score(X, y) > 0.9
    assert hasattr(model, "predict_proba") == hasattr(model, "predict_log_proba") == (loss != "hinge")
    assert hasattr(model, "decision_function") == (loss == "hinge")
    if loss == "hinge":
        margins = model.decision_function(X)
        assert margins.shape == ((400,) if y is BINARY else (400, y.max() + 1 if y.ndim == 1 else 3))
        if y is not Y:
            assert np.array_equal(margins > 0, model.predict(X) == ("low" if y is BINARY else 1))
        return
    probabilities = model.predict_proba(X)
    assert np.allclose(np.exp(model.predict_log_proba(X)), probabilities)
    assert probabilities.min() >= 0
    if y is not LABELS:
        assert np.allclose(probabilities.sum(axis=1), 1)
        assert np.array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(X))


def test_numbers_of_losses_reach_the_network():
    assert fitted(label_smoothing=0.1).loss_ > fitted().loss_
    assert fitted(loss="focal", focal_gamma=0.0).loss_ == pytest.approx(fitted().loss_, rel=1e-9)
    assert fitted(loss="focal").loss_ < fitted().loss_
    assert regressor_fitted(loss="huber", huber_delta=1e6).loss_ == pytest.approx(
        regressor_fitted().loss_, rel=1e-6
    )
    assert regressor_fitted(loss="huber", huber_delta=0.1).loss_ < regressor_fitted(loss="huber").loss_


@pytest.mark.parametrize("loss", NUMBER_LOSSES)
def test_losses_of_numbers(loss):
    y = np.exp(NUMBERS / 4) if loss in ("poisson", "gamma") else NUMBERS
    model = regressor_fitted(y, loss=loss, learning_rate_init=0.01, max_iter=80, batch_size=50)
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 2
    assert model.score(X, y) > 0.75
    assert model.out_activation_ == ("exp" if loss in ("poisson", "gamma") else "identity")


def test_several_quantiles_at_once():
    rng = np.random.default_rng(1)
    inputs = rng.uniform(-1, 1, (3000, 1))
    y = inputs[:, 0] + rng.standard_normal(3000) * 0.5
    model = regressor_fitted(
        y, data=inputs, loss="quantile", quantile=(0.1, 0.5, 0.9), max_iter=60, learning_rate_init=0.01
    )
    predicted = model.predict(inputs)
    assert predicted.shape == (3000, 3)
    assert np.allclose([(y < column).mean() for column in predicted.T], (0.1, 0.5, 0.9), atol=0.03)
    assert 0.1 < model.score(inputs, y) < 1
    assert model.score(inputs, y, np.ones(3000)) == pytest.approx(model.score(inputs, y), abs=1e-3)


def test_activations_for_each_layer():
    model = fitted(hidden_layer_sizes=(9, 8), activation=["gelu", "leaky_relu"])
    assert model.network_.activations == ("gelu", "leaky_relu", "softmax")
    with pytest.raises(
        ValueError, match="activation must be one name or one for each of the 1 hidden layers"
    ):
        MLPClassifier(activation=["gelu", "relu"]).fit(X, Y)
