"""A process that trains one implementation and answers requests, a line of JSON each.

    check             losses of the check's epochs, and seconds of the last; who computes, with how many threads
    prepare           the rows, the start again, and training until all is compiled and warm: seconds a row
    epoch             whole epochs until `seconds` have passed: mean seconds of one, and the last loss
    peak              FLOP/s in the registers of the GPU that computes; after `prepare`
    curve             from the start again: seconds trained and mean loss, after every so many minibatches

The first argument is the job, in JSON: the implementation's `name`, and the `work` that a request means which brings
none of its own. Started by measure.py.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from schuss.study import peers
from schuss.study.work import CHECK_EPOCHS, Work

__all__ = ["Serving", "check", "serve"]

WARM_SECONDS = 0.3


def check(name: str, work: Work) -> dict[str, Any]:
    """Mean loss of each epoch of the check, and who computed it."""
    short, X, y = work.check()
    peer = peers.build(name, short, X, y)
    losses = [peer.epoch(order) for order in islice(short.orders(), CHECK_EPOCHS)]
    return {
        "losses": losses,
        "threads": peer.threads,
        "versions": peer.versions(),
        "plan": getattr(peer, "plan", None),
    }


class Timed:
    """The order is drawn within the timed span, by the same generator for all that do not draw their own."""

    def __init__(self, name: str, work: Work) -> None:
        self.work, self.peer, self.orders = work, peers.build(name, work, *work.data()), work.orders()
        self.row_seconds = self._warmed()

    def _warmed(self) -> float:
        """Train until all is compiled and warm; seconds a row in the end.

        On an eighth of the rows, but where the length of an epoch is compiled in on all.
        """
        part = self.work.rows if self.peer.compiles_epochs else max(1, self.work.steps // 8) * self.work.batch
        end = time.perf_counter() + WARM_SECONDS
        while True:
            began = time.perf_counter()
            whole = self.peer.shuffles and self.peer.compiles_epochs
            self.peer.epoch(None if whole else next(self.orders)[:part])
            done = time.perf_counter()
            if done >= end and not getattr(self.peer, "settling", False):
                return (done - began) / part

    def epochs(self, at_least: float) -> dict[str, Any]:
        """Whole epochs until `at_least` seconds have passed."""
        done, began = 0, time.perf_counter()
        while True:
            loss = self.peer.epoch(None if self.peer.shuffles else next(self.orders))
            done, seconds = done + 1, time.perf_counter() - began
            if seconds >= at_least:
                plan = getattr(self.peer, "plan", None)
                return {"seconds": seconds / done, "epochs": done, "loss": loss, "plan": plan}


def segments(work: Work, steps: int) -> Iterator[Any]:
    """The orders of epoch after epoch, cut into pieces of so many minibatches; a shorter rest is left out."""
    length = steps * work.batch
    for order in work.orders():
        for begin in range(0, len(order) - length + 1, length):
            yield order[begin : begin + length]


def curve(name: str, work: Work, steps: int, seconds: float) -> dict[str, Any]:
    """Loss against the time trained. The first `steps` minibatches, while libraries compile, take no time."""
    peer = peers.build(name, work, *work.data())
    orders = segments(work, steps)
    taken, losses = [0.0], [peer.epoch(next(orders))]
    while taken[-1] < seconds:
        began = time.perf_counter()
        losses.append(peer.epoch(next(orders)))
        taken.append(taken[-1] + time.perf_counter() - began)
    return {"seconds": taken, "loss": losses}


def serve(requests: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer until the input ends. Replies own the true standard output; what libraries print goes to the errors."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            reply = requests[arguments.pop("request")](**arguments)
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


class Serving:
    """The requests of one process."""

    def __init__(self, name: str, work: dict[str, Any] | None = None) -> None:
        self.name, self.given = name, work
        self.timed: Timed | None = None

    def _work(self, work: dict[str, Any] | None) -> Work:
        given = work or self.given
        assert given is not None
        return Work(**given)

    def check(self, work: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the module."""
        return check(self.name, self._work(work))

    def prepare(self, work: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the module; what was prepared before is given up."""
        self.timed = None
        self.timed = Timed(self.name, self._work(work))
        return {"row_seconds": self.timed.row_seconds}

    def epoch(self, seconds: float = 0.0) -> dict[str, Any]:
        """See the module; after `prepare`."""
        assert self.timed is not None
        return self.timed.epochs(seconds)

    def peak(self, seconds: float) -> dict[str, Any]:
        """See the module."""
        assert self.timed is not None
        return {"flops": self.timed.peer.peak(seconds)}

    def curve(self, steps: int, seconds: float, work: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the module."""
        return curve(self.name, self._work(work), steps, seconds)


def main() -> None:
    """Serve the job of the command line."""
    job = json.loads(sys.argv[1])
    if peers.is_peer(job["name"]):
        os.environ.update(peers.ON_CPU)
    serving = Serving(**job)
    serve({name: getattr(serving, name) for name in ("check", "prepare", "epoch", "peak", "curve")})


if __name__ == "__main__":
    main()
