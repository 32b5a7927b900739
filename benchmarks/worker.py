"""A process that trains one implementation and answers requests, a line each, with a line of JSON.

    check             the losses of two short epochs from the start; who computes, with how many threads
    prepare           all the rows, the start again, and training until all is compiled and warm
    epoch SECONDS     whole epochs until that much time has passed: mean seconds of one, and its last loss

Started by measure.py; the job is the argument, in JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from itertools import islice
from typing import Any

import peers
from work import Work

#: Length of the check: enough updates for a wrong formula to show, few enough for the slowest plans.
CHECK_STEPS, CHECK_EPOCHS = 4, 2
WARM_SECONDS = 0.5


def check(name: str, work: Work) -> dict[str, Any]:
    short = work.with_steps(CHECK_STEPS)
    peer = peers.build(name, short, *short.data())
    losses = [peer.epoch(order) for order in islice(short.orders(), CHECK_EPOCHS)]
    return {"losses": losses, "threads": peer.threads, "versions": peer.versions()} | (
        {"plan": peer.plan} if hasattr(peer, "plan") else {}
    )


class Timed:
    """The order is drawn within the timed span, by the same generator for all that do not draw their own."""

    def __init__(self, name: str, work: Work) -> None:
        self.peer, self.orders = peers.build(name, work, *work.data()), work.orders()
        self.epochs(WARM_SECONDS)

    def epochs(self, at_least: float) -> dict[str, Any]:
        done, began = 0, time.perf_counter()
        while True:
            loss = self.peer.epoch(None if self.peer.shuffles else next(self.orders))
            done, seconds = done + 1, time.perf_counter() - began
            if seconds >= at_least:
                return {"seconds": seconds / done, "epochs": done, "loss": loss}


def serve(requests: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer until the input ends. Replies own the true standard output; what libraries print goes to the errors."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request, *arguments = line.split()
        try:
            reply = requests[request](*map(float, arguments))
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


def main() -> None:
    job = json.loads(sys.argv[1])
    name, work = job["name"], Work(**job["work"])
    timed: list[Timed] = []

    def prepare() -> dict[str, Any]:
        timed.append(Timed(name, work))
        return {}

    serve(
        {
            "check": lambda: check(name, work),
            "prepare": prepare,
            "epoch": lambda at_least: timed[0].epochs(at_least),
        }
    )


if __name__ == "__main__":
    main()
