"""What the tests share: the table of tolerances, plans, instruction sets, problems with their oracle."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest

from schuss import Network, _core, _reference, cuda
from schuss.activations import HIDDEN_ACTIVATIONS
from schuss.losses import Loss
from schuss.plan import Plan

# Examples are drawn alike in every run; `--hypothesis-profile long` looks further.
hypothesis.settings.register_profile("quick", max_examples=25, deadline=None, database=None, derandomize=True)
hypothesis.settings.register_profile("long", max_examples=1000, deadline=None, database=None)
hypothesis.settings.load_profile("quick")

# --- Tolerances -----------------------------------------------------------------------------------
#
# u is the unit roundoff. A chain of n fused multiply-adds errs by at most n u, and, its roundings being
# independent, by about sqrt(n) u. The longest problems here pass 2 L = 4 chains of n <= 1050:
#     float32: about sqrt(4 * 1050) u = 65 u = 4e-6 of the norm; 168 u = 1e-5 allowed.
#     float64: at most 4 * 1050 u = 4200 u = 5e-13 of the norm; 9007 u = 1e-12 allowed.
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}

TOLERANCE = {
    # ||g - ref|| / ||ref||, also of losses and outputs, which pass half as many chains
    ("gradient", "float32"): 1e-5,
    ("gradient", "float64"): 1e-12,
    # parameters after a few tens of steps: each adds rate * gradient with the error above
    ("training", "float32"): 30 * 1e-5,
    ("training", "float64"): 30 * 1e-12,
    # (f(x + h) - f(x - h)) / 2h with h = u^(1/3) = 5e-6 errs by h^2 / 6 of the third derivative and u / h of
    # f, 4e-12 and 2e-11 where those are near 1; of a gradient of norm 0.01 or more
    ("differences", "float64"): 1e-8,
}
DIFFERENCE = UNIT["float64"] ** (1 / 3)

#: Most ulp between an elementary function and its value; exp, logistic and tanh are promised to 2.
ULPS = {"exp": 2.0, "logistic": 2.0, "tanh": 2.0, "log": 2.0, "softplus": 4.0, "expm1": 2.0}


def softmax_tolerance(outputs, dtype):
    """How far a softmax row's sum may be from 1: each of n terms is within (n + 4) eps of its own size."""
    return (outputs + 4) * 2 * UNIT[dtype]


def distance(got, wanted, scale=None):
    """||got - wanted|| / ||scale||; scale is `wanted` unless its terms cancel. 0 / 0 counts as 0."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    off = np.linalg.norm(got - wanted)
    return 0.0 if off == 0 else off / np.linalg.norm(wanted if scale is None else scale)


# --- Plans, instruction sets, activations and losses ----------------------------------------------

DTYPES = ("float32", "float64")
KERNELS = ("naive", "gemv", "gemm", "native")
HIDDEN = HIDDEN_ACTIVATIONS
#: Where f' jumps.
KINKS = {"relu": (0,), "leaky_relu": (0,), "selu": (0,), "hardtanh": (-1, 1)}
#: Every loss with every output activation that it takes.
OUTPUTS = (
    ("squared_error", "identity"),
    ("squared_error", "logistic"),
    ("squared_error", "tanh"),
    ("squared_error", "relu"),
    ("log_loss", "softmax"),
    ("log_loss", "logistic"),
    ("focal", "softmax"),
    ("focal", "logistic"),
    ("poisson", "exp"),
    ("gamma", "exp"),
    ("absolute_error", "identity"),
    ("huber", "identity"),
    ("quantile", "identity"),
    ("hinge", "identity"),
)
#: Each hidden activation, and each loss and output, at least once.
FORMULAS = (
    *((f, *OUTPUTS[4]) for f in HIDDEN),
    *(("tanh", *output) for output in OUTPUTS),
)
LOSS_NUMBERS = {
    "huber": {"huber_delta": 0.6},
    "quantile": {"quantiles": (0.3,)},
    "focal": {"focal_gamma": 1.5},
}
#: Plans whose results are compared with the oracle: more threads than the cores of a small machine, too.
PLANS = (
    *(f"{kernels}:{cut}" for kernels in KERNELS for cut in ("1x1", "2x1", "1x2")),
    "naive:3x2",
    "gemv:3x1",
    "gemm:4x1",
    "native:3x2",
)
#: Plans for a GPU: the machine's, else one that is emulated on the host (fixture `gpu`).
GPU_PLANS = ("cuda", "cuda-naive")
#: Plans of `native` that give the same bits.
SAME_BITS = tuple(f"native:{cut}" for cut in ("1x1", "2x1", "1x2", "3x1", "1x3", "2x2", "4x1"))
#: Threads that tests allow themselves, whatever the machine has.
MANY = 8

ISAS = tuple(name for name, _, _, available in _core.isas() if available)
FUSED_ISAS = tuple(name for name, _, fused, available in _core.isas() if available and fused)


@pytest.fixture(scope="session")
def _gpu():
    if cuda.available():
        return cuda.device()
    from cuda_host import build

    if build.why_not():
        pytest.skip(build.why_not())
    from cuda_host.device import HostDevice  # compiles the kernels with this machine's compiler

    return HostDevice(seed=2)  # blocks, warps and nodes in drawn orders, others each time


@pytest.fixture
def gpu(_gpu, monkeypatch):
    """GPU 0, or one emulated on the host where there is none."""
    monkeypatch.setattr(cuda, "device", lambda number=0: _gpu)
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "")
    return _gpu


@pytest.fixture(autouse=True)
def _gpu_for_its_plans(request):
    spec = getattr(request.node, "callspec", None)
    if spec is not None and spec.params.get("plan") in GPU_PLANS:
        request.getfixturevalue("gpu")


# --- Problems with their oracle -------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """A network's arguments, its parameters, a minibatch, and what the oracle says of them."""

    options: dict
    parameters: np.ndarray
    X: np.ndarray
    y: np.ndarray
    loss: float
    gradient: np.ndarray
    magnitude: np.ndarray  # mean over the examples of |gradient|: what rounding errors are proportional to
    outputs: np.ndarray

    def network(self, plan="native:1x1", **changed):
        network = Network(**(self.options | {"plan": plan, "n_jobs": MANY} | changed))
        network.parameters = self.parameters
        return network


def dense(y, outputs):
    """Class numbers (n,) one-hot, or as a column for one output; matrices as they are."""
    if y.ndim == 2:
        return np.asarray(y, np.float64)
    return y[:, None].astype(float) if outputs == 1 else np.eye(outputs)[y]


def oracle(layers, activations, loss, flat, X, Y):
    """Mean loss, flat gradient and mean |gradient| by the printed algorithms."""
    weights, biases = layers(np.asarray(flat, np.float64))
    total, sums, sizes = 0.0, 0.0, 0.0
    for x, y in zip(np.asarray(X, np.float64), Y, strict=True):
        value, dW, db = _reference.gradient(weights, biases, activations, loss, x[None], y[None])
        one = np.concatenate([part.ravel() for pair in zip(dW, db, strict=True) for part in pair])
        total, sums, sizes = total + value, sums + one, sizes + np.abs(one)
    return total / len(X), sums / len(X), sizes / len(X)


def biases_off_the_kink(rng, z):
    """Biases for relu layers: each unit on for some examples and off for others, |z + b| >= 0.01 for all."""
    ordered = np.sort(np.vstack([z.min(0) - 1, z, z.max(0) + 1]), axis=0)
    gap = np.diff(ordered, axis=0)
    if len(z) == 1:
        at = rng.integers(0, 2, z.shape[1])  # a single example: on or off
    else:
        at = 1 + np.argmax(gap[1:-1], axis=0)  # between two examples
        at = np.where(
            np.take_along_axis(gap, at[None], 0)[0] >= 0.02, at, rng.integers(0, 2, z.shape[1]) * len(z)
        )
    column = np.arange(z.shape[1])
    return -(ordered[at, column] + ordered[at + 1, column]) / 2


def biases_away(rng, z, kinks):
    """Of some biases the best: |z + b - kink| as large as may be, the values spread about all the kinks."""
    drawn = rng.uniform(-1.5, 1.5, (100, 1, z.shape[1]))
    nearest = np.min([np.abs(z + drawn - kink).min(1) for kink in kinks], axis=0)
    return np.take_along_axis(drawn[:, 0], np.argmax(nearest, axis=0)[None], 0)[0]


def _inputs(rng, kind, rows, features):
    if kind == "uint8":
        return rng.integers(0, 256, (rows, features), dtype=np.uint8)
    return rng.uniform(-1, 1, (rows, features)).astype(kind)


def _targets(rng, kind, loss, output, a):
    """Targets away from the outputs `a`, so that a - y does not cancel."""
    rows, outputs = a.shape
    off = rng.choice([-1, 1], a.shape) * rng.uniform(0.3, 1, a.shape)
    if loss in ("squared_error", "absolute_error", "huber", "quantile"):
        return a + off
    if loss in ("poisson", "gamma"):
        return a * np.exp(off)
    if loss == "hinge":  # t = 1 or -1, not with t z near 1
        y = rng.integers(0, 2, a.shape)
        return np.where(np.abs((2 * y - 1) * a - 1) < 0.05, 1 - y, y).astype(float)
    if kind == "labels" and (output == "softmax" or outputs == 1):
        return rng.integers(0, max(outputs, 2), rows).astype(np.int32)
    if output == "softmax":
        y = rng.uniform(0.1, 1, a.shape)
        return y / y.sum(1, keepdims=True)
    return rng.integers(0, 2, a.shape).astype(float)  # multi-label


@cache
def make_problem(
    sizes=(7, 5, 3),
    rows=11,
    activation="tanh",
    output="softmax",
    loss="log_loss",
    dtype="float32",
    inputs=None,
    targets="labels",
    seed=0,
    smoothing=0.0,
):
    """A random problem. Scale and shift are set for uint8 `inputs`; `inputs` default to `dtype`."""
    rng = np.random.default_rng([seed, *sizes, rows])
    scale, shift = (1 / 64, -2.0) if inputs == "uint8" else (1.0, 0.0)
    options = {
        "layer_sizes": sizes,
        "activation": activation,
        "output_activation": output,
        "loss": Loss(loss, **LOSS_NUMBERS.get(loss, {}), label_smoothing=smoothing),
        "dtype": dtype,
        "input_scale": scale,
        "input_shift": shift,
    }
    network = Network(**options, seed=seed)
    flat = network.parameters.astype(np.float64)
    weights, biases = network.split(flat)
    X = _inputs(rng, inputs or dtype, rows, sizes[0])
    a = X * scale + shift
    for W, b, f in zip(weights, biases, network.activations, strict=True):
        kinks = KINKS.get(f, ())
        if kinks == (0,):
            b[:] = biases_off_the_kink(rng, a @ W)
        else:
            b[:] = biases_away(rng, a @ W, kinks) if kinks else rng.uniform(-0.3, 0.3, len(b))
        b[:] = b.astype(dtype)
        z = a @ W + b
        assert all(np.abs(z - kink).min() > 1e-4 for kink in kinks)
        a = np.array([_reference.F[f](row) for row in z])
    y = _targets(rng, targets, loss, output, a)
    y = y if y.dtype == np.int32 else y.astype(dtype)
    value, gradient, magnitude = oracle(
        network.split, network.activations, options["loss"], flat, X * scale + shift, dense(y, sizes[-1])
    )
    return Problem(options, flat.astype(dtype), X, y, value, gradient, magnitude, a)


def engine_for(problem, plan="native:1x1", optimizer=None, **training):
    network = problem.network(plan)
    engine = network.new_engine(Plan.parse(plan, 8), optimizer, **training)
    engine.load(network.parameters)
    X, y = network.pair(problem.X, problem.y)
    return network, engine, X, y


def gradient(problem, plan="native:1x1", weights=None, **training):
    network, engine, X, y = engine_for(problem, plan, **training)
    flat = np.empty(network.n_parameters, network.dtype)
    engine.gradient(X, y, flat, sample_weight=weights)
    return flat


def trained(problem, plan="native:1x1", optimizer=None, weights=None, X=None, epochs=3, batch=4, **training):
    """Parameters and losses after some epochs in minibatches, the last of them short."""
    network, engine, own, y = engine_for(problem, plan, optimizer, **training)
    X = own if X is None else X
    rng = np.random.default_rng(5)
    losses = []
    for _ in range(epochs):
        order = rng.permutation(X.shape[0])
        rates = np.full(-(-len(order) // batch), 0.1)
        losses.append(engine.run(X, y, order, batch, rates, weights)[0])
    flat = np.empty(network.n_parameters, network.dtype)
    engine.store(flat)
    return flat, np.concatenate(losses)


# --- Child processes -------------------------------------------------------------------------------


def clean_environment(**changed):
    """Environment for a child process, without the variables that the core reads."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OMP_NUM_THREADS", "SCHUSS_ISA", "SCHUSS_PIN")
    }
    return kept | changed


LIMIT = 30  # seconds until a child process counts as hung
STOPS_WITHIN = 1.0  # seconds from Ctrl-C to the end of what it interrupts

# Before the code of every child. An epoch takes several seconds, also on a fast machine; a first small
# training has loaded everything.
COMMON = """
import os, sys, threading, time
import numpy as np
import schuss
from schuss import Network

X = np.full((300000, 64), 100, np.uint8)
y = np.arange(300000) % 10

def say(*words):
    print(*words, flush=True)

def make(plan):
    global net, begun
    net = Network(
        (64, 1024, 1024, 10), seed=0, input_scale=1 / 255, classes=np.arange(10), plan=plan, n_jobs=4
    )
    train(X[:64], y[:64], epochs=1)
    begun = net.parameters.copy()

def train(X=X, y=y, **options):
    options = {"epochs": 10**6, "learning_rate": 1e-3, "batch_size": 16} | options
    return schuss.train(X, y, network=net, plan=net.plan, n_jobs=4, **options)

def check():
    assert net.history["loss"] == [], "the epoch ended by itself"
    assert np.isfinite(net.parameters).all()
    if net.plan.startswith("native"):  # the others may not get through a step on a busy machine
        assert not np.array_equal(net.parameters, begun), "nothing was learnt"
    net.step(X[:8], y[:8])
    assert net.predict(X[:8]).shape == (8,)
    say("usable")
"""


class Child:
    """A Python process that prints what it does; killed after LIMIT seconds."""

    def __init__(self, code, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", COMMON + code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        self.watch = threading.Timer(LIMIT, self.process.kill)
        self.watch.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.watch.cancel()
        self.process.communicate()

    def line(self):
        line = self.process.stdout.readline().strip()
        if not line:
            pytest.fail(f"the process ended or hung: {self.process.stderr.read()}")
        return line

    def interrupt(self, wanted="stopped"):
        """Send Ctrl-C; the next line must be `wanted`, and come in time."""
        time.sleep(0.4)  # some steps of the training that it said it begins
        hung = threading.Timer(5, self.process.kill)
        hung.start()
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        line = self.line()
        seconds = time.monotonic() - began
        hung.cancel()
        assert line == wanted
        assert seconds < STOPS_WITHIN

    def ends_well(self):
        rest, errors = self.process.communicate(timeout=LIMIT)
        assert self.process.returncode == 0, errors
        return rest


def run(code, *arguments):
    with Child(code, *arguments) as child:
        return child.ends_well()


# --- Fixtures ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """Threads and instruction set are the tests' own to choose."""
    for name in ("OMP_NUM_THREADS", "SCHUSS_ISA", "SCHUSS_PIN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """What tests keep is not the user's: data, the machine's profile, the last training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCHUSS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(20160)


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture(params=KERNELS)
def kernels(request):
    return request.param


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    """Each instruction set of this machine in turn, forced as a user would."""
    monkeypatch.setenv("SCHUSS_ISA", request.param)
    return request.param


@pytest.fixture(scope="session")
def digits():
    """Real digits: 1,300 to train on and 497 held out, as float32 in [0, 1]."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:1300], order[1300:]
    return SimpleNamespace(X=X[train], y=y[train], X_test=X[test], y_test=y[test])


def one_line(caught, *texts):
    """The message of a caught error: one line with these texts in it."""
    message = str(caught.value)
    assert "\n" not in message
    for text in texts:
        assert text in message
    return message
