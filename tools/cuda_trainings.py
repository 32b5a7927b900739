"""Short trainings of several networks on a GPU, which between them launch every kernel: what cuda_sanitize.sh watches.

python tools/cuda_trainings.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

import schuss
from schuss.cuda import data
from schuss.plan import PRECISIONS

FEATURES, BATCH = 37, 32
#: Few outputs and many, with tiles that are not full; each optimizer; what needs the gradient in memory.
TRAININGS = (
    {"hidden_layer_sizes": (65, 33), "solver": "adam"},
    {"hidden_layer_sizes": (40,), "activation": "gelu", "momentum": 0.9, "nesterov": True, "clip_norm": 0.1},
    {"hidden_layer_sizes": (130, 70), "alpha": 0.01, "dropout": 0.25, "momentum": 0.9},
    {"hidden_layer_sizes": (), "solver": "adamw"},
)
OUTPUTS = (3, 20)
#: Widths of two layers and minibatches whose products take tiles of medium size, and large ones.
WIDE = ((256, 256), (768, 512), (1280, 2048))


def train(plan: str, precision: str, outputs: int, batch: int = BATCH, **training: Any) -> None:
    """A training with a gradient of its own and predictions; every value must be finite."""
    rng = np.random.default_rng(0)
    dtype = np.float64 if precision == "float64" else np.float32
    rows = 2 * batch + 11
    X = rng.standard_normal((rows, FEATURES)).astype(dtype)
    y = np.arange(rows) % outputs
    network = schuss.train(
        X, y, plan=plan, precision=precision, batch_size=batch, epochs=2, learning_rate=0.01, **training
    )
    found = [network.forward(X), network.gradient(X, y), network.parameters]
    if not all(np.isfinite(array).all() for array in found):
        raise SystemExit(f"{plan}, {precision}, {training}: a value is not finite")


def small() -> None:
    """Networks of a few units, and one whose examples do not fit in the GPU's memory."""
    for plan in ("cuda", "cuda-naive"):
        for precision in PRECISIONS if plan == "cuda" else PRECISIONS[:2]:
            for training in TRAININGS:
                for outputs in OUTPUTS:
                    train(plan, precision, outputs, **training)
    data._SHARE, data._CHUNK = 0.0, 4 * BATCH * FEATURES  # nothing stays, and a chunk has one minibatch
    train("cuda", "tf32", 3, hidden_layer_sizes=(16,))


def main() -> None:
    """All of them."""
    for precision in PRECISIONS:
        for width, batch in WIDE:
            train("cuda", precision, 3, batch, hidden_layer_sizes=(width, width))
    small()
    print("all trainings done")


if __name__ == "__main__":
    main()
