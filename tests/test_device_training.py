"""Trainings and predictions on a GPU, played by the host: the same results, whoever asks for them."""

import gc
import json
import pickle
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import one_line
from cuda_host.bench import needs_compiler
from cuda_host.device import HostDevice
from fitting import quietly
from sklearn.base import clone

import schuss
from schuss import DataError, DeviceError, Network, PlanError, cuda
from schuss.cli import app
from schuss.cuda import arrays
from schuss.estimators import MLPClassifier, MLPRegressor

pytestmark = needs_compiler

RNG = np.random.default_rng(3)
X = RNG.normal(size=(70, 7)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
NUMBERS = (X @ RNG.normal(size=(7, 2))).astype(np.float32)
WEIGHT = RNG.uniform(0.5, 2, 70)
CPU = {"device": "cpu", "plan": "native:1x1"}


@pytest.fixture
def host_device(monkeypatch):
    """GPU 0, and no other."""
    gpu = HostDevice()

    def device(number=0):
        if number:
            raise DeviceError(f"there is no GPU {number}")
        return gpu

    monkeypatch.setattr(cuda, "device", device)
    monkeypatch.setattr(cuda, "why_not", lambda number=0: f"there is no GPU {number}" if number else "")
    monkeypatch.setattr(arrays, "_finish", lambda number, stream: gpu.synchronize())
    return gpu


@pytest.fixture
def no_gpu_any_more(host_device, monkeypatch):
    """Call it, and the GPU is gone."""
    return lambda: monkeypatch.setattr(cuda, "why_not", lambda number=0: "no GPU any more")


def trained(y=Y, **options):
    return schuss.train(X, y, **{"hidden_layer_sizes": (9, 5), "epochs": 3, "batch_size": 16} | options)


def same(a, b):
    np.testing.assert_array_equal(a.parameters, b.parameters)
    assert a.history["loss"] == b.history["loss"]


@pytest.mark.parametrize(
    "given", [{"device": "cuda"}, {"device": "cuda:0"}, {"plan": "gpu-optimized"}], ids=str
)
@pytest.mark.parametrize(
    "more", [{}, {"precision": "float64"}, {"sample_weight": WEIGHT, "momentum": 0.9, "alpha": 0.01}]
)
def test_train(host_device, given, more):
    there, here = trained(**given, **more), trained(**CPU, **more)
    same(there, here)
    assert (there.trained_plan, there.trained_device) == ("cuda", "cuda:0")
    assert there.precision == more.get("precision", "float32")
    assert there._engine.plan.place == "cuda:0"
    np.testing.assert_array_equal(there.forward(X), here.forward(X))
    assert there.loss(X, Y) == here.loss(X, Y)
    np.testing.assert_array_equal(there.gradient(X, Y), here.gradient(X, Y))
    assert there.step(X, Y) == here.step(X, Y)
    np.testing.assert_array_equal(there.parameters, here.parameters)
    assert "cuda" in str(there.plan_report)
    assert there.plan_report.as_dict()["plan"] == "cuda"


def test_the_plain_kernels(host_device):
    there, here = trained(plan="gpu"), trained(**CPU)
    assert (there.trained_plan, there.trained_device) == ("cuda-naive", "cuda:0")
    np.testing.assert_allclose(there.parameters, here.parameters, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_reduced_precision(host_device, precision):
    there, here = trained(precision=precision), trained(**CPU)
    assert (there.trained_device, there.precision, there.dtype) == ("cuda:0", precision, np.float32)
    worst = np.abs(there.parameters - here.parameters).max()
    assert 0 < worst < (1e-3 if precision == "tf32" else 1e-2)
    there.precision = "float32"
    here.parameters = there.parameters
    np.testing.assert_array_equal(there.forward(X), here.forward(X))


def test_validation_and_patience(host_device):
    options = {"validation": (X[:20], Y[:20]), "patience": 2, "epochs": 12, "learning_rate": 1.5}
    there, here = trained(device="cuda", **options), trained(**CPU, **options)
    same(there, here)
    assert there.history["validation_loss"] == here.history["validation_loss"]


def test_a_network_that_goes_on_elsewhere(host_device):
    """Device is no part of the model: each training has its own, and the parameters follow."""
    network, other = (Network((7, 5, 3), seed=1) for _ in range(2))
    for device in ("cuda", "cpu", "cuda"):
        plan = "auto" if device == "cuda" else "native:1x1"
        schuss.train(X, Y, network=network, device=device, plan=plan, epochs=1)
        schuss.train(X, Y, network=other, **CPU, epochs=1)
        same(network, other)
        assert network.trained_device == ("cuda:0" if device == "cuda" else "cpu")
    for device, place in (("cpu", "cpu"), ("cuda", "cuda:0")):
        network.device = device
        np.testing.assert_array_equal(network.forward(X[:2]), other.forward(X[:2]))
        assert network._engine.plan.place == place
    schuss.train(X, Y, network=network, epochs=1)
    assert network.trained_device == "cuda:0"  # its own where none is named


def test_no_epoch_reads_the_parameters_back(host_device, monkeypatch):
    sizes, read = [], HostDevice.read
    monkeypatch.setattr(
        HostDevice, "read", lambda self, out, at: (sizes.append(out.nbytes), read(self, out, at))[1]
    )
    counts = []
    for epochs in (2, 6):
        sizes.clear()
        trained(device="cuda", epochs=epochs, hidden_layer_sizes=200, validation=(X[:20], Y[:20]), patience=9)
        counts.append(sum(size >= 4 * 7 * 200 for size in sizes))
    assert counts == [1, 1]  # the best, at the end


# --- estimators ------------------------------------------------------------------------------------


@quietly
@pytest.mark.parametrize(
    "more", [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"dropout": 0.2, "solver": "sgd"}], ids=str
)
def test_estimators(host_device, more):
    options = {"hidden_layer_sizes": 8, "max_iter": 4, "random_state": 0, "batch_size": 20} | more
    for kind, y in ((MLPClassifier, Y), (MLPRegressor, NUMBERS)):
        there = kind(device="cuda", **options).fit(X, y)
        here = kind(**CPU, **options).fit(X, y)
        assert (there.device_, there.plan_, here.device_) == ("cuda:0", "cuda", "cpu")
        np.testing.assert_array_equal(there.network_.parameters, here.network_.parameters)
        assert there.loss_curve_ == here.loss_curve_
        np.testing.assert_array_equal(there.predict(X), here.predict(X))
        assert there.score(X, y) == here.score(X, y)
        assert there.network_._engine.plan.place == "cuda:0"
        assert str(there.plan_report_)
        assert clone(there).device == "cuda"


def test_partial_fit_and_warm_start(host_device):
    models = [MLPClassifier(8, random_state=0, warm_start=True, max_iter=2, n_iter_no_change=9, **where)
              for where in ({"device": "cuda"}, CPU)]  # fmt: skip
    for model in models:
        for rows in (np.s_[:1], np.s_[:30], np.s_[30:]):
            model.partial_fit(X[rows], Y[rows], classes=[0, 1, 2])
        model.set_params(solver="sgd", device="cpu", plan="native:1x1").partial_fit(X, Y)
        model.set_params(solver="adam", device="cuda", plan="auto").partial_fit(X, Y)
    there, here = models
    np.testing.assert_array_equal(there.network_.parameters, here.network_.parameters)
    assert there.device_ == "cuda:0"


@quietly
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_network_computes_as_its_estimator_was_last_told(host_device, solver):
    model = MLPClassifier(
        8, solver=solver, precision="bfloat16", max_iter=2, random_state=0, warm_start=True
    ).fit(X, Y)

    def told():
        network = model.network_
        return network.device, network.precision, network.plan, network.n_jobs

    assert told() == ("auto", "bfloat16", "auto", None)
    model.set_params(device="cpu", precision="auto", plan="native:1x1", n_jobs=2).fit(X, Y)
    assert told() == ("cpu", "float32", "native:1x1", 2)
    many = np.tile(X, (200, 1))
    fresh = Network(model.network_.layer_sizes, **CPU)
    fresh.parameters = model.network_.parameters
    np.testing.assert_array_equal(model.predict_proba(many), fresh.forward(many))
    assert model.network_._engine.plan.place == model.device_ == "cpu"
    model.set_params(device="cuda", plan="auto").fit(X, Y)
    assert told() == ("cuda", "float32", "auto", 2)
    model.predict(X[:1])
    assert model.network_._engine.plan.place == model.device_ == "cuda:0"
    if solver == "adam":
        model.set_params(device="cpu", plan="native:1x1").partial_fit(X, Y)
        assert told() == ("cpu", "float32", "native:1x1", 2)
    before = told()
    with pytest.raises(DeviceError):
        model.set_params(device="cuda:1", plan="auto").fit(X, Y)
    assert told() == before  # nothing of what was refused


def test_few_rows_are_computed_where_the_network_says(host_device):
    network = Network((7, 4, 3), seed=0, **CPU)
    schuss.train(X, Y, network=network, device="cuda", plan="cuda", epochs=1)
    assert network.trained_device == "cuda:0"
    host_device.ran.clear()
    network.predict(X[:1])
    assert network._engine.plan.place == "cpu"
    assert host_device.ran == []


def test_an_adopted_engine_is_not_used_for_another_device(host_device):
    network = Network((7, 4, 3), seed=0, **CPU)
    engine = network.new_engine(network.plan_for(10, "cuda", 1, device="cuda"))
    engine.load(network.parameters)
    network.adopt(engine)
    host_device.ran.clear()
    network.predict(X[:1])
    assert host_device.ran == []


ISA = {"isa": "portable"}


@pytest.mark.parametrize(
    "where", [{"device": "cuda"}, {"plan": "cuda"}, {"plan": "gpu"}, {"precision": "tf32"}], ids=str
)
def test_instruction_sets_are_no_matter_of_a_gpu(host_device, where):
    began = MLPClassifier(8, **where).partial_fit(X, Y, classes=[0, 1, 2]).set_params(**ISA)
    for call in (
        lambda: trained(**ISA, **where),
        lambda: MLPClassifier(**ISA, **where).fit(X, Y),
        lambda: began.partial_fit(X, Y),
        lambda: MLPClassifier(solver="lbfgs", **ISA, **where).fit(X, Y),
        lambda: Network((7, 3), **ISA, **where).forward(X),
    ):
        with pytest.raises(PlanError) as caught:
            call()
        one_line(caught, "isa must be None for plan cuda", "on cuda:0", "got 'portable'")
    assert trained(n_jobs=1, **ISA).trained_device == "cpu"


def test_instruction_sets_and_arrays_on_a_gpu(put):
    for call in (
        lambda: schuss.train(put(X), Y, epochs=1, **ISA),
        lambda: MLPClassifier(**ISA).fit(put(X), Y),
        lambda: Network((7, 3), **ISA).forward(put(X)),
    ):
        with pytest.raises(PlanError, match="isa must be None"):
            call()


# --- a device that fails ---------------------------------------------------------------------------


FAILED = "cuEventQuery: CUDA_ERROR_LAUNCH_FAILED (unspecified launch failure)"


def fails_after(gpu, epochs, look=False):
    def on_epoch(network, history):
        if look and len(history["loss"]) == 1:
            assert network.parameters.any()
        if len(history["loss"]) == epochs:
            gpu._error = FAILED

    return on_epoch


@pytest.mark.parametrize("look", [False, True], ids=["", "fetched"])
def test_a_network_outlives_its_gpu(host_device, caplog, look):
    network, kept = Network((7, 9, 3), seed=0, classes=[0, 1, 2]), Network((7, 9, 3), seed=0)
    if look:
        schuss.train(X, Y, network=kept, epochs=1, **CPU)
    with pytest.raises(DeviceError, match="LAUNCH_FAILED"):
        schuss.train(
            X, Y, network=network, epochs=9, device="cuda", on_epoch=fails_after(host_device, 2, look)
        )
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "what was learnt on cuda:0 since the parameters were last fetched is lost" in caplog.messages[0]
    np.testing.assert_array_equal(network.parameters, kept.parameters)
    network.device = "cuda"
    with pytest.raises(DeviceError, match="LAUNCH_FAILED"):
        network.predict(X)  # what is asked for again
    network.device = "cpu"
    network.release()
    np.testing.assert_array_equal(network.forward(X), kept.forward(X))
    network.parameters = np.zeros(network.n_parameters)
    np.testing.assert_array_equal(network.parameters, 0)
    np.testing.assert_allclose(network.forward(X), 1 / 3)
    schuss.train(X, Y, network=network, epochs=1, **CPU)
    pickle.dumps(network)


def test_what_can_be_fetched_after_a_failure_is_not_lost(host_device, monkeypatch, caplog):
    network, other = (Network((7, 9, 3), seed=0) for _ in range(2))

    def on_epoch(network, history):
        if len(history["loss"]) == 2:
            monkeypatch.setattr(
                network._engine, "run", lambda *_: (_ for _ in ()).throw(DeviceError("too large"))
            )

    with pytest.raises(DeviceError, match="too large"):
        schuss.train(X, Y, network=network, epochs=9, device="cuda", on_epoch=on_epoch)
    schuss.train(X, Y, network=other, epochs=2, **CPU)
    np.testing.assert_array_equal(network.parameters, other.parameters)
    assert caplog.messages == []


def test_steps_that_are_lost_are_heard_of_once(host_device, caplog):
    network = Network((7, 9, 3), seed=0, device="cuda")
    before = network.parameters.copy()
    network.step(X, Y)
    host_device._error = FAILED
    with pytest.raises(DeviceError, match="LAUNCH_FAILED"):
        network.device = "cpu"
    network.device = "cpu"
    np.testing.assert_array_equal(network.parameters, before)
    assert len(caplog.messages) == 1


@quietly
@pytest.mark.parametrize("more", [{}, {"early_stopping": True}], ids=str)
def test_estimators_outlive_their_gpu(host_device, monkeypatch, more):
    from schuss.cuda.engine import CudaEngine

    options = {"hidden_layer_sizes": 8, "max_iter": 6, "random_state": 0, "device": "cuda"} | more
    fresh = MLPClassifier(**options).fit(X, Y)
    warm = MLPClassifier(warm_start=True, **options).fit(X, Y)
    wanted, run, runs = fresh.predict_proba(X), CudaEngine.run, []

    def failing(self, *given):
        runs.append(None)
        if len(runs) == 3:
            host_device._error = FAILED
        return run(self, *given)

    monkeypatch.setattr(CudaEngine, "run", failing)
    for model in (fresh, warm, MLPClassifier(**options)):
        runs.clear()
        with pytest.raises(DeviceError, match="LAUNCH_FAILED"):
            model.fit(X, Y)
        if "network_" in vars(model):
            model.network_.device = "cpu"
            np.testing.assert_array_equal(model.predict_proba(X), wanted)  # what was learnt before
            pickle.dumps(model)
        model.set_params(**CPU).fit(X, Y)
        assert model.device_ == "cpu"
        if not more:
            model.partial_fit(X, Y)
        assert model.score(X, Y) > 0.3
        host_device._error = None
        host_device._work.clear()


@pytest.mark.parametrize("again", [False, True], ids=["moved", "again"])
def test_partial_fit_outlives_its_gpu(host_device, again):
    model = MLPClassifier(8, random_state=0, device="cuda").partial_fit(X, Y, classes=[0, 1, 2])
    host_device._error = FAILED
    with pytest.raises(DeviceError, match="LAUNCH_FAILED"):
        (model if again else model.set_params(**CPU)).partial_fit(X, Y)
    model.set_params(**CPU).partial_fit(X, Y)
    assert model.device_ == "cpu"
    model.predict(X)
    pickle.dumps(model)


# --- memory ----------------------------------------------------------------------------------------


def taken(gpu, call):
    """Bytes of the device that are taken after the call."""
    gc.collect()
    free = gpu.free_memory()
    kept = call()
    gc.collect()
    return free - gpu.free_memory(), kept


@quietly
def test_a_training_that_has_ended_keeps_the_parameters_alone(host_device):
    options = {"device": "cuda", "solver": "adam", "hidden_layer_sizes": (300,), "validation": (X, Y)}
    for more in ({}, {"patience": 3}):
        trained_bytes, network = taken(host_device, partial(trained, **options, **more))
        assert network._engine.plan.place == "cuda:0"
        assert trained_bytes == network._engine.parameter_bytes < 3 * network.parameters.nbytes
        np.testing.assert_array_equal(network.forward(X), twin(network).forward(X))
        before = network.parameters
        network.step(X, Y)
        assert not np.array_equal(network.parameters, before)
    elsewhere = Network((7, 300, 3), seed=0, **CPU)
    there = {"device": "cuda", "plan": "cuda"}
    assert taken(host_device, lambda: schuss.train(X, Y, network=elsewhere, **there))[0] == 0
    model = MLPClassifier(300, device="cuda", max_iter=2)
    assert taken(host_device, lambda: model.fit(X, Y))[0] == 0


def twin(network):
    other = Network(network.layer_sizes, **CPU)
    other.parameters = network.parameters
    return other


def test_only_the_latest_networks_keep_what_training_needs(host_device):
    """Beyond eight, networks that were trained give back the GPU, and estimators all but parameters and state."""
    kept = []

    def trains():
        kept.append(trained(device="cuda", epochs=1))

    def learns():
        kept.append(MLPClassifier(40, device="cuda", random_state=0).partial_fit(X, Y, classes=[0, 1, 2]))

    for learn in (trains, learns):
        gc.collect()
        begin = host_device.free_memory()
        for _ in range(9):
            learn()
        full = begin - host_device.free_memory()
        for _ in range(9):
            learn()
        more = 0 if learn is trains else 9 * kept[-1]._training.trainer.engine.parameter_bytes
        assert begin - host_device.free_memory() - full <= more < full / 2
        kept.clear()


def test_an_estimator_that_had_to_rest_goes_on(host_device):
    there, *others = [MLPClassifier(8, random_state=seed, device="cuda") for seed in range(11)]
    here = MLPClassifier(8, random_state=0, **CPU)
    for _ in range(2):
        for model in (there, here, *others):
            model.partial_fit(X, Y, classes=[0, 1, 2])
    assert there.network_._engine is None
    np.testing.assert_array_equal(there.network_.parameters, here.network_.parameters)
    np.testing.assert_array_equal(
        there.partial_fit(X, Y).predict_proba(X), here.partial_fit(X, Y).predict_proba(X)
    )


def test_a_network_in_training_is_not_let_rest(host_device):
    """Others that come and go between its epochs take nothing from it."""
    others = []

    def on_epoch(network, history):
        engine = network._engine
        others.extend(trained(device="cuda", epochs=1) for _ in range(9))
        assert network._engine is engine
        assert engine._training is not None

    there, here = trained(device="cuda", epochs=1), trained(epochs=1, **CPU)
    schuss.train(X, Y, network=there, epochs=2, on_epoch=on_epoch)  # the second time it is among those
    schuss.train(X, Y, network=here, epochs=2, **CPU)
    same(there, here)


@quietly
@pytest.mark.filterwarnings("ignore:Training interrupted")
def test_precisions(host_device):
    for precision in ("tf32", "bfloat16"):
        model = MLPClassifier(8, precision=precision, max_iter=2, random_state=0).fit(X.astype(np.float64), Y)
        assert (model.device_, model.network_.precision, model.coefs_[0].dtype) == (
            "cuda:0",
            precision,
            np.float32,
        )


@quietly
def test_models_move(host_device, no_gpu_any_more, tmp_path):
    """Saved or pickled on a machine with a GPU, used on one without; and the other way round."""
    options = {"hidden_layer_sizes": 8, "max_iter": 2, "random_state": 0}
    there = MLPClassifier(device="cuda", **options).fit(X, Y)
    here = MLPClassifier(**CPU, **options).fit(X, Y)
    here.save(tmp_path / "here")
    arrived = schuss.load(tmp_path / "here")
    arrived.network_.device, arrived.network_.plan = "cuda", "auto"
    wanted = arrived.predict_proba(X)
    assert arrived.network_._engine.plan.place == "cuda:0"
    np.testing.assert_array_equal(wanted, here.predict_proba(X))
    there.save(tmp_path / "there")
    pickled = pickle.dumps(there)
    no_gpu_any_more()
    for model in (schuss.load(tmp_path / "there"), pickle.loads(pickled)):
        assert (model.device_, model.plan_) == ("cuda:0", "cuda")  # what trained it
        np.testing.assert_array_equal(model.predict_proba(X), wanted)
        assert model.network_._engine.plan.place == "cpu"


# --- arrays that are on the GPU already ------------------------------------------------------------


class OnGpu:
    """What CuPy does with an array, as far as it is asked here."""

    def __init__(self, gpu, array):
        self.gpu, self.array = gpu, array
        whole = array.base if array.base is not None and array.base.ndim == array.ndim else array
        whole = np.ascontiguousarray(whole)
        self.buffer = gpu.allocate(whole.nbytes)
        gpu.write(self.buffer.address, whole)
        self.__cuda_array_interface__ = {
            "version": 3, "shape": array.shape, "typestr": array.dtype.str, "stream": 1,
            "data": (self.buffer.address + array.ctypes.data - whole.ctypes.data, False), "strides": array.strides,
        }  # fmt: skip

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, stream=None):
        raise AssertionError("the interface is enough")

    def __getitem__(self, rows):
        return OnGpu(self.gpu, self.array[rows])

    @property
    def shape(self):
        return self.array.shape

    def get(self):
        return self.array

    def __array__(self, *_args, **_named):
        raise TypeError("implicit conversion to a NumPy array is not allowed")


@pytest.fixture
def put(host_device):
    return lambda array: OnGpu(host_device, array)


@pytest.mark.parametrize("part", [np.s_[:, :], np.s_[::2, 1:6]], ids=["whole", "strided"])
def test_arrays_are_trained_on_where_they_are(put, part):
    rows = X[part]
    y, weight = Y[: 70 : 70 // len(rows)], WEIGHT[: len(rows)]
    options = {"hidden_layer_sizes": 6, "epochs": 2, "batch_size": 10}
    given = put(rows)
    there = schuss.train(given, put(y), sample_weight=put(weight), validation=(put(rows), put(y)), **options)
    here = schuss.train(rows, y, sample_weight=weight, validation=(rows, y), **CPU, **options)
    assert there.trained_device == "cuda:0"
    same(there, here)
    assert there.history["validation_loss"] == here.history["validation_loss"]
    np.testing.assert_array_equal(there.predict(given), here.predict(rows))
    assert there.score(given, put(y)) == here.score(rows, y)
    assert there.loss(given, put(y)) == here.loss(rows, y)
    np.testing.assert_array_equal(there.forward(rows), here.forward(rows))


@quietly
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("more", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_estimators_take_them_too(put, kind, more):
    y = Y if kind is MLPClassifier else NUMBERS
    options = {"hidden_layer_sizes": 6, "max_iter": 3, "random_state": 0, "batch_size": 10} | more
    there = kind(**options).fit(put(X), put(y), put(WEIGHT))
    here = kind(**CPU, **options).fit(X, y, WEIGHT)
    assert there.device_ == "cuda:0"
    np.testing.assert_array_equal(there.network_.parameters, here.network_.parameters)
    np.testing.assert_array_equal(there.predict(put(X)), here.predict(X))
    assert there.score(put(X), put(y), put(WEIGHT)) == here.score(X, y, WEIGHT)
    with pytest.raises(ValueError, match="7 features"):
        there.predict(put(np.ascontiguousarray(X[:, :3])))
    if more == {}:
        there.partial_fit(put(X), put(y)).partial_fit(put(X), put(y), check_input=False)
        here.partial_fit(X, y).partial_fit(X, y)
        np.testing.assert_array_equal(there.network_.parameters, here.network_.parameters)


def test_the_cpu_cannot_read_them(put):
    for name, call in (
        ("X", lambda: schuss.train(put(X), Y, epochs=1, **CPU)),
        ("validation X", lambda: schuss.train(X, Y, epochs=1, validation=(put(X), Y), **CPU)),
        ("X", lambda: MLPClassifier(**CPU).fit(put(X), Y)),
        ("X_val", lambda: MLPClassifier(**CPU).fit(X, Y, X_val=put(X), y_val=Y)),
        ("X", lambda: MLPClassifier(device="cpu", solver="lbfgs").fit(put(X), Y)),
        ("X", lambda: MLPClassifier(**CPU).partial_fit(put(X), Y, classes=[0, 1, 2])),
    ):
        with pytest.raises(DataError) as caught:
            call()
        told = f"hand over {name.split()[-1]}.get()"
        one_line(caught, f"{name} is on cuda:0, the plan computes on the CPU", "device 'cuda:0'", told)
        assert str(caught.value).startswith(name)


def test_validation_examples_are_looked_at_before_the_first_epoch(put):
    network = Network((7, 3), seed=0)
    with pytest.raises(DataError, match="validation X"):
        schuss.train(X, Y, network=network, validation=(put(X), Y), **CPU)
    assert network.history["loss"] == []


def test_an_array_on_another_gpu(put):
    given = put(X)
    given.__dlpack_device__ = lambda: (2, 1)
    with pytest.raises(DataError) as caught:
        Network((7, 3), device="cuda").forward(given)
    one_line(caught, "X is on cuda:1, the plan computes on cuda:0")


def test_partial_fit_moves_to_where_x_is(put):
    there, here = (MLPClassifier(6, random_state=0, n_jobs=1) for _ in range(2))
    for given, place in ((X, "cpu"), (put(X), "cuda:0"), (X, "cuda:0")):
        there.partial_fit(given, Y, classes=[0, 1, 2])
        here.partial_fit(X, Y, classes=[0, 1, 2])
        assert there.device_ == place
    assert here.device_ == "cpu"
    np.testing.assert_array_equal(there.network_.parameters, here.network_.parameters)
    np.testing.assert_array_equal(there.predict(put(X)), here.predict(X))


# --- the command line ------------------------------------------------------------------------------


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return result


def test_on_the_command_line(host_device, tmp_path):
    table, model = tmp_path / "table.csv", tmp_path / "model"
    np.savetxt(table, np.column_stack([X, Y]), delimiter=",", fmt=["%.4f"] * 7 + ["%d"])
    common = (table, "--hidden", "6", "--epochs", "2", "--json", "--out", model)
    there = run("train", *common, "--device", "cuda", "--precision", "float32")
    here = run("train", *common, "--device", "cpu", "--plan", "native:1x1", "--precision", "float32")
    found, other = json.loads(there.stdout), json.loads(here.stdout)
    assert (found["plan"], found["device"], found["precision"]) == ("cuda", "cuda:0", "float32")
    assert found["history"]["loss"] == other["history"]["loss"]
    assert found["test"]["loss"] == other["test"]["loss"]
    assert "plan     cuda, cuda:0 (host emulation), float32, " in there.stderr
    assert "MB of its memory" in there.stderr
    reduced = run("train", *common, "--precision", "bfloat16")
    assert (json.loads(reduced.stdout)["precision"], json.loads(reduced.stdout)["device"]) == (
        "bfloat16",
        "cuda:0",
    )
    for verb in ("predict", "evaluate"):
        results = [run(verb, model, table, "--device", device) for device in ("cuda", "cpu")]
        lines = [result.stdout.splitlines()[:3] for result in results]
        assert lines[0] == lines[1]
    assert host_device.ran
