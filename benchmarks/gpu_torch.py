"""PyTorch on a GPU, in a precision that is named: eager, replayed as CUDA graphs, and compiled and replayed.

Data, model and the epoch's order are on the GPU. In tf32 the matrix units round the operands of products; bfloat16 is
autocast, the way of PyTorch's own guide: weights, their gradients and the loss are float32, and the examples are
bfloat16 already, so that fetching them costs what it costs us.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

import schuss
from schuss.study.peers import torch as peer
from schuss.study.work import Work

__all__ = ["Compiled", "Eager", "Graphed", "matrix_rate"]

#: Most steps that one graph holds: enough that starting it costs nothing beside them.
MOST_STEPS = 130


def set_precision(precision: str) -> None:
    """Of products of float32 matrices: float32 is none but float32, whatever the library would choose."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


class OnDevice(peer.Loop):
    """Where the data and the model are, and in what they are multiplied."""

    def __init__(
        self, work: Work, X: Any, y: Any, start: schuss.Network, precision: str, device: str
    ) -> None:
        if work.optimizer != "sgd" or work.momentum:
            raise ValueError(f"work must be plain gradient descent, got {work.optimizer}, {work.momentum}")
        self.device, self.precision, self.given = device, precision, X
        set_precision(precision)
        super().__init__(work, X, y, start)

    def placed(self, array: Any) -> torch.Tensor:
        """The array on the device; examples in bfloat16 where that is the precision."""
        tensor = super().placed(array)
        return tensor.bfloat16() if array is self.given and self.precision == "bfloat16" else tensor

    def forward_in(self) -> AbstractContextManager[Any]:
        """Autocast for bfloat16."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")

    def state(self) -> list[torch.Tensor]:
        """What training changes."""
        return list(self.model.parameters())


class Eager(OnDevice, peer.Eager):
    """As schuss.study.peers has it."""


class Replayed(OnDevice):
    """Many steps are recorded once and replayed: nothing of Python or of launching is left between the kernels.

    On a CPU, where only the program is tried, they are called.
    """

    def __init__(self, work: Work, *rest: Any) -> None:
        super().__init__(work, *rest)
        self.steps = max(n for n in range(1, MOST_STEPS + 1) if work.steps % n == 0)
        self.rows = torch.zeros(self.steps * work.batch, dtype=torch.int64, device=self.device)
        self.total = torch.zeros((), device=self.device)
        before = [tensor.detach().clone() for tensor in self.state()]
        self.replay = self.recorded() if self.device == "cuda" else self.body
        with torch.no_grad():
            for tensor, start in zip(self.state(), before, strict=True):
                tensor.copy_(start)

    def body(self) -> None:
        """The steps of one graph."""
        losses = [self.step(rows) for rows in self.rows.split(self.work.batch)]
        self.total.add_(torch.stack(losses).sum())

    def recorded(self) -> Any:
        """The graph, after steps that compile and choose what is to be recorded."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.step(self.rows[: self.work.batch])
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.body()
        return graph.replay

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order."""
        self.total.zero_()
        for rows in self.placed(order).split(len(self.rows)):
            self.rows.copy_(rows)
            self.replay()
        return float(self.total) / (len(order) // self.work.batch)


class Graphed(Replayed, peer.Eager):
    """What eager PyTorch launches."""


class Compiled(Replayed, peer.Compiled):
    """One compiled function for the whole step."""

    def compile(self, step: Any) -> Any:
        """Without a wrapper in C++, which is slow to compile: replaying leaves nothing of it."""
        return torch.compile(step, dynamic=False, fullgraph=True)

    def state(self) -> list[torch.Tensor]:
        """What training changes."""
        return list(self.parameters.values())


def matrix_rate(precision: str, n: int, seconds: float, device: str) -> float:
    """FLOP/s of torch.matmul of two random n x n matrices: the median of products that each took their turn."""
    set_precision(precision)
    dtype = {"bfloat16": torch.bfloat16, "float64": torch.float64}.get(precision, torch.float32)
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return 2 * n**3 / median_seconds(lambda: torch.matmul(a, b), seconds, device)


def copy_rate(nbytes: int, seconds: float, device: str) -> float:
    """Bytes read and written a second by a copy of so many bytes."""
    a, b = (torch.randint(256, (nbytes,), dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * nbytes / median_seconds(lambda: b.copy_(a), seconds, device)


def median_seconds(call: Any, seconds: float, device: str) -> float:
    """Of a call, warm; several in a row where one takes little."""
    import time
    from statistics import median

    def wait() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(3):
        call()
    began = wait()
    call()
    count = max(1, int(2e-3 / (wait() - began)))
    found, end = [], wait() + seconds
    while not found or wait() < end:
        began = wait()
        for _ in range(count):
            call()
        found.append((wait() - began) / count)
    return median(found)
