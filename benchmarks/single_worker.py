"""A process that learns from one example at a time, as schuss.study.worker answers requests:

    check           losses of the first examples, from the start
    warm            calls until all is compiled and warm
    calls           `count` further calls, or as many as `seconds` allow: nanoseconds of each

A call takes an example in the library's own kind of array, updates the parameters, and returns the loss as a
Python float. Started by single.py; the job is the argument, in JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import Any

from schuss.study import peers
from schuss.study.work import Work
from schuss.study.worker import serve

WARM_SECONDS = 1.0
Step = Callable[[Any, Any], float]
#: A step, and the examples x (1, n_0), y (1,) that it is called with.
Made = tuple[Step, list[tuple[Any, Any]]]


def pairs(X: Any, y: Any) -> list[tuple[Any, Any]]:
    return [(X[i : i + 1], y[i : i + 1]) for i in range(len(X))]


def schuss_step(work: Work, X: Any, y: Any) -> Made:
    return partial(work.start().step, learning_rate=work.rate), pairs(X, y)


def torch_step(work: Work, X: Any, y: Any) -> Made:
    import torch

    from schuss.study.peers.torch import mean_loss, sequential

    model = sequential(work.start())
    optimizer = torch.optim.SGD(model.parameters(), lr=work.rate, fused=True)

    def step(x: Any, y: Any) -> float:
        loss = mean_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, pairs(torch.from_numpy(X), torch.from_numpy(y))


def jax_step(work: Work, X: Any, y: Any) -> Made:
    import jax

    from schuss.study.peers.jax import mean_loss, sgd

    start = work.start()
    layers = [
        (jax.numpy.array(W), jax.numpy.array(b)) for W, b in zip(start.weights, start.biases, strict=True)
    ]

    @partial(jax.jit, donate_argnums=0)
    def jitted(layers: Any, x: Any, y: Any) -> tuple[Any, Any]:
        loss, gradients = jax.value_and_grad(partial(mean_loss, work))(layers, x, y)
        return sgd(work, layers, (), gradients)[0], loss

    def step(x: Any, y: Any) -> float:
        nonlocal layers
        layers, loss = jitted(layers, x, y)
        return float(loss)

    return step, [jax.device_put(pair) for pair in pairs(X, y.astype("int32"))]


def sklearn_step(work: Work, X: Any, y: Any) -> Made:
    from schuss.study.peers.sklearn import PartialFit

    model = PartialFit(work, X, y, work.start()).model

    def step(x: Any, y: Any) -> float:
        return float(model.partial_fit(x, y).loss_)

    return step, pairs(X, y)


STEPS = {"schuss": schuss_step, "torch": torch_step, "jax": jax_step, "sklearn": sklearn_step}


class Caller:
    def __init__(self, name: str, work: Work) -> None:
        self.step, examples = STEPS[peers.split(name)[0]](work, *work.data())
        self.examples = cycle(examples)

    def check(self) -> dict[str, Any]:
        return {"losses": [self.step(x, y) for x, y in islice(self.examples, 20)]}

    def warm(self) -> dict[str, Any]:
        end = time.perf_counter() + WARM_SECONDS
        while time.perf_counter() < end:
            self.step(*next(self.examples))
        return {}

    def calls(self, count: int, seconds: float) -> dict[str, Any]:
        clock, step = time.perf_counter_ns, self.step
        end, found = clock() + seconds * 1e9, []
        for x, y in islice(self.examples, count):
            began = clock()
            step(x, y)
            done = clock()
            found.append(done - began)
            if done > end:
                break
        return {"nanoseconds": found}


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    caller = Caller(job["name"], Work(**job["work"]))
    serve({"check": caller.check, "warm": caller.warm, "calls": caller.calls})
