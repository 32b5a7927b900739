"""MNIST to 98 % with Schuss; started by mnist98.py with the settings in JSON."""

import json
import sys

import numpy as np

from schuss.data import load_mnist
from schuss.network import Network
from schuss.optimizers import Optimizer
from schuss.plan import allowed_threads, choose
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
plan = choose("auto", threads=allowed_threads(), layer_sizes=network.layer_sizes, batch_size=s["batch"])
trainer = Trainer(
    network,
    Optimizer(s["solver"], momentum=s["momentum"]),
    s["rate"],
    s["batch"],
    plan,
    np.random.default_rng(s["seed"]).permutation,
)
for epoch in range(s["epochs"]):
    trainer.learning_rate = s["rate"] * (1 - 0.9 * epoch / (s["epochs"] - 1))
    trainer.epoch(X, y)
    print(epoch + 1, network.score(test.X, test.labels), flush=True)
