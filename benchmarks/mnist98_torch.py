"""MNIST to 98 % with PyTorch, on a GPU where the settings name one; started by mnist98.py with the settings in JSON.

Compiling, or capturing a graph, would take longer than it saves.
"""

import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

s = json.loads(sys.argv[1])
device = s.get("device", "cpu")
torch.manual_seed(s["seed"])
torch.set_float32_matmul_precision("high" if s.get("precision") == "tf32" else "highest")


def read(name: str, header: int) -> torch.Tensor:
    with gzip.open(Path(os.environ["SCHUSS_DATA_DIR"], name + ".gz")) as file:
        return torch.from_numpy(np.frombuffer(bytearray(file.read()), np.uint8, offset=header))


def images(name: str) -> torch.Tensor:
    return read(name + "-images-idx3-ubyte", 16).to(device).view(-1, 784).float().div_(255)


def labels(name: str) -> torch.Tensor:
    return read(name + "-labels-idx1-ubyte", 8).to(device).long()


X, y = images("train"), labels("train")
X_test, y_test = images("t10k"), labels("t10k")
model = nn.Sequential(nn.Linear(784, s["hidden"]), nn.ReLU(), nn.Linear(s["hidden"], 10)).to(device)
parameters = list(model.parameters())
m, v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
step = 0


def update(gradients: tuple[torch.Tensor, ...], rate: float) -> None:
    """Adam, or gradient descent with momentum, as in torch.optim, whose first use imports torch's compiler."""
    global step
    step += 1
    with torch.no_grad():
        if s["solver"] == "adam":
            torch._foreach_lerp_(m, gradients, 0.1)
            torch._foreach_mul_(v, 0.999)
            torch._foreach_addcmul_(v, gradients, gradients, 0.001)
            root = torch._foreach_sqrt(v)
            correction = (1 - 0.999**step) ** 0.5
            torch._foreach_add_(root, 1e-8 * correction)
            torch._foreach_addcdiv_(parameters, m, root, -rate * correction / (1 - 0.9**step))
        else:
            torch._foreach_mul_(m, s["momentum"])
            torch._foreach_add_(m, gradients)
            torch._foreach_add_(parameters, m, alpha=-rate)


for epoch in range(s["epochs"]):
    rate = s["rate"] * (1 - 0.9 * epoch / (s["epochs"] - 1))
    for rows in torch.randperm(len(X), device=device).split(s["batch"]):
        loss = nn.functional.cross_entropy(model(X.index_select(0, rows)), y.index_select(0, rows))
        update(torch.autograd.grad(loss, parameters), rate)
    with torch.inference_mode():
        accuracy = (model(X_test).argmax(1) == y_test).float().mean().item()
    print(epoch + 1, accuracy, flush=True)
