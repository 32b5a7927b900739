"""Keras 3 on the backend that KERAS_BACKEND names: `fit` with compiled steps, and a large `steps_per_execution`."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import keras

import schuss
from schuss.study.peers import allowed_processors, xla_threads
from schuss.study.work import Work

__all__ = ["Fit"]

NAMES = {"relu": "relu", "logistic": "sigmoid", "tanh": "tanh", "identity": "linear", "softmax": "linear"}


def half_squared_error(y: Any, a: Any) -> Any:
    """1/2 sum over the outputs of (a - y)^2."""
    return 0.5 * keras.ops.sum(keras.ops.square(a - y), axis=-1)


class Fit:
    """One call of `fit` an epoch. It shuffles by itself when timed; labels are class numbers for log_loss."""

    shuffles = True
    compiles_epochs = True

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        targets = work.targets(y)
        self.work, self.X = work, X
        self.y = targets.astype("int32") if targets.ndim == 1 else targets
        dense = [
            keras.layers.Dense(n, activation=NAMES[name])
            for n, name in zip(work.layers[1:], start.activations, strict=True)
        ]
        self.model = keras.Sequential([keras.Input((work.layers[0],)), *dense])
        self.model.set_weights(
            [array for pair in zip(start.weights, start.biases, strict=True) for array in pair]
        )
        log_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        backend = keras.backend.backend()
        self.model.compile(
            optimizer=keras.optimizers.Adam(work.rate, epsilon=1e-8)
            if work.optimizer == "adam"
            else keras.optimizers.SGD(work.rate, momentum=work.momentum),
            loss=log_loss if work.loss == "log_loss" else half_squared_error,
            jit_compile=backend != "torch",
            # more gained nothing in trials
            steps_per_execution=min(work.steps, 32) if backend != "torch" else 1,
        )
        self.threads = THREADS[backend]()

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order."""
        X, y = (self.X, self.y) if order is None else (self.X[order], self.y[order])
        history = self.model.fit(
            X, y, batch_size=self.work.batch, epochs=1, shuffle=order is None, verbose=0
        ).history
        return float(history["loss"][-1])

    def versions(self) -> dict[str, str]:
        """Of what computes."""
        backend = keras.backend.backend()
        return {"keras": keras.__version__, backend: import_module(backend).__version__}


def _torch_threads() -> int:
    import torch

    return int(torch.get_num_threads())


def _tensorflow_threads() -> int:
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or allowed_processors())


THREADS = {"jax": xla_threads, "torch": _torch_threads, "tensorflow": _tensorflow_threads}
