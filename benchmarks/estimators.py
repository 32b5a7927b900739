"""The estimators against scikit-learn's and others', as a user calls them.

    python benchmarks/estimators.py fit        default parameters, only the import changed: seconds, epochs, scores
    python benchmarks/estimators.py search     GridSearchCV over 8 candidates, serial and with two processes
    python benchmarks/estimators.py sparse     100,000 x 5,000 of 1 %: seconds and memory
    python benchmarks/estimators.py online     partial_fit on one example
    python benchmarks/estimators.py predict    one row, and a million

Sides take turns; the figures are medians over seeds or rounds. `--json FILE` writes all that was measured.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice, pairwise
from statistics import median
from typing import Any

import common
import numpy as np

from schuss.study import measure

Array = Any
LIBRARIES = ("schuss", "sklearn")


def estimator(library: str, kind: str) -> Any:
    """The class of that name, as a user imports it."""
    if library == "schuss":
        import schuss

        return getattr(schuss, kind)
    from sklearn import neural_network

    return getattr(neural_network, kind)


def seconds(work: Callable[[], Any]) -> float:
    measure.pause()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# --- fit ------------------------------------------------------------------------------------------


def digits() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def synthetic() -> tuple[Array, Array]:
    from sklearn.datasets import make_classification

    return make_classification(20_000, 20, n_informative=10, random_state=0)


def mnist() -> tuple[Array, Array]:
    """60,000 x 784; the built-in digits, repeated, where there are no MNIST files."""
    from schuss import data
    from schuss.errors import SchussError

    try:
        train = data.load("mnist").train
    except SchussError:
        train = data.load("digits28").train
    rows = np.resize(np.arange(len(train)), 60_000)
    return (train.X[rows] / np.float32(255)).astype(np.float32), train.labels[rows]


def housing() -> tuple[Array, Array]:
    """Of the shape of the California housing table: 8 skewed columns, a target with noise."""
    rng = np.random.default_rng(0)
    X = rng.lognormal(0, 0.5, (20_640, 8))
    X = (X - X.mean(0)) / X.std(0)
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] / 2 + np.abs(X[:, 3]) + 0.3 * rng.standard_normal(len(X))
    return X, y


SETS: dict[str, tuple[str, Callable[[], tuple[Array, Array]]]] = {
    "digits": ("MLPClassifier", digits),
    "20,000 x 20": ("MLPClassifier", synthetic),
    "housing": ("MLPRegressor", housing),
    "mnist": ("MLPClassifier", mnist),
}


def fit(names: Sequence[str], seeds: int) -> dict[str, Any]:
    from sklearn.model_selection import train_test_split

    found: dict[str, Any] = {}
    for name in names or SETS:
        kind, load = SETS[name]
        X, y = load()
        parts = train_test_split(X, y, test_size=0.1, random_state=0)
        runs: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
        for seed in range(seeds):
            for library in LIBRARIES:
                model = estimator(library, kind)(random_state=seed)
                took = seconds(partial(model.fit, parts[0], parts[2]))
                runs[library].append(
                    {"seconds": took, "epochs": model.n_iter_, "score": model.score(parts[1], parts[3])}
                )
        found[name] = {"shape": X.shape, "dtype": str(X.dtype), "kind": kind, "runs": runs}
        ours, theirs = (
            {key: [run[key] for run in runs[library]] for key in runs[library][0]} for library in LIBRARIES
        )
        rows = [
            [
                library,
                f"{median(side['seconds']):.3f}",
                "/".join(str(n) for n in side["epochs"]),
                f"{np.mean(side['score']):.4f} +- {np.std(side['score']):.4f}",
            ]
            for library, side in (("schuss", ours), ("sklearn", theirs))
        ]
        ratio = median(b / a for a, b in zip(ours["seconds"], theirs["seconds"], strict=True))
        print(f"{kind}() on {name}, {X.shape[0]:,} x {X.shape[1]} {X.dtype}: {ratio:.1f} times as fast")
        print(common.table(["", "seconds", "epochs", "test score"], rows), end="\n\n", flush=True)
    return found


# --- search ---------------------------------------------------------------------------------------


def search(rounds: int) -> dict[str, Any]:
    from sklearn.model_selection import GridSearchCV

    X, y = synthetic()
    X, y = X.astype(np.float32), y
    grid = {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(50,), (100,)], "learning_rate_init": [1e-3, 1e-2]}
    model = estimator("schuss", "MLPClassifier")(max_iter=15, random_state=0)
    found: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(rounds):
        for n_jobs, times in found.items():
            seeker = GridSearchCV(model, grid, cv=3, n_jobs=int(n_jobs), refit=False)
            times.append(seconds(partial(seeker.fit, X, y)))
    rows = [[n_jobs, f"{median(times):.2f}"] for n_jobs, times in found.items()]
    print("GridSearchCV, 8 candidates x 3 folds of 20,000 x 20, 15 epochs each")
    print(common.table(["n_jobs", "seconds"], rows), end="\n\n")
    return found


# --- sparse ---------------------------------------------------------------------------------------

#: A process of its own, so that its memory is its own.
SPARSE = """
import json, resource, sys, time, warnings
import numpy as np, scipy.sparse
warnings.simplefilter("ignore")
sys.path.insert(0, {here!r})
from estimators import estimator
rng = np.random.default_rng(0)
rows, columns, each = {rows}, 5000, 50
indices = rng.integers(0, columns, (rows, each), dtype=np.int32)
indices.sort(axis=1)
X = scipy.sparse.csr_array((rng.random(rows * each, np.float32), indices.ravel(),
                            np.arange(0, rows * each + 1, each, dtype=np.int32)), shape=(rows, columns))
y = (X[:, :50].sum(1) > np.median(X[:, :50].sum(1))).astype(int)
small = estimator({library!r}, "MLPClassifier")(max_iter=1, random_state=0).fit(X[:500], y[:500])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
model = estimator({library!r}, "MLPClassifier")(max_iter={epochs}, random_state=0).fit(X, y)
took = time.perf_counter() - began
matrix = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(json.dumps({{"seconds": took / {epochs}, "matrix": matrix, "grown": grown, "loss": model.loss_}}))
"""


def sparse(rounds: int) -> dict[str, Any]:
    import json

    found: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
    for _ in range(rounds):
        for library, runs in found.items():
            code = SPARSE.format(here=str(common.HERE), rows=100_000, epochs=3, library=library)
            out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            runs.append(json.loads(out.stdout))
    rows = [
        [
            library,
            f"{median(run['seconds'] for run in runs):.2f}",
            f"{median(run['grown'] for run in runs) / 1e6:.0f}",
            f"{runs[0]['loss']:.6f}",
        ]
        for library, runs in found.items()
    ]
    print(f"compressed rows, 100,000 x 5,000 of 1 %, {found['schuss'][0]['matrix'] / 1e6:.0f} MB, float32")
    print(common.table(["", "seconds an epoch", "MB taken by fit", "loss"], rows), end="\n\n")
    return found


# --- online ---------------------------------------------------------------------------------------

NETS = {"20-64-64-2": (20, (64, 64), 2), "784-1024-10": (784, (1024,), 10)}


def torch_adam(features: int, hidden: tuple[int, ...], classes: int) -> Callable[[Array, Array], Any]:
    """One example through PyTorch's eager Adam, the loss read back as the estimators do."""
    import torch

    sizes = (features, *hidden, classes)
    layers: list[Any] = []
    for a, b in pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(x: Array, y: Array) -> float:
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def online(rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for net, (features, hidden, classes) in NETS.items():
        rng = np.random.default_rng(0)
        X, y = rng.random((200, features), np.float32), rng.integers(0, classes, 200)
        options = {"hidden_layer_sizes": hidden, "random_state": 0, "batch_size": 1}
        models = {
            library: estimator(library, "MLPClassifier")(**options).partial_fit(
                X, y, classes=np.arange(classes)
            )
            for library in LIBRARIES
        }
        calls: dict[str, Callable[[Array, Array], Any]] = {
            "schuss, check_input=False": lambda x, y, m=models["schuss"]: m.partial_fit(
                x, y, check_input=False
            ),
            "schuss": models["schuss"].partial_fit,
            "sklearn": models["sklearn"].partial_fit,
        }
        try:
            calls["torch"] = torch_adam(features, hidden, classes)
        except ImportError:
            print("torch is not installed: left out")
        calls_us = turns(calls, [(X[i : i + 1], y[i : i + 1]) for i in range(200)], rounds)
        found[net] = summarised(calls_us)
        print(f"partial_fit on one example, Adam, {net}, float32")
        print(latencies(calls_us), end="\n\n")
    return found


def turns(
    calls: dict[str, Callable[..., Any]], arguments: list[tuple[Any, ...]], rounds: int, block: float = 0.5
) -> dict[str, list[float]]:
    """Microseconds of each call; blocks of half a second take turns, the first not counted."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            end = time.perf_counter() + block
            for given in islice(cycle(arguments), 100_000):
                began = time.perf_counter()
                call(*given)
                done = time.perf_counter()
                if turn:
                    found[name].append(1e6 * (done - began))
                if done > end:
                    break
    return found


def summarised(found: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {"calls": len(us)} | {f"p{q}_us": float(np.percentile(us, q)) for q in (50, 90, 99, 100)}
        for name, us in found.items()
    }


def latencies(found: dict[str, list[float]]) -> str:
    base = np.median(next(iter(found.values())))
    rows = [
        [name, f"{np.median(us):.1f}", f"{np.percentile(us, 99):.1f}", f"{np.median(us) / base:.1f}", len(us)]
        for name, us in found.items()
    ]
    return common.table(["", "p50 us", "p99 us", "times the first", "calls"], rows)


# --- predict --------------------------------------------------------------------------------------


def session(model: Any) -> Callable[[Array], Array]:
    """The same network in ONNX Runtime."""
    import tempfile

    import onnxruntime

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        model.export_onnx(file.name)
        run = onnxruntime.InferenceSession(file.name, providers=["CPUExecutionProvider"])
    name = run.get_inputs()[0].name
    return lambda x: run.run(["probabilities"], {name: x})[0]


def torch_proba(model: Any) -> Callable[[Array], Array]:
    import torch

    layers: list[Any] = []
    for W, b in zip(model.coefs_, model.intercepts_, strict=True):
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data, linear.bias.data = torch.tensor(W.T.copy()), torch.tensor(b.copy())
        layers += [linear, torch.nn.ReLU()]
    last = torch.nn.Sigmoid() if model.n_outputs_ == 1 else torch.nn.Softmax(1)
    network = torch.nn.Sequential(*layers[:-1], last).eval()

    def predict(x: Array) -> Array:
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    return predict


def predictors(ours: Any, theirs: Any) -> dict[str, Callable[[Array], Array]]:
    calls = {"schuss": ours.predict_proba, "sklearn": theirs.predict_proba}
    for name, make in (("onnxruntime", session), ("torch", torch_proba)):
        try:
            calls[name] = make(ours)
        except ImportError:
            print(f"{name} is not installed: left out")
    return calls


def predict(rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for net, (features, hidden, classes) in {
        "20-100-2": (20, (100,), 2),
        "784-1024-10": (784, (1024,), 10),
    }.items():
        rng = np.random.default_rng(0)
        X, y = rng.random((400, features), np.float32), np.arange(400) % classes
        ours = estimator("schuss", "MLPClassifier")(hidden, max_iter=2, random_state=0).fit(X, y)
        calls = predictors(ours, ours.to_sklearn())
        wanted = ours.predict_proba(X)
        for name, call in calls.items():
            assert np.allclose(np.asarray(call(X)).reshape(400, -1)[:, -1], wanted[:, -1], atol=1e-5), name
        one = turns(calls, [(X[i : i + 1],) for i in range(400)], rounds)
        print(f"predict_proba of one row, {net}, float32")
        print(latencies(one), end="\n\n")
        many = rng.random((1_000_000, features), np.float32)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(seconds(partial(call, many)))
        base = median(times["schuss"])
        rows = [[n, f"{median(t):.3f}", f"{median(t) / base:.1f}"] for n, t in times.items()]
        print(f"predict_proba of 1,000,000 rows, {net}, float32")
        print(common.table(["", "seconds", "times schuss"], rows), end="\n\n", flush=True)
        found[net] = {"one row": summarised(one), "million rows s": times}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("fit", "search", "sparse", "online", "predict"))
    parser.add_argument("sets", nargs="*", help=f"for fit: {', '.join(SETS)}; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="seeds of fit, rounds of the others; default 5")
    parser.add_argument("--json", help="write every measurement to this file")
    o = parser.parse_args()
    warnings.simplefilter("ignore")
    print(common.header(o.what))
    found = {
        "fit": lambda: fit(o.sets, o.rounds),
        "search": lambda: search(o.rounds),
        "sparse": lambda: sparse(o.rounds),
        "online": lambda: online(o.rounds),
        "predict": lambda: predict(o.rounds),
    }[o.what]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    common.write(o.json, {**common.machine(), o.what: found, "peak_kb": peak})


if __name__ == "__main__":
    main()
