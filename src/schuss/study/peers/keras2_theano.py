"""Keras 2 on Theano, as the 2016 study had it: run by the Python of an old environment, without Schuss.

Answers the requests of schuss/study/worker.py. Network, data and orders come as a file with each request, as
schuss/study/theano.py writes it. For Python 3.6 and newer; needs keras 2, theano and numpy.
"""

import json
import os
import sys
import time
import traceback
from typing import Any

sys.path.pop(0)  # this folder: its keras.py is not Keras
os.environ["KERAS_BACKEND"] = "theano"
os.environ.setdefault("THEANO_FLAGS", "floatX=float32,device=cpu")

NAMES = {"relu": "relu", "logistic": "sigmoid", "tanh": "tanh", "identity": "linear", "softmax": "softmax"}
WARM_SECONDS = 0.3


def half_squared_error(y: Any, a: Any) -> Any:
    """1/2 sum over the outputs of (a - y)^2."""
    from keras import backend

    return 0.5 * backend.sum(backend.square(a - y), axis=-1)


class Fit:
    """One call of `fit` an epoch."""

    def __init__(self, work: Any, weights: Any, X: Any, y: Any) -> None:
        from keras import layers, models, optimizers

        self.X, self.y, self.batch = X, y, work["batch"]
        sizes = work["layers"]
        self.model = models.Sequential()
        for i, name in enumerate(work["activations"]):
            self.model.add(layers.Dense(sizes[i + 1], input_dim=sizes[i], activation=NAMES[name]))
        self.model.set_weights(weights)
        if work["optimizer"] == "adam":
            optimizer = optimizers.Adam(work["rate"], epsilon=1e-8)
        else:
            optimizer = optimizers.SGD(work["rate"], momentum=work["momentum"])
        log_loss = work["loss"] == "log_loss"
        loss = "sparse_categorical_crossentropy" if log_loss else half_squared_error
        self.model.compile(optimizer=optimizer, loss=loss)

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order; None: in one of its own."""
        X, y = (self.X, self.y) if order is None else (self.X[order], self.y[order])
        options = {"batch_size": self.batch, "epochs": 1, "shuffle": order is None, "verbose": 0}
        return float(self.model.fit(X, y, **options).history["loss"][-1])


class Serving:
    """The requests of one process."""

    def load(self, file: str) -> Any:
        """A request's work, its weights in Keras's order, and whatever else came with it."""
        import numpy as np

        with np.load(file) as found:
            arrays = {name: found[name] for name in found.files}
        work = json.loads(str(arrays["work"]))
        weights = [arrays[f"parameters_{i}"] for i in range(2 * len(work["activations"]))]
        return work, weights, arrays

    def data(self, work: Any) -> Any:
        """All the rows, as `Work.data` gives them."""
        import numpy as np

        X, y = (
            np.load(os.path.join(work["source"], name), mmap_mode="r") for name in ("X.npy", "targets.npy")
        )
        rows = np.arange(work["rows"]) % len(X)
        return X[rows], y[rows]

    def check(self, file: str) -> Any:
        """Mean loss of each epoch of the check."""
        import keras
        import theano

        work, weights, arrays = self.load(file)
        peer = Fit(work, weights, arrays["X"], arrays["y"])
        losses = [peer.epoch(order) for order in arrays["orders"]]
        processors = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.sysconf("SC_NPROCESSORS_ONLN")
        )
        threads = int(os.environ.get("OMP_NUM_THREADS") or processors)
        versions = {
            "keras": keras.__version__,
            "theano": theano.__version__,
            "python": sys.version.split()[0],
        }
        return {"losses": losses, "threads": threads, "versions": versions, "plan": None}

    def prepare(self, file: str) -> Any:
        """The rows, the start again, and training until all is warm."""
        work, weights, _ = self.load(file)
        X, y = self.data(work)
        self.peer = Fit(work, weights, X, y)
        return {"row_seconds": self.epoch(WARM_SECONDS)["seconds"] / len(X)}

    def epoch(self, seconds: float = 0.0) -> Any:
        """Whole epochs until so much time has passed."""
        done, began = 0, time.time()
        while True:
            loss = self.peer.epoch(None)
            done, taken = done + 1, time.time() - began
            if taken >= seconds:
                return {"seconds": taken / done, "epochs": done, "loss": loss}

    def curve(self, file: str, steps: int, seconds: float) -> Any:
        """Loss against the time trained; the first minibatches take none."""
        import numpy as np

        work, weights, _ = self.load(file)
        peer = Fit(work, weights, *self.data(work))
        length, rng = steps * work["batch"], np.random.RandomState(1)
        taken = []  # type: list[float]
        losses = []  # type: list[float]
        while not taken or taken[-1] < seconds:
            order = rng.permutation(work["rows"])
            for begin in range(0, len(order) - length + 1, length):
                began = time.time()
                losses.append(peer.epoch(order[begin : begin + length]))
                taken.append(taken[-1] + time.time() - began if taken else 0.0)
                if taken[-1] >= seconds:
                    break
        return {"seconds": taken, "loss": losses}


def main() -> None:
    """Answer until the input ends; what libraries print goes to the errors."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serving = Serving()
    while True:
        line = sys.stdin.readline()
        if not line:
            break
        arguments = json.loads(line)
        try:
            reply = getattr(serving, arguments.pop("request"))(**arguments)
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies)
        replies.flush()


if __name__ == "__main__":
    main()
