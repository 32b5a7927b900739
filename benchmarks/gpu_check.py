"""The networks of gpu.py's check, and how one is checked: on the GPU and on the CPU, from the same start.

In float32 and float64 both steps, `cuda` and `cuda-naive`, have the CPU's bits: outputs, losses, the gradient, and
after some epochs, with a last minibatch that is shorter, parameters and optimizer state. In tf32 and bfloat16 outputs
and gradient are near those in float64, and a second training has the bits of the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from schuss.activations import HIDDEN_ACTIVATIONS

Case = dict[str, Any]

#: Relative to the norm of what is expected: operands of 11 and 8 bits, in each of the products on the way.
ALLOWED = {"tf32": 4 * 2.0**-11, "bfloat16": 4 * 2.0**-8}
ROWS, BATCH, EPOCHS, RATE = 37, 8, 2, 0.05

#: Losses with their output activations and numbers.
OUTPUTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("squared_error", output, {}) for output in ("identity", "logistic", "tanh", "relu")),
    *(("log_loss", output, {"label_smoothing": 0.1}) for output in ("softmax", "logistic")),
    *(("focal", output, {"focal_gamma": 1.5}) for output in ("softmax", "logistic")),
    ("poisson", "exp", {}),
    ("gamma", "exp", {}),
    ("absolute_error", "identity", {}),
    ("huber", "identity", {"huber_delta": 0.6}),
    ("quantile", "identity", {"quantiles": (0.3,)}),
    ("hinge", "identity", {}),
)
#: Where a slope jumps, operands that are rounded come to lie on the other side.
JUMPS = ("relu", "leaky_relu", "selu", "hardtanh", "absolute_error", "quantile", "hinge")
TRAININGS: tuple[Case, ...] = (
    {"optimizer": {"momentum": 0.9}},
    {"optimizer": {"momentum": 0.9, "nesterov": True, "alpha": 0.01}},
    {"optimizer": {"solver": "adam"}},
    {"optimizer": {"solver": "adamw", "alpha": 0.01}, "weights": True},
    {"optimizer": {"weight_decay": 0.1}, "dropout": [0.25, 0.5]},
    {"optimizer": {"clip_norm": 0.05}},
    {"weights": True},
    {"scale": 0.5},
)
LAYERS = ((1, 1), (3, 5, 2), (17, 33, 31, 10), (130, 64, 17), (31, 257, 65, 129, 16), (100, 1000, 1004, 10))
BATCHES = (1, 7, 64, 129)


def cases(small: bool) -> list[Case]:
    """All of them; `small`: without networks that an emulated GPU takes long for."""
    layers, batches = (LAYERS[:3], BATCHES[:2]) if small else (LAYERS, BATCHES)
    shapes: list[Case] = [
        *({"activation": f} for f in HIDDEN_ACTIVATIONS),
        *({"loss": loss, "output": output, "numbers": numbers} for loss, output, numbers in OUTPUTS),
        *TRAININGS,
        *({"layers": n, "batch": batch, "rows": 2 * batch + 1} for n in layers for batch in batches),
    ]
    ways = [
        *(("cuda", precision) for precision in ("float32", "float64", *ALLOWED)),
        *(("cuda-naive", precision) for precision in ("float32", "float64")),
    ]
    found = [
        {"kernels": kernels, "precision": precision, **shape}
        for kernels, precision in ways
        for shape in shapes
    ]
    return [case for case in found if exact(case) or not jumps(case)]


def exact(case: Case) -> bool:
    """Whether the CPU's bits are expected."""
    return case["precision"] in ("float32", "float64")


def jumps(case: Case) -> bool:
    """Whether a slope does."""
    return bool({case.get("activation"), case.get("loss"), case.get("output")} & {*JUMPS})


def named(case: Case) -> str:
    """The case in a line."""
    rest = {k: v for k, v in case.items() if k not in ("kernels", "precision")}
    return f"{case['kernels']} {case['precision']} {rest}"


class Problem:
    """The network of a case, its data, and how it is trained."""

    def __init__(self, case: Case) -> None:
        import schuss
        from schuss.losses import Loss

        self.case, self.precision = case, case["precision"]
        self.loss = Loss(case.get("loss", "log_loss"), **case.get("numbers", {}))
        self.sizes = tuple(case.get("layers", (13, 17, 9, 4)))
        # softmax has two outputs at least
        self.output = case.get("output", "softmax" if self.sizes[-1] > 1 else "logistic")
        self.batch, rows = case.get("batch", BATCH), case.get("rows", ROWS)
        rng = np.random.default_rng(len(named(case)))
        self.X = rng.standard_normal((rows, self.sizes[0])).astype(self.dtype)
        self.y = self._targets(rng, rows)
        self.weights = rng.uniform(0.5, 2, rows) if case.get("weights") else None
        self.order = np.concatenate([rng.permutation(rows) for _ in range(EPOCHS)])
        self.network = self._network(schuss.Network, self.dtype)

    @property
    def dtype(self) -> str:
        """Of the parameters."""
        return "float64" if self.precision == "float64" else "float32"

    def _targets(self, rng: Any, rows: int) -> Any:
        shape = rows, self.sizes[-1]
        if self.output == "softmax":
            return rng.integers(0, shape[1], rows).astype(np.int32)
        if self.loss.name in ("log_loss", "focal", "hinge"):
            return rng.integers(0, 2, shape).astype(self.dtype)
        return rng.uniform(0.2, 1.5, shape).astype(self.dtype)

    def _network(self, make: Any, dtype: str) -> Any:
        return make(
            self.sizes, activation=self.case.get("activation", "tanh"), output_activation=self.output, loss=self.loss,
            input_scale=self.case.get("scale", 1.0), dtype=dtype, seed=1,
        )  # fmt: skip

    def engine(self, kernels: str, precision: str) -> Any:
        """An engine with the start's parameters."""
        from schuss.optimizers import Optimizer
        from schuss.plan import Plan

        dtype = "float64" if precision == "float64" else "float32"
        network = self._network(type(self.network), dtype)
        plan = Plan.parse(kernels, 1, precision="" if kernels.startswith("native") else precision)
        dropout = self.case.get("dropout", ())
        engine = network.new_engine(
            plan, Optimizer(**self.case.get("optimizer", {})), dropout=dropout, seed=3
        )
        engine.load(self.network.parameters.astype(dtype))
        return engine

    def results(self, kernels: str, precision: str, trained: bool = True) -> dict[str, Any]:
        """What an engine computes from the start: outputs, losses, gradient; and what it has after a training."""
        engine = self.engine(kernels, precision)
        dtype = engine.dtype
        X = self.X.astype(dtype)
        y = self.y if self.y.dtype.kind == "i" else self.y.astype(dtype)
        outputs, losses = engine.forward(X, y)
        found = {"outputs": outputs, "losses": losses, "gradient": np.empty(self.network.n_parameters, dtype)}
        engine.gradient(X, y, found["gradient"], None, self.weights)
        if trained:
            rates = np.linspace(RATE, RATE / 2, -(-len(self.order) // self.batch))
            found["means"], _ = engine.run(X, y, self.order, self.batch, rates, self.weights)
            for slot in range(engine.slots):
                found[f"slot {slot}"] = np.empty(self.network.n_parameters, dtype)
                engine.store_slot(slot, found[f"slot {slot}"])
        return found


def run(case: Case) -> dict[str, Any]:
    """Whether the case is right; how far what is near is at most; what is wrong, in words."""
    problem = Problem(case)
    found = problem.results(case["kernels"], problem.precision)
    if exact(case):
        what = differences(found, problem.results("native:1x1", problem.precision))
        return {"right": not what, "what": what, "far": None}
    again = differences(found, problem.results(case["kernels"], problem.precision))
    right = problem.results("native:1x1", "float64", trained=False)
    far = {name: distance(found[name], wanted) for name, wanted in right.items()}
    allowed = ALLOWED[problem.precision]
    wrong = [f"{name} is {d:.1e} off, {allowed:.1e} allowed" for name, d in far.items() if not d <= allowed]
    if again:
        wrong.append(f"a second time: {again}")
    return {"right": not wrong, "what": "; ".join(wrong), "far": max(far.values())}


def distance(got: Any, wanted: Any) -> float:
    """||got - wanted|| / ||wanted||."""
    off = float(np.linalg.norm(got.astype(np.float64) - wanted))
    return off and off / float(np.linalg.norm(wanted))


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Arrays whose bits differ: how many, and the first of them."""
    said = []
    for name, right in wanted.items():
        got = found[name]
        other = np.flatnonzero(got.view(f"u{got.itemsize}") != right.view(f"u{right.itemsize}"))
        if len(other):
            at, mine, theirs = other[0], got.ravel()[other[0]], right.ravel()[other[0]]
            said.append(f"{name}: {len(other)} of {right.size} differ, first [{at}] {mine!r} for {theirs!r}")
    return "; ".join(said)
