"""Pictures of a training: what is drawn of which history."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import clean_environment

from schuss.plotting import HistoryDisplay, plot_history

pytest.importorskip("matplotlib").use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")

LOSS = [0.9, 0.5, 0.4, 0.35]
SCORE = [0.5, 0.8, 0.8, 0.7]


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_every_series_in_its_panel():
    history = {
        "loss": LOSS,
        "validation_loss": [1.0, 0.7, 0.6, 0.8],
        "validation_score": SCORE,
        "learning_rate": [0.1, 0.1, 0.02, 0.02],
        "epoch_seconds": [0.5] * 4,
        "gflops": [1.0] * 4,
    }
    display = HistoryDisplay(history, score_name="accuracy").plot()
    loss, score, rate = display.axes_
    assert [axes.get_ylabel() for axes in display.axes_] == ["loss", "accuracy", "learning rate"]
    assert [axes.get_xlabel() for axes in display.axes_] == ["", "", "epoch"]
    assert loss.get_title(loc="right") == "4 epochs in 2 s"
    assert {name: line.axes for name, line in display.lines_.items()} == {
        "loss": loss,
        "validation_loss": loss,
        "validation_score": score,
        "learning_rate": rate,
    }
    for name, line in display.lines_.items():
        assert line.get_xdata().tolist() == [1, 2, 3, 4]
        assert line.get_ydata().tolist() == history[name]
    assert labels(loss) == ["training", "validation", "best epoch, 2"]
    assert labels(score) == ["validation", "best epoch, 2: 0.8"]  # the first of two that are equal
    assert display.best_epoch_ == 2
    assert display.figure_ is loss.figure
    display.figure_.canvas.draw()


def test_only_what_there_is():
    display = plot_history({"loss": LOSS, "learning_rate": [0.1] * 4})
    assert len(display.axes_) == 1
    assert list(display.lines_) == ["loss"]
    assert display.best_epoch_ is None
    assert labels(display.axes_[0]) == ["training"]
    display.figure_.canvas.draw()


def test_best_epoch_by_validation_loss_where_there_is_no_score():
    display = plot_history({"loss": LOSS, "validation_loss": [0.9, float("nan"), 0.6, 0.7]})
    assert display.best_epoch_ == 3
    assert labels(display.axes_[0])[-1] == "best epoch, 3: 0.6"


def test_a_validation_that_began_later_ends_with_the_training():
    display = plot_history({"loss": LOSS, "validation_score": [0.7, 0.6]})
    assert display.lines_["validation_score"].get_xdata().tolist() == [3, 4]
    assert display.best_epoch_ == 3
    assert labels(display.axes_[1])[-1] == "best epoch, 3: 0.7"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (SimpleNamespace(history_={"loss": LOSS, "validation_score": SCORE}, classes_=[0, 1]), "accuracy"),
        (SimpleNamespace(history_={"loss": LOSS, "validation_score": SCORE}, score=len), "R²"),
        (SimpleNamespace(history={"loss": LOSS, "validation_accuracy": SCORE}), "accuracy"),
        ({"loss": LOSS, "validation_score": SCORE}, "score"),
    ],
)
def test_models_of_every_kind(model, name):
    assert plot_history(model).axes_[1].get_ylabel() == name


def test_a_trained_network_is_drawn(rng):
    import schuss

    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    network = schuss.train(X, y, hidden_layer_sizes=4, epochs=3, validation=(X, y))
    assert plot_history(network).lines_["loss"].get_ydata().tolist() == network.history["loss"]


def test_scales_that_show_the_end():
    falling = plot_history({"loss": [2.0, 0.1, 0.01], "learning_rate": [1, 0.01, 0.001]})
    assert [axes.get_yscale() for axes in falling.axes_] == ["log", "log"]
    level = plot_history({"loss": [2.0, 0.1, 0.0], "learning_rate": [1, 0.5, 0.001]})
    assert [axes.get_yscale() for axes in level.axes_] == ["linear", "linear"]


def test_given_axes():
    history = {"loss": LOSS, "validation_score": SCORE}
    figure, (left, right) = pyplot.subplots(1, 2)
    display = plot_history(history, ax=left)
    assert display.figure_ is figure
    assert len(figure.axes) == 4  # both given ones, and the panels in the place of the first
    assert not left.axison
    assert right.axison
    figure, pair = pyplot.subplots(2, 1)
    assert list(plot_history(history, ax=pair).axes_) == list(pair)
    assert list(plot_history({"loss": LOSS}, ax=right).axes_) == [right]


def test_what_is_refused():
    history = {"loss": LOSS, "validation_score": SCORE}
    with pytest.raises(ValueError, match=r"ax must be 2 Axes \(loss, score\), got 3"):
        plot_history(history, ax=pyplot.subplots(3)[1])
    with pytest.raises(ValueError, match=r"ax must be part of a grid of subplots, or 2 Axes"):
        plot_history(history, ax=pyplot.figure().add_axes([0, 0, 1, 1]))
    with pytest.raises(
        ValueError, match=r"history must hold the loss of at least one epoch, got an empty one"
    ):
        plot_history({})
    with pytest.raises(TypeError, match=r"model must be a fitted estimator, a network or a history, got int"):
        plot_history(3)


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"^plot_history needs matplotlib: pip install 'schuss\[plot\]'$"):
        plot_history({"loss": LOSS})


def test_matplotlib_is_imported_when_something_is_drawn():
    code = "import sys, schuss.plotting; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, env=clean_environment())
