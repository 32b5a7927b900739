"""The worker of Keras 2 on Theano: an old Python without Schuss, which is told everything in files."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from schuss.study import peers
from schuss.study.measure import Worker
from schuss.study.work import CHECK_EPOCHS, Work

__all__ = ["TheanoWorker", "save_targets"]

SCRIPT = Path(peers.__file__).parent / "keras2_theano.py"


class TheanoWorker(Worker):
    """As :class:`Worker`, in the environment of `python`; `folder` is for the files."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.folder = folder
        super().__init__(name, (python, str(SCRIPT)))

    def ask(self, request: str, limit: float | None = None, **arguments: Any) -> dict[str, Any]:
        """As a worker's, with a file in place of the `work`."""
        work = arguments.pop("work", None)
        if work is not None:
            arguments["file"] = str(save(Work(**work), self.folder / "keras2-theano.npz"))
        return super().ask(request, limit, **arguments)


def save(work: Work, file: Path) -> Path:
    """The network with its starting weights and the data of the check."""
    start = work.start()
    short, X, y = work.check()
    facts = work.as_dict() | {"rate": work.rate, "activations": start.activations}
    parameters = [array for pair in zip(start.weights, start.biases, strict=True) for array in pair]
    np.savez(
        file,
        work=json.dumps(facts),
        X=X,
        y=work.targets(y),
        orders=np.array(list(islice(short.orders(), CHECK_EPOCHS))),
        **{f"parameters_{i}": array for i, array in enumerate(parameters)},  # type: ignore[arg-type]
    )
    return file


def save_targets(work: Work) -> None:
    """Beside the work's X.npy, the targets as its loss takes them."""
    assert work.source is not None
    folder = Path(work.source)
    np.save(folder / "targets.npy", work.targets(np.load(folder / "y.npy")))
