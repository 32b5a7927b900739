"""JAX: the whole epoch is one compiled scan; data stays on the device, parameters are donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import schuss
from schuss.study.peers import xla_threads
from schuss.study.work import Work

__all__ = ["Scan", "mean_loss", "sgd"]

F = {"relu": jax.nn.relu, "logistic": jax.nn.sigmoid, "tanh": jnp.tanh, "identity": lambda z: z}


def mean_loss(work: Work, layers: Any, x: Any, y: Any) -> Any:
    """Over the examples of a minibatch; y are class numbers, or rows of targets."""
    a = x
    for W, b in layers[:-1]:
        a = F[work.activation](a @ W + b)
    W, b = layers[-1]
    z = (a @ W + b).astype(jnp.float32)  # layers may be of bfloat16
    if work.loss == "squared_error":
        return 0.5 * jnp.sum((F[work.output](z) - y) ** 2) / len(x)
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0])


def sgd(work: Work, layers: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
    """Gradient descent, with Polyak's momentum where there is some."""
    if work.momentum:
        state = jax.tree.map(lambda v, g: work.momentum * v - work.rate * g, state, gradients)
        return jax.tree.map(jnp.add, layers, state), state
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


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def run_epoch(work: Work, dtype: str, trained: Any, X: Any, y: Any, order: Any) -> tuple[Any, Any]:
    """An epoch, compiled, that computes in `dtype`; the parameters' memory is given away."""
    update = adam if work.optimizer == "adam" else sgd

    def loss_of(layers: Any, x: Any, t: Any) -> Any:
        return mean_loss(work, jax.tree.map(lambda p: p.astype(dtype), layers), x, t)

    def step(trained: Any, rows: Any) -> tuple[Any, Any]:
        layers, state = trained
        # a permutation is within bounds: XLA need not clamp it
        x, t = (array.at[rows].get(mode="promise_in_bounds") for array in (X, y))
        loss, gradients = jax.value_and_grad(loss_of)(layers, x, t)
        return update(work, layers, state, gradients), loss

    trained, losses = lax.scan(step, trained, order.reshape(-1, work.batch))
    return trained, jnp.mean(losses)


class Scan:
    """Faster in trials than a Python loop over jitted steps; unrolling the scan, or fetching the epoch's rows at
    once before it, gained nothing or lost. It computes in `dtype`, with parameters of float32."""

    shuffles = False
    compiles_epochs = True
    dtype = "float32"

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        self.work = work
        targets = work.targets(y)
        self.X = jnp.array(X, self.dtype)
        self.y = jax.device_put(targets.astype("int32") if targets.ndim == 1 else targets)
        layers = [(jnp.array(W), jnp.array(b)) for W, b in zip(start.weights, start.biases, strict=True)]
        zeros = jax.tree.map(jnp.zeros_like, layers)
        state: Any = ()
        if work.optimizer == "adam":
            state = (jnp.zeros(()), zeros, jax.tree.map(jnp.zeros_like, layers))  # donated: no array twice
        elif work.momentum:
            state = zeros
        self.trained = layers, state
        self.threads = xla_threads()

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order."""
        order = order.astype("int32")
        self.trained, loss = run_epoch(self.work, self.dtype, self.trained, self.X, self.y, order)
        return float(loss)

    def versions(self) -> dict[str, str]:
        """Of what computes."""
        return {"jax": jax.__version__}
