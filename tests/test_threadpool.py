"""threadpoolctl finds and limits the native core's threads."""

import ctypes
import os
import shutil

import numpy as np
import pytest
import threadpoolctl
from conftest import run
from threadpoolctl import threadpool_info, threadpool_limits

import schuss
from schuss import _core, threadpool
from schuss._core import thread_limit as limit
from schuss.engine import chosen_isa
from schuss.plan import allowed_threads


def listed():
    return [library for library in threadpool_info() if library["user_api"] == "schuss"]


@pytest.fixture(autouse=True)
def unlimited():
    threadpool.register()
    assert limit() == 0
    yield
    ctypes.CDLL(_core.__file__).schuss_set_num_threads(0)


def test_registered_once(monkeypatch):
    calls = []
    monkeypatch.setattr(threadpoolctl, "register", calls.append)
    threadpool.register.cache_clear()
    threadpool.register()
    threadpool.register()
    assert calls == [threadpool.ThreadController]


def test_the_core_is_listed():
    (core,) = listed()
    assert core["internal_api"] == "schuss"
    assert core["version"] == schuss.__version__
    assert core["num_threads"] == allowed_threads()
    assert core["architecture"] == chosen_isa()
    assert core["filepath"] == _core.__file__


@pytest.mark.parametrize(
    "arguments", [{"limits": 1}, {"limits": 1, "user_api": "schuss"}, {"limits": {"schuss": 1}}]
)
def test_a_limit_holds_in_its_block(arguments):
    with threadpool_limits(**arguments):
        assert limit() == 1
        assert allowed_threads() == 1
        assert listed()[0]["num_threads"] == 1
    assert limit() == 0
    assert listed()[0]["num_threads"] == allowed_threads()


def test_the_end_of_a_block_lifts_the_limit_instead_of_freezing_the_default():
    with threadpool_limits(limits=3):
        with threadpool_limits(limits=2):
            assert limit() == 2
        assert limit() == 3
    assert limit() == 0


def test_a_default_from_the_environment_does_not_become_a_limit(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with threadpool_limits(limits=1):
        pass
    assert limit() == 0
    assert allowed_threads(2) == 2


def test_a_limit_equal_to_the_default_is_a_limit():
    with threadpool_limits(limits=allowed_threads()):
        assert limit() == allowed_threads()


def test_blas_alone_can_be_limited():
    with threadpool_limits(limits=1, user_api="blas"):
        assert limit() == 0


def test_limits_below_one_are_refused():
    with pytest.raises(ValueError, match=r"threads must be at least 1, got 0"):
        threadpool_limits(limits=0, user_api="schuss")


def test_bad_environment_does_not_break_the_list(monkeypatch):
    monkeypatch.setenv("SCHUSS_ISA", "abacus")
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    (core,) = listed()
    assert core["architecture"] is None
    assert core["num_threads"] >= 1


def test_another_packages_library_of_the_same_name_is_left_alone(tmp_path):
    foreign = tmp_path / "_core.foreign.so"
    shutil.copy(np.random.bit_generator.__file__, foreign)
    ctypes.CDLL(str(foreign))
    threadpoolctl.reset_cached_controller() if hasattr(threadpoolctl, "reset_cached_controller") else None
    assert [core["filepath"] for core in listed()] == [_core.__file__]


TRAINING = """
from threadpoolctl import threadpool_limits

def threads():
    return len(os.listdir("/proc/self/task"))

def started():
    before, during = threads(), []
    schuss.train(X[:512], y[:512], n_jobs=2, epochs=1, on_epoch=lambda *_: during.append(threads()))
    return during[0] - before

started()  # libraries that are loaded late bring threads of their own
with threadpool_limits(limits=1):
    say(started())
say(started())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="threads are counted as Linux lists them")
def test_a_limited_training_starts_no_thread_whatever_n_jobs_is():
    assert run(TRAINING).split() == ["0", "1"]
