"""A process of gpu.py: one implementation on the GPU, which answers requests as schuss.study.worker does.

    about           what computes, and on what
    prepare         the work in a precision, compiled and warm: seconds that took, and the mean loss of the first pass
    turn            passes over the data for so many seconds: microseconds of a step in each
    rate, copy      PyTorch alone: FLOP/s of a large matrix product, bytes/s of a copy
    train, epoch    Schuss alone: whole epochs, as schuss.study.worker's `prepare` and `epoch`
    first           Schuss alone: one step; seconds of it, from a network to its loss
    case, nodes     Schuss alone: see gpu_check.py and gpu_nodes.py

The job is the argument, in JSON: the implementation's `name`, which may be a plan, and whether the GPU is `emulated`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import cache
from itertools import cycle, islice
from typing import Any, ClassVar

import numpy as np

from schuss.study.work import EXAMPLES, Work
from schuss.study.worker import Serving, serve

#: A pass has so many steps at least: what it costs to begin one does not count, then.
STEPS = 96
#: Orders of the examples that take turns.
ORDERS = 3
WARM_SECONDS = 0.1


@cache
def data(features: int, classes: int, rows: int) -> Any:
    """Examples for all batch sizes and all hidden layers."""
    return Work((features, classes), batch=1, rows=rows).data()


class Implementation:
    """One implementation, and what it was last prepared for."""

    def __init__(self, name: str, emulated: bool) -> None:
        self.name, self.emulated = name, emulated
        self.device = "cpu" if emulated else "cuda"
        self.peer: Any = None
        self.orders: Any = None

    def about(self) -> dict[str, Any]:
        """See the module."""
        raise NotImplementedError

    def build(self, work: Work, X: Any, y: Any, precision: str) -> Any:
        """The implementation with the work's start, as schuss.study.peers has it."""
        raise NotImplementedError

    def requests(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """What it answers."""
        return {"about": self.about, "prepare": self.prepare, "turn": self.turn}

    def prepare(self, work: dict[str, Any], precision: str) -> dict[str, Any]:
        """See the module; what was prepared before is given up."""
        self.peer = None
        given = Work(**work)
        whole = data(given.layers[0], given.layers[-1], max(EXAMPLES, given.rows))
        X, y = (array[: given.rows] for array in whole)
        passes = max(1, -(-STEPS // given.steps))
        drawn = given.orders()
        self.orders = cycle([np.concatenate(list(islice(drawn, passes))) for _ in range(ORDERS)])
        self.steps = passes * given.steps
        began = time.perf_counter()
        self.peer = self.build(given, X, y, precision)
        loss = self.peer.epoch(next(self.orders))
        self.turn(WARM_SECONDS)
        return {"loss": loss, "warm_seconds": time.perf_counter() - began}

    def turn(self, seconds: float) -> dict[str, Any]:
        """See the module. Each pass ends with its mean loss on the host, so with all its work done."""
        found, clock = [], time.perf_counter
        end = clock() + seconds
        while not found or clock() < end:
            began = clock()
            loss = self.peer.epoch(next(self.orders))
            found.append((clock() - began) / self.steps * 1e6)
        return {"us": found, "loss": loss}


class Torch(Implementation):
    """PyTorch, one way or another."""

    kinds: ClassVar = {"torch": "Eager", "torch-graph": "Graphed", "torch-compiled": "Compiled"}

    def about(self) -> dict[str, Any]:
        """See the module."""
        import torch

        device = "CPU" if self.emulated else torch.cuda.get_device_name()
        return {
            "versions": {"torch": torch.__version__, "torch's CUDA": torch.version.cuda},
            "device": device,
        }

    def build(self, work: Work, X: Any, y: Any, precision: str) -> Any:
        """See the base class."""
        import gpu_torch

        return getattr(gpu_torch, self.kinds[self.name])(work, X, y, work.start(), precision, self.device)

    def requests(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """What it answers."""
        return {**super().requests(), "rate": self.rate, "copy": self.copy}

    def rate(self, precision: str, n: int, seconds: float) -> dict[str, Any]:
        """See the module."""
        import gpu_torch

        return {"flops": gpu_torch.matrix_rate(precision, n, seconds, self.device)}

    def copy(self, nbytes: int, seconds: float) -> dict[str, Any]:
        """See the module."""
        import gpu_torch

        return {"bytes": gpu_torch.copy_rate(nbytes, seconds, self.device)}


class Jax(Implementation):
    """JAX."""

    def about(self) -> dict[str, Any]:
        """See the module."""
        import jax

        if (jax.default_backend() == "cpu") != self.emulated:
            raise RuntimeError(f"it computes on {jax.default_backend()} here")
        return {"versions": {"jax": jax.__version__}, "device": jax.devices()[0].device_kind}

    def build(self, work: Work, X: Any, y: Any, precision: str) -> Any:
        """See the base class."""
        import gpu_jax

        return gpu_jax.Scan(work, X, y, work.start(), precision)


class Plan(Implementation):
    """A plan of Schuss, on the GPU or on the CPU."""

    def __init__(self, name: str, emulated: bool) -> None:
        super().__init__(name, emulated)
        if emulated:
            import gpu_emulation

            gpu_emulation.use()
        self.serving = Serving(name)

    def about(self) -> dict[str, Any]:
        """See the module."""
        from importlib.metadata import version

        from schuss import cuda

        return {"versions": {"schuss": version("schuss")}, "device": cuda.device().name}

    def build(self, work: Work, X: Any, y: Any, precision: str) -> Any:
        """See the base class."""
        import gpu_ours

        return gpu_ours.Engine(work, X, y, work.start(), self.name, precision)

    def requests(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """What it answers."""
        more = {"first": self.first, "case": self.case, "nodes": self.nodes}
        return {**super().requests(), **more, "train": self.serving.prepare, "epoch": self.serving.epoch}

    def first(self, work: dict[str, Any], precision: str) -> dict[str, Any]:
        """See the module."""
        given = Work(**work)
        X, y = given.data()
        began = time.perf_counter()
        self.build(given, X, y, precision).epoch(next(given.orders()))
        return {"engine": time.perf_counter() - began}

    def case(self, case: dict[str, Any]) -> dict[str, Any]:
        """See the module."""
        import gpu_check

        return gpu_check.run(case)

    def nodes(self, work: dict[str, Any], precision: str, seconds: float) -> dict[str, Any]:
        """See the module."""
        import gpu_nodes

        given = Work(**work)
        return gpu_nodes.measure(
            given, *given.with_steps(gpu_nodes.STEPS).data(), self.name, precision, seconds
        )


def main() -> None:
    """Serve the job of the command line."""
    job = json.loads(sys.argv[1])
    kind = Torch if job["name"] in Torch.kinds else Jax if job["name"] == "jax" else Plan
    serve(kind(**job).requests())


if __name__ == "__main__":
    main()
