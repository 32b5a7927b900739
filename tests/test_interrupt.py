"""Ctrl-C stops whatever runs within a second, and what was learnt until then is kept."""

import os

import pytest
from conftest import Child

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

IN_MAIN_THREAD = """
for plan in sys.argv[1:]:
    make(plan)
    say(plan)
    try:
        train()
    except KeyboardInterrupt:
        say("stopped")
    check()
"""


@pytest.mark.parametrize(
    "plans",
    [
        ("native:1x1", "native:2x1", "native:1x2", "native:4x1"),
        ("naive:1x1", "naive:1x2"),
        ("gemm:1x1", "gemm:2x1", "gemv:1x2"),
    ],
)
def test_interrupt(plans):
    with Child(IN_MAIN_THREAD, *plans) as child:
        for plan in plans:
            assert child.line() == plan
            child.interrupt()
            assert child.line() == "usable"
        child.ends_well()


PASSES = """
make("naive:1x1")
for work in (lambda: net.predict(X), lambda: net.loss(X, y), lambda: net.gradient(X, y)):
    say("running")
    try:
        work()
    except KeyboardInterrupt:
        say("stopped")
"""


def test_interrupt_of_passes_without_learning():
    with Child(PASSES) as child:
        for _ in range(3):
            assert child.line() == "running"
            child.interrupt()
        child.ends_well()


OFF_MAIN_THREAD = """
def work():
    say(plan)
    try:
        train()
    except KeyboardInterrupt:
        say("stopped")
    done.set()

for plan in sys.argv[1:]:
    make(plan)
    done = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():  # an interrupted join would take the thread for ended
        try:
            done.wait(0.05)
        except KeyboardInterrupt:
            pass
    thread.join()
    check()
"""


def test_interrupt_off_the_main_thread():
    plans = ("native:2x1", "naive:1x1", "gemm:1x1")
    with Child(OFF_MAIN_THREAD, *plans) as child:
        for plan in plans:
            assert child.line() == plan
            child.interrupt()
            assert child.line() == "usable"
        child.ends_well()


def test_interrupt_of_short_epochs_off_the_main_thread():
    """Epochs shorter than the time between two polls."""
    code = OFF_MAIN_THREAD.replace("  train()\n", "  train(X[:64], y[:64])\n")
    with Child(code.replace("check()", ""), "native:1x1") as child:
        assert child.line() == "native:1x1"
        child.interrupt()


HANDLED = """
import signal
signal.signal(signal.SIGINT, lambda *_: say("handled"))
make("native:1x1")
say("training")
train(X[:12000], y[:12000], epochs=1)
say(len(net.history["loss"]))
"""


def test_a_handler_of_ones_own_decides():
    """A program that handles SIGINT itself is not interrupted, and its handler runs."""
    with Child(HANDLED) as child:
        assert child.line() == "training"
        child.interrupt("handled")
        assert child.ends_well() == "1\n"
