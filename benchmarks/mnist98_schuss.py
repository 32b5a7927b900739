"""MNIST to 98 % with Schuss, on a GPU where the settings name one; started by mnist98.py with the settings in JSON."""

import json
import sys

import numpy as np

from schuss.data import load_mnist
from schuss.network import Network
from schuss.optimizers import Optimizer
from schuss.plan import allowed_threads
from schuss.trainer import Trainer

s = json.loads(sys.argv[1])
mnist = load_mnist()
train, rest, test = mnist.train, mnist.validation, mnist.test
network = Network(
    (784, s["hidden"], 10),
    classes=train.classes,
    input_scale=train.scale,
    input_shift=train.shift,
    seed=s["seed"],
)
X, y = network.pair(np.concatenate([train.X, rest.X]), np.concatenate([train.labels, rest.labels]))
plan = network.plan_for(
    s["batch"], "auto", allowed_threads(), device=s.get("device", "cpu"), precision=s.get("precision")
)
trainer = Trainer(
    network,
    Optimizer(s["solver"], momentum=s["momentum"]),
    s["rate"],
    s["batch"],
    plan,
    np.random.default_rng(s["seed"]).permutation,
)
with trainer.hold((X, y)):
    for epoch in range(s["epochs"]):
        trainer.learning_rate = s["rate"] * (1 - 0.9 * epoch / (s["epochs"] - 1))
        trainer.epoch(X, y)
        print(epoch + 1, network.score(test.X, test.labels), flush=True)
