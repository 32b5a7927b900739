"""Training: history, validation, stopping, regression, divergence, bad input, and that it learns."""

import math

import numpy as np
import pytest
from conftest import MANY, TOLERANCE, make_problem

import schuss
from schuss import DataError, Network, TrainingDiverged
from schuss.data import Dataset
from schuss.optimizers import Optimizer
from schuss.plan import Plan
from schuss.trainer import Trainer

ALWAYS = ["loss", "learning_rate", "epoch_seconds", "examples_per_second", "gflops"]
HELD_OUT = ["validation_loss", "validation_accuracy"]

X = np.random.default_rng(0).standard_normal((23, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
SMALL = {"hidden_layer_sizes": (4,), "batch_size": 5, "epochs": 3}


def train(*data, **options):
    return schuss.train(*data, **(SMALL | options))


# --- what is recorded -----------------------------------------------------------------------------


def test_history():
    network = train(X, Y)
    assert list(network.history) == ALWAYS
    assert all(len(values) == 3 for values in network.history.values())
    assert all(type(value) is float and value > 0 for values in network.history.values() for value in values)
    for seconds, speed, gflops in zip(*(network.history[name] for name in ALWAYS[2:]), strict=True):
        assert speed == pytest.approx(23 / seconds)
        assert gflops == pytest.approx(speed * network.flops_per_example / 1e9)


def test_history_with_validation():
    network = train(X[:15], Y[:15], validation=(X[15:], Y[15:]))
    assert list(network.history) == ALWAYS + HELD_OUT
    assert all(len(values) == 3 for values in network.history.values())
    assert network.history["validation_loss"][-1] == pytest.approx(network.loss(X[15:], Y[15:]), rel=1e-6)
    assert network.history["validation_accuracy"][-1] == network.score(X[15:], Y[15:])


def test_loss_is_the_mean_over_the_examples(kernels, dtype):
    """Each minibatch before its update, the short last one by its share."""
    problem = make_problem((7, 5, 3), 23, dtype=dtype)
    network, plan = problem.network(), f"{kernels}:1x1"
    schuss.train(
        problem.X,
        problem.y,
        network=network,
        batch_size=9,
        epochs=1,
        learning_rate=1e-30,
        shuffle=False,
        plan=plan,
    )
    assert network.history["loss"][0] == pytest.approx(problem.loss, rel=TOLERANCE["gradient", dtype])


def test_each_epoch_follows_the_order_it_is_given():
    given = [np.random.default_rng(epoch).permutation(23) for epoch in range(2)]
    orders = iter(given)
    trainer = Trainer(
        Network((3, 2), seed=0), Optimizer(), 0.1, 5, Plan("native", 1, 1), lambda n: next(orders)[:n]
    )
    by_hand = Network((3, 2), seed=0)
    for rows in given:
        trainer.epoch(X, Y.astype(np.int32))
        for i in range(0, 23, 5):
            by_hand.step(X[rows[i : i + 5]], Y[rows[i : i + 5]], 0.1)
    assert np.array_equal(trainer.network.parameters, by_hand.parameters)


def test_seeds():
    def bits(**options):
        return train(X, Y, **options).parameters.tobytes()

    assert bits(seed=3) == bits(seed=3)
    assert bits(seed=3) != bits(seed=4)
    assert bits(seed=None) != bits(seed=None)
    assert bits(seed=3) != bits(seed=3, shuffle=False)
    assert bits(shuffle=False, seed=3) == bits(shuffle=False, seed=3)


# --- data -----------------------------------------------------------------------------------------


def test_string_labels():
    labels = np.array(["no", "yes"])[Y]
    network = train(X, labels, validation=(X, labels), epochs=20)
    assert network.classes.tolist() == ["no", "yes"]
    assert network.layer_sizes == (3, 4, 2)
    assert set(network.predict(X)) <= {"no", "yes"}
    assert network.score(X, labels) == network.history["validation_accuracy"][-1] > 0.8
    assert np.array_equal(network.parameters, train(X, Y, validation=(X, Y), epochs=20).parameters)


@pytest.mark.parametrize(
    "labels", [Y == 1, Y * 7 - 3, Y.astype(np.uint8), Y.tolist(), np.array(["b", "a"], object)[Y]]
)
def test_labels_of_any_kind(labels):
    network = train(X, labels)
    assert network.classes.tolist() == sorted(set(np.asarray(labels).tolist()))
    assert network.predict(X).dtype == network.classes.dtype


def test_a_single_column_of_outputs_and_several():
    target = X @ np.array([1.0, -2.0, 0.5])
    one = train(X, target, epochs=200, learning_rate=0.05)
    assert (one.layer_sizes[-1], one.loss_name, one.output_activation, one.classes) == (
        1,
        "squared_error",
        "identity",
        None,
    )
    assert one.predict(X).shape == (23, 1)
    assert one.history["loss"][-1] < 0.05 * one.history["loss"][0]
    two = train(X, np.stack([target, -target], 1), validation=(X, np.stack([target, -target], 1)))
    assert two.layer_sizes[-1] == 2
    assert list(two.history) == [*ALWAYS, "validation_loss"]


def test_several_labels_at_once():
    targets = np.stack([X[:, 0] > 0, X[:, 1] > 0], 1).astype(float)
    network = train(X, targets, loss="log_loss", output_activation="logistic", epochs=200, learning_rate=0.5)
    assert ((network.predict(X) > 0.5) == targets).mean() > 0.95


def test_dataset():
    pixels = np.random.default_rng(1).integers(0, 256, (30, 6), dtype=np.uint8)
    y = (pixels[:, 0] > 127).astype(np.int32)
    own = Dataset(pixels, y, np.array(["dark", "light"]), scale=1 / 255, shift=-0.5)
    network = train(own, validation=own)
    assert (network.input_scale, network.input_shift) == (1 / 255, -0.5)
    assert network.classes.tolist() == ["dark", "light"]
    assert network.history["validation_accuracy"][-1] == network.score(pixels, own.labels)
    by_hand = train(
        pixels, y, network=Network((6, 4, 2), classes=[0, 1], input_scale=1 / 255, input_shift=-0.5, seed=0)
    )
    assert np.array_equal(by_hand.parameters, network.parameters)
    with pytest.raises(ValueError, match="y must be None where X is a Dataset"):
        train(own, y)


def test_precision():
    assert train(X, Y).dtype == np.float32
    assert train(X.astype(np.float64), Y).dtype == np.float64
    assert train((X > 0).astype(np.uint8), Y).dtype == np.float32
    assert train((100 * X).astype(int), Y).dtype == np.float32
    assert train(X, Y, precision="float64").dtype == np.float64
    assert train(X.astype(np.float64), Y, precision="float32").dtype == np.float32


def test_integers_keep_their_precision():
    """2^24 + 1 is a float64, not a float32."""
    whole = np.full((4, 1), 2**24) + np.arange(4)[:, None]
    network = Network((1, 2), seed=0, dtype="float64")
    by_integers = train(whole, [0, 1, 0, 1], network=network, batch_size=4, epochs=1, learning_rate=1e-20)
    again = Network((1, 2), seed=0, dtype="float64")
    by_floats = train(
        whole.astype(float), [0, 1, 0, 1], network=again, batch_size=4, epochs=1, learning_rate=1e-20
    )
    assert by_integers.history["loss"] == by_floats.history["loss"]


def test_hidden_layers():
    assert train(X, Y, hidden_layer_sizes=()).layer_sizes == (3, 2)
    assert train(X, Y, hidden_layer_sizes=7).layer_sizes == (3, 7, 2)
    assert train(X, Y, hidden_layer_sizes=[7, 5]).layer_sizes == (3, 7, 5, 2)


def test_default_batch_is_clipped_to_the_set():
    assert (
        train(X, Y, batch_size=None, shuffle=False).history["loss"]
        == train(X, Y, batch_size=23, shuffle=False).history["loss"]
    )


# --- going on and stopping ------------------------------------------------------------------------


def test_a_network_is_trained_further():
    """Plain sgd has no memory but the parameters."""
    network = train(X, Y, epochs=2, shuffle=False)
    first = network.parameters.copy()
    again = train(X, Y, network=network, epochs=3, shuffle=False)
    assert again is network
    assert not np.array_equal(again.parameters, first)
    assert len(again.history["loss"]) == 3
    assert np.array_equal(again.parameters, train(X, Y, epochs=5, shuffle=False).parameters)


def test_further_training_takes_the_networks_classes():
    network = Network((3, 2), classes=["a", "b"], seed=0)
    train(X, np.array(["a"] * 23), network=network)
    with pytest.raises(DataError, match="y must hold labels known from training"):
        train(X, np.array(["c"] * 23), network=network)
    with pytest.raises(DataError, match="X must have 3 features, got 2"):
        train(X[:, :2], np.array(["a"] * 23), network=network)


def test_on_epoch_stops():
    seen = []

    def on_epoch(network, history):
        seen.append((network.parameters.copy(), dict(history), len(history["validation_loss"])))
        return len(seen) == 2

    network = train(X, Y, epochs=10, validation=(X, Y), on_epoch=on_epoch)
    assert [count for *_, count in seen] == [1, 2]
    assert len(network.history["loss"]) == 2
    assert np.array_equal(seen[-1][0], network.parameters)
    assert not np.array_equal(seen[0][0], network.parameters)


def test_on_epoch_may_raise():
    network = Network((3, 2), seed=0)

    def on_epoch(*_):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        train(X, Y, network=network, on_epoch=on_epoch)
    assert len(network.history["loss"]) == 1
    assert np.isfinite(network.step(X, Y))


def test_divergence_names_the_place_and_keeps_the_last_good_parameters(kernels, dtype):
    """The error grows about tenfold a step, so that a few epochs go well until the loss overflows."""
    good = []
    network = Network((3, 1), loss="squared_error", dtype=dtype, seed=0)
    with pytest.raises(
        TrainingDiverged,
        match=r"loss became (nan|inf) in epoch \d+, step \d+; the parameters are those after epoch",
    ) as caught:
        train(
            X, X[:, 0], network=network, learning_rate=11.0, epochs=100, plan=f"{kernels}:1x1",
            on_epoch=lambda network, _: good.append(network.parameters.copy()),
        )  # fmt: skip
    error = caught.value
    assert error.epoch == len(good) + 1 == len(network.history["loss"]) + 1 > 1
    assert 1 <= error.step <= 5
    assert f"in epoch {error.epoch}, step {error.step}" in str(error)
    assert "\n" not in str(error)
    assert isinstance(error, ValueError)
    assert np.array_equal(network.parameters, good[-1])
    assert np.isfinite(network.parameters).all()
    assert all(map(math.isfinite, network.history["loss"]))


def test_divergence_in_the_first_epoch_keeps_the_start():
    network = Network((3, 1), loss="squared_error", seed=0)
    before = network.parameters.copy()
    with pytest.raises(TrainingDiverged) as caught:
        train(1e15 * X, X[:, 0], network=network, learning_rate=1.0)
    assert caught.value.epoch == 1
    assert np.array_equal(network.parameters, before)


def test_the_step_that_diverged_is_counted_from_1():
    rows = np.array([[1], [1], [1e20], [1]], np.float32)  # the third minibatch overflows
    with pytest.raises(TrainingDiverged) as caught:
        train(
            rows,
            np.ones(4, np.float32),
            hidden_layer_sizes=(),
            batch_size=1,
            shuffle=False,
            learning_rate=1e-6,
        )
    assert (caught.value.epoch, caught.value.step) == (1, 3)


def test_weights_that_overflow_in_the_last_step_are_not_kept():
    network = Network((1, 1), loss="squared_error", seed=0)
    before = network.parameters.copy()
    with pytest.raises(TrainingDiverged):
        train([[1e18]], [1.0], network=network, batch_size=1, epochs=1, learning_rate=1e30)
    assert np.array_equal(network.parameters, before)


# --- what is refused ------------------------------------------------------------------------------

AT_LEAST_1 = "must be an integer of at least 1, got"
RATE = "learning_rate must be positive and finite, got"
PAIR = r"validation must be a pair \(X, y\) or a Dataset, got"

REFUSED = {
    "batch larger than the set": (
        {"batch_size": 24},
        "batch_size must be at most the number of examples, 23, got 24",
    ),
    "empty batch": ({"batch_size": 0}, f"batch_size {AT_LEAST_1} 0"),
    "half a batch": ({"batch_size": 2.5}, f"batch_size {AT_LEAST_1} 2.5"),
    "no epochs": ({"epochs": 0}, f"epochs {AT_LEAST_1} 0"),
    "zero rate": ({"learning_rate": 0}, f"{RATE} 0"),
    "negative rate": ({"learning_rate": -0.1}, f"{RATE} -0.1"),
    "nan rate": ({"learning_rate": float("nan")}, f"{RATE} nan"),
    "infinite rate": ({"learning_rate": float("inf")}, f"{RATE} inf"),
    "zero hidden units": ({"hidden_layer_sizes": (4, 0)}, f"hidden_layer_sizes {AT_LEAST_1} 0"),
    "precision": (
        {"precision": "half"},
        "precision must be one of auto, float32, float64, tf32, bfloat16, got 'half'",
    ),
    "plan": ({"plan": "fast"}, "plan must be .*, got 'fast'"),
    "threads": ({"n_jobs": 0}, "n_jobs must be None or a non-zero integer, got 0"),
    "too many threads": ({"plan": "native:2x2", "n_jobs": 3}, "needs 4 threads, 3 allowed"),
    "init": ({"init": "zeros"}, "init must be one of .*, got 'zeros'"),
    "activation": ({"activation": "softmax"}, "activation must be one of .*, got 'softmax'"),
    "loss": ({"loss": "entropy"}, "loss must be one of .*, got 'entropy'"),
    "loss of numbers": ({"loss": "poisson"}, "loss must be one of .* for labels .*, got 'poisson'"),
    "schedule": ({"schedule": "sine"}, "schedule must be a Schedule or one of .*, got 'sine'"),
    "plateau": ({"schedule": "adaptive"}, "schedule Adaptive.* needs patience"),
    "patience": ({"patience": 2}, "patience needs validation examples"),
    "no patience": ({"patience": 0, "validation": (X, Y)}, f"patience {AT_LEAST_1} 0"),
    "dropout": ({"dropout": 1.0}, r"dropout must be in \[0, 1\), .*, got 1.0"),
    "dropouts": ({"dropout": (0.1, 0.2)}, "one for each of the 1 hidden layers"),
    "clipping": ({"clip_norm": -1.0}, "clip_norm must be positive and finite, or None, got -1.0"),
    "weights": ({"sample_weight": np.ones(3)}, r"sample_weight must have 23 entries, .* got shape \(3,\)"),
    "negative weight": ({"sample_weight": -np.ones(23)}, "sample_weight must be >= 0 and finite, got -1.0"),
    "no weight": ({"sample_weight": np.zeros(23)}, "sample_weight must not be zero for every example"),
    "class weight": ({"class_weight": {5: 2.0}}, r"class_weight must name labels among \[0, 1\], got 5"),
    "class weights": (
        {"class_weight": "even"},
        "class_weight must be 'balanced', a dict or None, got 'even'",
    ),
    "negative class weight": ({"class_weight": {0: -1}}, "class_weight must hold weights >= 0 and finite"),
    "output": (
        {"output_activation": "relu"},
        "output_activation with log_loss must be softmax or logistic, got 'relu'",
    ),
    "validation labels": (
        {"validation": (X, Y + 5)},
        "validation y must hold labels known from training .* got .*[56]",
    ),
    "validation features": ({"validation": (X[:, :2], Y)}, "validation X must have 3 features, got 2"),
    "validation rows": ({"validation": (X, Y[:-1])}, "validation y must have 23 entries"),
    "validation of four": ({"validation": (X, Y, Y, Y)}, f"{PAIR} 4 items"),
    "validation weights": ({"validation": (X, Y, Y[1:])}, "validation sample_weight must have 23 entries"),
    "validation list": ({"validation": [X, Y]}, PAIR),
    "validation without y": ({"validation": X}, PAIR),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        train(X, Y, **options)
    assert "\n" not in str(caught.value)


BAD_DATA = {
    "no y": ((X,), "y must be given where X is not a Dataset"),
    "rows": ((X, Y[:-1]), r"y must have 23 entries, one an example, got shape \(22,\)"),
    "empty": ((X[:0], Y[:0]), "X must hold at least one example|y must hold at least 2 classes"),
    "one class": ((X, np.zeros(23, int)), "y must hold at least 2 classes, got 1"),
    "nan": ((np.where(X > 1, np.nan, X), Y), "X must be finite, got nan in row"),
    "infinity": ((np.where(X > 1, np.inf, X), Y), "X must be finite, got inf in row"),
    "nan target": ((X, np.where(Y, np.nan, 0.0)), "y must be finite, got nan"),
    "one dimension": ((X[:, 0], Y), "X must have 2 dimensions"),
    "text": ((X.astype(str), Y), "X must hold real numbers, got dtype <U"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(case):
    data, message = BAD_DATA[case]
    with pytest.raises(ValueError, match=message) as caught:
        train(*data)
    assert "\n" not in str(caught.value)
    assert case == "no y" or isinstance(caught.value, DataError)


def test_a_refused_training_leaves_the_network_alone():
    network = train(X, Y)
    before, history = network.parameters.copy(), network.history
    for options in (
        {"batch_size": 99},
        {"plan": "native:9x1", "n_jobs": 2},
        {"validation": (X, Y + 9)},
        {"alpha": -1},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            train(X, Y, network=network, **options)
    assert np.array_equal(network.parameters, before)
    assert network.history is history


# --- learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.3},
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        {"learning_rate": 0.003, "solver": "adam"},
        {"learning_rate": 2.0, "activation": "logistic", "loss": "squared_error"},
        {"learning_rate": 0.3, "activation": "tanh", "precision": "float64", "plan": "gemm:1x1"},
        {"learning_rate": 0.3, "plan": "gemv:2x1"},
        {"learning_rate": 0.3, "plan": "naive:2x1"},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_digits(digits, options):
    """Real digits, in about a second or less."""
    network = schuss.train(
        *(digits.X, digits.y),
        validation=(digits.X_test, digits.y_test),
        on_epoch=lambda _, history: history["validation_accuracy"][-1] >= 0.97,
        **{"hidden_layer_sizes": 64, "batch_size": 16, "epochs": 30, "n_jobs": MANY} | options,
    )
    assert network.score(digits.X_test, digits.y_test) >= 0.95
    assert network.history["loss"][-1] < network.history["loss"][0]
