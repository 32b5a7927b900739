"""The team of threads: fork, trainings side by side, more threads than cores, joblib.

What may hang runs in a child process, and ends with it after a time limit.
"""

import os
import sys
import threading
import time

import numpy as np
import pytest
from conftest import LIMIT, MANY, run

import schuss
from schuss import Network

# --- fork -----------------------------------------------------------------------------------------

FORK = """
import traceback

def in_child():
    small, labels = np.random.default_rng(0).integers(0, 256, (256, 64), dtype=np.uint8), y[:256]
    used.step(small, labels)            # its engine, and the team, were made before
    used.predict(small)
    fresh = Network((64, 64, 10), seed=0, plan=plan, n_jobs=4)
    schuss.train(small, labels, network=fresh, epochs=2, plan=plan, n_jobs=4)
    assert np.isfinite(fresh.parameters).all() and np.isfinite(used.parameters).all()
    net.predict(small)                  # the network that the parent trains

def fork():
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            in_child()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hung"

plan = sys.argv[1]
make(plan)
used = Network((64, 64, 10), seed=0, plan=plan, n_jobs=4)
enough = threading.Event()

def forward():
    while not enough.is_set():
        used.predict(X[:2000])

def learn():
    train(X[:2000], y[:2000], on_epoch=lambda *_: enough.is_set())

threads = [threading.Thread(target=forward), threading.Thread(target=learn)]
for thread in threads:
    thread.start()
for attempt in range(4):
    time.sleep(0.1)
    say("child", fork())
enough.set()
for thread in threads:
    thread.join()
say("parent", net.predict(X[:8]).shape)
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="threads and fork do not mix there")
@pytest.mark.parametrize("plan", ["native:2x1", "native:1x2", "naive:2x1", "gemm:1x1"])
def test_fork_while_another_thread_trains(plan):
    lines = run(FORK, plan).splitlines()
    assert lines == ["child 0"] * 4 + ["parent (8,)"]


RESULTS = """
X, y = np.random.default_rng(0).random((64, 9), np.float32), np.arange(64) % 3
for plan in sys.argv[1:]:
    net = Network((9, 40, 3), seed=0, plan=plan, n_jobs=4)
    net.step(X, y)
    reading, writing = os.pipe()
    if os.fork() == 0:
        net.step(X, y)
        os.write(writing, net.parameters.tobytes())
        os._exit(0)
    net.step(X, y)
    child = os.read(reading, 10**6)
    assert os.wait()[1] == 0
    print(child == net.parameters.tobytes())
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="threads and fork do not mix there")
def test_results_of_a_child_are_the_parents():
    assert run(RESULTS, "native:3x1", "native:1x2", "naive:2x1", "gemv:2x1").split() == ["True"] * 4


# --- side by side ---------------------------------------------------------------------------------


def data(seed):
    rng = np.random.default_rng(seed)
    return rng.random((400, 30), np.float32), rng.integers(0, 5, 400)


def trained(seed, plan):
    return schuss.train(
        *data(seed), hidden_layer_sizes=(64, 32), batch_size=50, epochs=10, seed=seed, plan=plan, n_jobs=MANY
    )


@pytest.mark.parametrize("plan", ["native:2x1", "native:1x2", "naive:2x1", "gemm:1x1"])
def test_trainings_in_python_threads_are_those_alone(plan):
    alone = [trained(seed, plan).parameters.tobytes() for seed in range(3)]
    together = {}
    threads = [
        threading.Thread(
            target=lambda seed=seed: together.update({seed: trained(seed, plan).parameters.tobytes()})
        )
        for seed in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert [together.get(seed) for seed in range(3)] == alone


def test_one_network_in_several_threads():
    """Passes over the same network wait for each other and are right."""
    X, _ = data(0)
    network = Network((30, 64, 5), seed=0, plan="native:2x1", n_jobs=MANY)
    wanted, wrong = network.forward(X).tobytes(), []

    def work():
        for rows in (400, 7, 200):
            wrong.append(network.forward(X[:rows]).tobytes() != wanted[: rows * 5 * 4])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert wrong == [False] * 12


def test_python_goes_on_while_training():
    """The core works without the GIL."""
    X, y = np.zeros((2000, 256), np.float32), np.arange(2000) % 10
    thread = threading.Thread(
        target=schuss.train,
        args=(X, y),
        kwargs={"hidden_layer_sizes": (1024,), "epochs": 2, "plan": "naive:1x1"},
    )
    thread.start()
    longest, last = 0.0, time.perf_counter()
    while thread.is_alive():
        time.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    thread.join()
    assert longest < 0.5


@pytest.mark.parametrize(
    "plan", ["native:16x1", "native:1x16", "native:4x4", "naive:16x1", "naive:1x8", "gemm:16x1"]
)
def test_more_threads_than_cores_finish_promptly(plan):
    X, y = data(0)
    began = time.perf_counter()
    network = schuss.train(X, y, hidden_layer_sizes=(64,), batch_size=100, epochs=5, plan=plan, n_jobs=16)
    assert np.isfinite(network.parameters).all()
    assert time.perf_counter() - began < 10


def test_many_engines_leave_no_threads_behind():
    before = (
        threading.active_count(),
        len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0,
    )
    for seed in range(20):
        trained(seed, "native:4x1") if seed < 2 else Network((5, 3), plan="native:4x1", n_jobs=4).forward(
            np.ones((9, 5))
        )
    after = (
        threading.active_count(),
        len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0,
    )
    assert after[0] == before[0]
    assert after[1] <= before[1]


# --- joblib ---------------------------------------------------------------------------------------

JOBLIB = """
from joblib import Parallel, delayed
from schuss.plan import allowed_threads

X, y = np.random.default_rng(0).random((200, 20), np.float32), np.arange(200) % 3

def fit(seed):
    network = schuss.train(X, y, hidden_layer_sizes=(32,), epochs=3, seed=seed, n_jobs=2, plan="native:2x1")
    return network, allowed_threads()

if __name__ == "__main__":
    alone = [fit(seed)[0].parameters.tobytes() for seed in range(4)]
    for backend in ("loky", "threading"):
        results = Parallel(n_jobs=2, backend=backend)(delayed(fit)(seed) for seed in range(4))
        print([network.parameters.tobytes() for network, _ in results] == alone, flush=True)
        if backend == "loky":
            print(all(threads <= max(1, allowed_threads() // 2) for _, threads in results), flush=True)
"""


def test_joblib():
    assert run(JOBLIB).split() == ["True", "True", "True"]
