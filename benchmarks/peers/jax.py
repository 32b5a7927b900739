"""JAX: the whole epoch is one compiled scan; data stays on the device, parameters are donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from work import Work

import schuss
from peers import xla_threads

HIDDEN = {"relu": jax.nn.relu, "logistic": jax.nn.sigmoid}


def mean_loss(work: Work, layers: Any, x: Any, y: Any) -> Any:
    """Over the examples of a minibatch; y are class numbers."""
    a = x
    for W, b in layers[:-1]:
        a = HIDDEN[work.activation](a @ W + b)
    W, b = layers[-1]
    z = a @ W + b
    if work.loss == "squared_error":
        return 0.5 * jnp.sum((jax.nn.sigmoid(z) - jax.nn.one_hot(y, work.layers[-1])) ** 2) / len(x)
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0])


def sgd(work: Work, layers: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
    return jax.tree.map(lambda w, g: w - work.rate * g, layers, gradients), state


def adam(work: Work, layers: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
    """Kingma & Ba 2015, with the corrections of both moments gathered in the rate (the end of section 2)."""
    t, m, v = state
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
    rate = work.rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    layers = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), layers, m, v)
    return layers, (t, m, v)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def run_epoch(work: Work, trained: Any, X: Any, y: Any, order: Any) -> tuple[Any, Any]:
    update = adam if work.optimizer == "adam" else sgd

    def step(trained: Any, rows: Any) -> tuple[Any, Any]:
        layers, state = trained
        # a permutation is within bounds: XLA need not clamp it
        x, t = (array.at[rows].get(mode="promise_in_bounds") for array in (X, y))
        loss, gradients = jax.value_and_grad(partial(mean_loss, work))(layers, x, t)
        return update(work, layers, state, gradients), loss

    trained, losses = lax.scan(step, trained, order.reshape(-1, work.batch))
    return trained, jnp.mean(losses)


class Scan:
    """Faster in trials than a Python loop over jitted steps; unrolling the scan, or fetching the epoch's rows at
    once before it, gained nothing or lost."""

    shuffles = False

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        self.work = work
        self.X, self.y = jax.device_put(X), jax.device_put(y.astype("int32"))
        layers = [(jnp.array(W), jnp.array(b)) for W, b in zip(start.weights, start.biases, strict=True)]
        state: Any = ()
        if work.optimizer == "adam":
            state = (
                jnp.zeros(()),
                jax.tree.map(jnp.zeros_like, layers),
                jax.tree.map(jnp.zeros_like, layers),
            )
        self.trained = layers, state
        self.threads = xla_threads()

    def epoch(self, order: Any) -> float:
        self.trained, loss = run_epoch(self.work, self.trained, self.X, self.y, order.astype("int32"))
        return float(loss)

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__}
