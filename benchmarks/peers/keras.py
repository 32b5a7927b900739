"""Keras 3 on JAX: `fit` with compiled steps, and a large `steps_per_execution`."""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
from work import Work

import schuss
from peers import xla_threads

HIDDEN = {"relu": "relu", "logistic": "sigmoid"}


def half_squared_error(y: Any, a: Any) -> Any:
    return 0.5 * keras.ops.sum(keras.ops.square(a - y), axis=-1)


class Fit:
    """One call of `fit` an epoch. It shuffles by itself when timed; labels are class numbers for log_loss."""

    shuffles = True

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        classes = work.layers[-1]
        paper = work.loss == "squared_error"
        self.work, self.X = work, X
        self.y = keras.utils.to_categorical(y, classes).astype("float32") if paper else y.astype("int32")
        hidden = [keras.layers.Dense(n, activation=HIDDEN[work.activation]) for n in work.layers[1:-1]]
        last = keras.layers.Dense(classes, activation="sigmoid" if paper else None)
        self.model = keras.Sequential([keras.Input((work.layers[0],)), *hidden, last])
        self.model.set_weights(
            [array for pair in zip(start.weights, start.biases, strict=True) for array in pair]
        )
        log_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam = keras.optimizers.Adam(work.rate, epsilon=1e-8)
        self.model.compile(
            optimizer=adam if work.optimizer == "adam" else keras.optimizers.SGD(work.rate),
            loss=half_squared_error if paper else log_loss,
            jit_compile=True,
            steps_per_execution=min(work.steps, 32),  # more gained nothing in trials
        )
        self.threads = xla_threads()

    def epoch(self, order: Any) -> float:
        X, y = (self.X, self.y) if order is None else (self.X[order], self.y[order])
        history = self.model.fit(
            X, y, batch_size=self.work.batch, epochs=1, shuffle=order is None, verbose=0
        ).history
        return float(history["loss"][-1])

    def versions(self) -> dict[str, str]:
        return {"keras": keras.__version__, "jax": jax.__version__}
