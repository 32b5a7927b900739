"""Devices: which plan, device and precision go together, what a missing GPU says, what training asks of an engine."""

import json
import logging
import pickle
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import clean_environment, one_line
from fitting import NUMBERS, X, Y, fitted, quietly
from sklearn.base import clone

import schuss
from schuss import DeviceError, Network, Plan, PlanError, cuda
from schuss.cli import app
from schuss.engine import CpuEngine
from schuss.estimators import MLPClassifier, MLPRegressor
from schuss.planner.choice import choose

MISSING = "no NVIDIA driver here"
REDUCED = ("tf32", "bfloat16")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(cuda, "why_not", lambda number=0: MISSING)


# --- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "device", "precision", "plan", "place"),
    [
        ("cuda", "auto", "", "cuda", "cuda:0"),
        ("cuda", "cuda", "tf32", "cuda", "cuda:0"),
        ("gpu-optimized", "cuda:3", "bfloat16", "cuda", "cuda:3"),
        ("cuda-naive", "cuda:1", "float64", "cuda-naive", "cuda:1"),
        ("gpu", "auto", "", "cuda-naive", "cuda:0"),
        ("auto", "cuda:2", "float32", "cuda", "cuda:2"),
        ("predict", "cuda", "", "cuda", "cuda:0"),
        ("auto", "auto", "tf32", "cuda", "cuda:0"),
        ("native:1x1", "cpu", "float64", "native:1x1", "cpu"),
        ("serial", "auto", "", "naive:1x1", "cpu"),
    ],
)
def test_plan_device_and_precision(text, device, precision, plan, place):
    found = Plan.parse(text, 2, device, precision)
    assert (str(found), found.place) == (plan, place)
    assert (found.examples, found.matrix, found.threads) == (1, 1, 1)
    assert found.precision == (precision if found.on_gpu else "")
    assert found.is_at(device)
    assert (
        choose(text, threads=2, layer_sizes=(4, 3), batch_size=8, device=device, precision=precision) == found
    )


@pytest.mark.parametrize(
    ("text", "device"), [("auto", "auto"), ("native", "cpu"), ("predict", "cpu"), ("hybrid", "auto")]
)
def test_left_open(text, device):
    assert Plan.parse(text, 2, device) is None


@pytest.mark.parametrize(
    ("text", "device", "precision", "message"),
    [
        ("cuda", "cpu", "", "plan 'cuda' is for a GPU, got device 'cpu'"),
        ("gpu", "cpu", "", "plan 'gpu' is for a GPU, got device 'cpu'"),
        ("native:2x1", "cuda", "", "plan 'native:2x1' is for the CPU, got device 'cuda'"),
        ("hybrid", "cuda:1", "", "plan 'hybrid' is for the CPU, got device 'cuda:1'"),
        ("cuda:2x1", "auto", "", "plan must be cuda without ExM, which the GPU sees to, got 'cuda:2x1'"),
        ("cuda-naive:1x1", "cuda", "", "plan must be cuda-naive without ExM"),
        ("auto", "cpu", "tf32", "precision 'tf32' is for GPUs (device 'cuda'), got device 'cpu'"),
        ("native", "auto", "bfloat16", "precision 'bfloat16' is for GPUs (device 'cuda'), got plan 'native'"),
        ("gemm:1x1", "auto", "tf32", "precision 'tf32' is for GPUs (device 'cuda'), got plan 'gemm:1x1'"),
        ("gpu", "auto", "tf32", "plan 'gpu' computes in float32 or float64, got precision 'tf32'"),
        ("auto", "gpu", "", "device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("auto", "cuda:", "", "device must be auto, cpu, cuda or cuda:N, got 'cuda:'"),
        ("auto", "cuda:-1", "", "device must be auto, cpu, cuda or cuda:N, got 'cuda:-1'"),
        ("native:1x1", None, "", "device must be auto, cpu, cuda or cuda:N, got None"),
        ("fast", "cuda", "", "plan must be KERNELS:EXAMPLESxMATRIX"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(text, device, precision, message):
    with pytest.raises(PlanError) as caught:
        Plan.parse(text, 2, device, precision)
    one_line(caught, message)


def test_a_place_is_one_device():
    gpu, cpu = Plan("cuda", 1, 1, device=1), Plan("native", 1, 1)
    assert [gpu.is_at(text) for text in ("auto", "cpu", "cuda", "cuda:0", "cuda:1")] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert [cpu.is_at(text) for text in ("auto", "cpu", "cuda")] == [True, True, False]


def test_errors_reach_the_user():
    for call in (
        lambda **given: Network((64, 10), **given).forward(X),
        lambda **given: schuss.train(X, Y, epochs=1, **given),
        lambda **given: MLPClassifier(**given).fit(X, Y),
        lambda **given: MLPClassifier(solver="lbfgs", **given).fit(X, Y),
        lambda **given: MLPRegressor(**given).partial_fit(X, NUMBERS),
    ):
        for given in (
            {"device": "gpu"},
            {"device": "cuda", "plan": "native"},
            {"device": "cpu", "plan": "cuda"},
        ):
            with pytest.raises(PlanError):
                call(**given)
        with pytest.raises(ValueError, match="precision"):
            call(precision="half")
    with pytest.raises(ValueError, match="precision tf32 is for parameters of float32, these are float64"):
        Network((3, 2), dtype="float64", precision="tf32")
    with pytest.raises(ValueError, match="precision float32 is for parameters of float32, these are float64"):
        schuss.train(X, Y, network=Network((64, 10), dtype="float64"), precision="float32")
    with pytest.raises(PlanError, match="precision 'tf32' is for GPUs"):
        MLPClassifier(precision="tf32", device="cpu").fit(X, Y)
    model = fitted(max_iter=1).set_params(precision="tf32", device="cuda", warm_start=True)
    with pytest.raises(ValueError, match="precision tf32 is for parameters of float32, these are float64"):
        model.fit(X, Y)


# --- a GPU that is not here ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{"device": "cuda"}, {"plan": "cuda"}, {"plan": "gpu"}, {"precision": "tf32"}], ids=str
)
def test_asked_for_and_absent(no_gpu, given):
    network = Network((64, 10), **given)
    model = fitted(max_iter=1)
    before = model.coefs_[0].copy()
    for call in (
        lambda: network.forward(X),
        lambda: network.gradient(X, Y),
        lambda: network.step(X, Y),
        lambda: schuss.train(X, Y, epochs=1, **given),
        lambda: schuss.train("not looked at", Y, **given),
        lambda: model.set_params(**given).fit(X, Y),
        lambda: clone(model).set_params(solver="lbfgs").fit(X, Y),
    ):
        with pytest.raises(DeviceError) as caught:
            call()
        one_line(caught, MISSING, "cuda:0")
    assert isinstance(caught.value, schuss.SchussError)
    np.testing.assert_array_equal(model.coefs_[0], before)
    assert model.device_ == "cpu"


def test_nothing_asked_for_and_absent_is_the_cpu(no_gpu, caplog):
    with caplog.at_level(logging.INFO, "schuss"):
        network = schuss.train(X, Y, hidden_layer_sizes=3, epochs=1, n_jobs=1)
    assert (network.trained_plan, network.trained_device, network.precision) == (
        "native:1x1",
        "cpu",
        "float64",
    )
    assert "plan native:1x1 on cpu in float64 (auto)" in caplog.text
    model = fitted(max_iter=1, precision="float32")
    assert (model.device_, model.network_.precision) == ("cpu", "float32")


NOT_LOADED = """
import sys
import numpy as np
import schuss
schuss.train(np.ones((4, 2), np.float32), np.array([0, 1, 0, 1]), epochs=1)
print([name for name in sys.modules if name.split(".")[0] in ("cuda", "cupy", "torch")])
"""


def test_a_training_that_leaves_the_device_open_imports_nothing_of_cuda():
    printed = subprocess.check_output([sys.executable, "-c", NOT_LOADED], env=clean_environment(), timeout=60)
    assert printed.decode().strip() == "[]"


def test_a_model_computes_elsewhere_without_the_gpu_it_was_made_for(no_gpu, tmp_path, caplog):
    model = fitted(max_iter=2)
    wanted = model.predict_proba(X)
    model.set_params(device="cuda:1", plan="cuda", precision="float64")
    model.network_.device = "cuda:1"
    model.save(tmp_path / "model")
    for found in (schuss.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        with caplog.at_level(logging.INFO, "schuss"):
            np.testing.assert_array_equal(found.predict_proba(X), wanted)
        assert found.get_params()["device"] == "cuda:1"
        assert found.network_.device == "auto"
        with pytest.raises(DeviceError):  # what is asked for again
            found.fit(X, Y)
    network = Network((3, 2), seed=0, precision="tf32", device="cuda")
    with caplog.at_level(logging.INFO, "schuss"):
        found = pickle.loads(pickle.dumps(network))
    assert (found.device, found.precision) == ("auto", "float32")
    assert f"plan cuda on cuda:0: {MISSING}" in caplog.text


def test_device_and_precision_are_parameters_like_others():
    model = MLPClassifier(device="cuda:1", precision="bfloat16")
    assert {name: model.get_params()[name] for name in ("device", "precision")} == {
        "device": "cuda:1", "precision": "bfloat16"}  # fmt: skip
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(ValueError, match="'device' parameter"):
        MLPClassifier(device=0).fit(X, Y)


def test_a_file_keeps_what_trained(tmp_path):
    model = fitted(max_iter=1)
    model.save(tmp_path / "model")
    assert schuss.load(tmp_path / "model").device_ == "cpu"
    del model.device_  # as one from before there were devices
    model.save(tmp_path / "model")
    assert schuss.load(tmp_path / "model").device_ == "cpu"
    assert MLPClassifier.from_sklearn(model.to_sklearn()).device_ == "cpu"


# --- the command line ------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    assert run("train", "digits", "--hidden", "8", "--epochs", "1", "--out", path).exit_code == 0
    return path


@pytest.mark.parametrize(
    ("options", "option", "text"),
    [
        (("--device", "gpu"), "--device", "device must be auto, cpu, cuda or cuda:N"),
        (("--device", "cpu", "--plan", "cuda"), "--plan", "is for a GPU"),
        (("--device", "cpu", "--precision", "tf32"), "--precision", "is for GPUs"),
        (("--plan", "native", "--precision", "bfloat16"), "--precision", "is for GPUs"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "tune"])
def test_wrong_usage(no_gpu, verb, options, option, text):
    result = run(verb, "digits", *options)
    assert result.exit_code == 2
    assert option in result.stderr
    assert text in result.stderr


def test_wrong_usage_of_a_model(no_gpu, model_file):
    for verb in ("predict", "evaluate"):
        result = run(verb, model_file, "digits", "--device", "cuda:x")
        assert result.exit_code == 2
        assert "'--device'" in result.stderr


@pytest.mark.parametrize(
    "options", [("--device", "cuda"), ("--plan", "gpu"), ("--precision", "tf32")], ids=str
)
def test_absent_on_the_command_line(no_gpu, model_file, options, tmp_path):
    commands = [("train", "digits", "--out", tmp_path / "m"), ("tune", "digits")]
    if options[0] == "--device":
        commands += [("predict", model_file, "digits"), ("evaluate", model_file, "digits")]
    for command in commands:
        result = run(*command, *options)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.splitlines()[-1].startswith("schuss: error: plan cuda")
        assert MISSING in result.stderr
    assert not (tmp_path / "m").exists()


def test_what_ran_is_said(model_file, tmp_path):
    result = run(
        "train",
        "digits",
        "--hidden",
        "8",
        "--epochs",
        "1",
        "--json",
        "--device",
        "cpu",
        "--out",
        tmp_path / "m",
    )
    found = json.loads(result.stdout)
    assert (found["device"], found["precision"], found["settings"]["device"]) == ("cpu", "float32", "cpu")
    for verb in ("predict", "evaluate"):
        here, anywhere = (run(verb, model_file, "digits", "--device", device) for device in ("cpu", "auto"))
        assert here.exit_code == 0
        if verb == "predict":
            assert here.stdout == anywhere.stdout


# --- what a training asks of an engine -------------------------------------------------------------


class StandIn(CpuEngine):
    """The CPU's engine in the place of a GPU's: it keeps book."""

    last = None

    def __init__(self, sizes, activations, loss, dtype, plan, *more, device, **training):
        super().__init__(sizes, activations, loss, dtype, Plan("native", 1, 1), *more, **training)
        self.plan, self.fetched, self.held, self.given = plan, 0, [], []
        StandIn.last = self

    def fetch(self, moment=None):
        self.fetched += 1
        return super().fetch(moment)

    def _flat(self):
        flat = np.empty(self._length, self.dtype)
        self.store(flat)
        return flat

    def remember(self, moment="epoch"):
        self._remembered[moment] = self._flat()

    def parameters_finite(self):
        return bool(np.isfinite(self._flat()).all())

    @contextmanager
    def hold(self, X, y=None, sample_weight=None):
        self.held.append((X, y))
        yield
        self.held.pop()

    def _used(self, X, y):
        assert any(X is held[0] and y is held[1] for held in self.held)

    def run(self, X, y, *more):
        self._used(X, y)
        return super().run(X, y, *more)

    def forward(self, X, y=None):
        if y is not None:
            self._used(X, y)
        return super().forward(X, y)


@pytest.fixture
def stand_in(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, "schuss.cuda.engine", SimpleNamespace(CudaEngine=StandIn))
    monkeypatch.setattr(cuda, "device", lambda number=0: SimpleNamespace(name="stand-in"))
    monkeypatch.setattr(cuda, "why_not", lambda number=0: "")
    return StandIn


def test_no_epoch_fetches_the_parameters(stand_in):
    """However many epochs, improving or not, with validation and without: what is fetched is fetched at the end."""
    held_out = X[200:], Y[200:]
    options = {"hidden_layer_sizes": 8, "device": "cuda", "batch_size": 32}
    counts = []
    for epochs in (2, 9):
        counts.append([])
        schuss.train(X[:200], Y[:200], epochs=epochs, **options)
        counts[-1].append(StandIn.last.fetched)
        schuss.train(X[:200], Y[:200], epochs=epochs, validation=held_out, patience=9, **options)
        counts[-1].append(StandIn.last.fetched)
        for more in ({}, {"early_stopping": True}):
            fitted(data=X, max_iter=epochs, device="cuda", **more)
            counts[-1].append(StandIn.last.fetched)
    assert counts[0] == counts[1] == [0, 1, 1, 1]


@quietly
@pytest.mark.parametrize("more", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_the_same_training_by_another_engine(stand_in, more):
    """Held arrays are those that are used; parameters, scores and what comes after are the CPU's."""
    there, here = (
        fitted(device=device, plan=plan, **more) for device, plan in (("cuda", "auto"), ("cpu", "native:1x1"))
    )
    assert (there.device_, there.plan_, here.device_) == ("cuda:0", "cuda", "cpu")
    assert StandIn.last.held == []
    for a, b in zip(there.coefs_, here.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert there.loss_curve_ == here.loss_curve_
    np.testing.assert_array_equal(there.predict_proba(X), here.predict_proba(X))
    assert there.network_._engine.plan.place == "cuda:0"
    there.network_.device = "cpu"
    np.testing.assert_array_equal(there.predict_proba(X), here.predict_proba(X))
    assert there.network_._engine.plan.place == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_diverged_epoch_leaves_the_parameters_before_it(stand_in, device):
    network, kept = Network((64, 10), seed=0, loss="squared_error", output_activation="identity"), []

    def on_epoch(network, history):
        kept.append(network.parameters)

    with pytest.raises(schuss.TrainingDiverged) as caught:
        schuss.train(X, Y, network=network, learning_rate=2.0, epochs=300, on_epoch=on_epoch, device=device)
    assert caught.value.epoch == len(kept) + 1 > 2
    np.testing.assert_array_equal(network.parameters, kept[-1])
    assert not np.array_equal(kept[-1], kept[-2])  # what was handed out stays what it was
    assert network.parameters.base is not kept[-1]
