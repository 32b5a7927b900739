"""What a training prints under verbose: scikit-learn's lines off a terminal, a bar on one."""

import os
import pty
import re
import select
import subprocess
import sys

import numpy as np
import pytest
from conftest import clean_environment
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from schuss.progress import training_progress


def replay(losses, scores, plateau, epochs=50):
    """Report a training with these losses and scores."""
    history = {"loss": []}
    with training_progress(True, epochs) as progress:
        for i, loss in enumerate(losses):
            history["loss"].append(loss)
            if scores is not None:
                history.setdefault("validation_score", []).append(scores[i])
            progress.epoch(history)
        if plateau:
            progress.plateau(*plateau)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_lines_are_scikit_learns(capsys, rng, early_stopping):
    X = rng.normal(size=(60, 3))
    theirs = MLPClassifier(
        (4,),
        max_iter=50,
        n_iter_no_change=3,
        tol=0.5,
        verbose=True,
        random_state=0,
        early_stopping=early_stopping,
    ).fit(X, np.arange(60) % 2)
    wanted = capsys.readouterr()
    scores = theirs.validation_scores_ if early_stopping else None
    replay(theirs.loss_curve_, scores, (early_stopping, 0.5, 3, None, False))
    got = capsys.readouterr()
    assert got.out == wanted.out
    assert got.err == ""
    assert ("Validation score: " in got.out) == early_stopping
    assert got.out.endswith("consecutive epochs. Stopping.\n")


def test_what_follows_a_plateau_is_said_as_scikit_learn_says_it(capsys, rng):
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    options = {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 10.0,
        "n_iter_no_change": 1,
        "max_iter": 9,
    }
    with pytest.warns(ConvergenceWarning):
        MLPClassifier((4,), learning_rate_init=0.03, verbose=True, random_state=0, **options).fit(X, y)
    MLPClassifier((4,), learning_rate_init=1e-6, verbose=True, random_state=0, **options).fit(X, y)
    wanted = [line for line in capsys.readouterr().out.splitlines() if "improve" in line]
    with training_progress(1, 9) as progress:
        for rate in (0.006, 0.0012, 0.00024, 0.000048):
            progress.plateau(False, 10.0, 1, rate, True)
        progress.plateau(False, 10.0, 1, None, True)
    got = capsys.readouterr().out.splitlines()
    assert got[0] == wanted[0]
    assert got[0].endswith("Setting learning rate to 0.006000")
    assert got[1] == wanted[1]
    assert got[-1] == wanted[-1]
    assert got[-1].endswith("Learning rate too small. Stopping.")


@pytest.mark.parametrize("verbose", [False, 0, None])
def test_silence(capsys, verbose):
    with training_progress(verbose, 3) as progress:
        progress.epoch({"loss": [1.0], "validation_score": [0.5]})
        progress.sentence("nobody hears this")
        progress.plateau(False, 0.1, 3, None, False)
    assert capsys.readouterr() == ("", "")


TRAINING = """
import sys, time
from schuss.progress import training_progress

history = {"loss": [], "validation_score": []}
with training_progress(%s, 4) as progress:
    for epoch in range(3):
        history["loss"].append(1 / (epoch + 1))
        history["validation_score"].append(0.9 + epoch / 100)
        progress.epoch(history)
    progress.sentence("Stopping [early].")
assert ("rich" in sys.modules) == %s
"""


def on_terminal(verbose=True, bar=True, **environment):
    """What the training writes to a terminal on stderr, and to stdout, a pipe."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING % (verbose, bar)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=clean_environment(**({"TERM": "xterm", "COLUMNS": "100"} | environment)),
    )
    os.close(theirs)
    seen = b""
    try:
        while select.select([ours], [], [], 30)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                break
        out = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        os.close(ours)
    assert process.returncode == 0, seen.decode()
    return seen.decode(), out


def test_a_bar_on_a_terminal():
    screen, out = on_terminal()
    assert out == ""
    assert "Stopping [early]." in screen
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).replace("\r", "\n").split("\n")
    last = next(line for line in reversed(last) if line.startswith("epoch"))
    assert "3/4" in last
    assert "loss 0.3333" in last
    assert "score 0.9200" in last
    assert "\x1b[3" in screen  # colour


def test_no_colour_where_none_is_wanted():
    screen, _ = on_terminal(NO_COLOR="1")
    assert "3/4" in screen
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", screen)


def test_no_bar_on_a_terminal_that_cannot_draw_one():
    screen, out = on_terminal(bar=False, TERM="dumb")
    assert screen == ""
    assert out.splitlines()[-3:] == [
        "Iteration 3, loss = 0.33333333",
        "Validation score: 0.920000",
        "Stopping [early].",
    ]


def test_no_bar_and_no_rich_when_nothing_is_to_be_said():
    assert on_terminal(verbose=False, bar=False) == ("", "")


def test_no_bar_off_a_terminal_whatever_the_environment_forces():
    done = subprocess.run(
        [sys.executable, "-c", TRAINING % (True, False)],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(FORCE_COLOR="1", TERM="xterm"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("Iteration 1, loss = 1.00000000\nValidation score: 0.900000\nIteration 2")
