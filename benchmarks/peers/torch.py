"""PyTorch on data in memory, without a loader: an eager loop, and one compiled function for the whole step."""

from __future__ import annotations

from typing import Any

import torch
from torch.func import functional_call, grad_and_value
from torch.nn import functional as F  # noqa: N812
from work import Work

import schuss

HIDDEN = {"relu": torch.nn.ReLU, "logistic": torch.nn.Sigmoid}
Tensors = dict[str, torch.Tensor]


def sequential(start: schuss.Network) -> torch.nn.Sequential:
    """The starting network; with log_loss its outputs are those before softmax, which `cross_entropy` expects."""
    layers: list[torch.nn.Module] = []
    for W, b in zip(start.weights, start.biases, strict=True):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, HIDDEN[start.activation]()]
    layers[-1:] = [] if start.loss_name == "log_loss" else [torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers)


def mean_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Over the examples of a minibatch: log_loss of class numbers, squared_error of one-hot rows."""
    if targets.ndim == 1:
        return F.cross_entropy(outputs, targets)
    return 0.5 / len(outputs) * F.mse_loss(outputs, targets, reduction="sum")


class Loop:
    """Rows are fetched by a permutation; losses stay tensors until the epoch ends."""

    shuffles = False

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        self.work, self.X = work, torch.from_numpy(X)
        labels = torch.from_numpy(y)
        self.y = labels if work.loss == "log_loss" else F.one_hot(labels, work.layers[-1]).float()
        self.model = sequential(start)
        self.threads = torch.get_num_threads()

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def epoch(self, order: Any) -> float:
        losses = [self.step(rows) for rows in torch.from_numpy(order).split(self.work.batch)]
        return float(torch.stack(losses).mean())

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}


class Eager(Loop):
    """index_select and the fused optimizers are the fastest of what eager PyTorch offers on a CPU."""

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        super().__init__(work, X, y, start)
        kind = (
            torch.optim.Adam if work.optimizer == "adam" else torch.optim.SGD
        )  # Adam's defaults are the work's
        self.optimizer = kind(self.model.parameters(), lr=work.rate, fused=True)

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        loss = mean_loss(self.model(self.X.index_select(0, rows)), self.y.index_select(0, rows))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Compiled(Loop):
    """torch.compile of fetching, forward, backward and update in one graph.

    One graph needs the functional gradient, since `loss.backward()` breaks it; the update is written out for the
    same reason. In trials this was faster than compiling the model, the loss or the optimizer alone, most of all
    for small networks; `cpp_wrapper` leaves out Python between the kernels.
    """

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        super().__init__(work, X, y, start)
        parameters = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        update = self.adam(parameters) if work.optimizer == "adam" else self.sgd
        model, examples, targets = self.model, self.X, self.y
        gradient = grad_and_value(lambda p, x, t: mean_loss(functional_call(model, p, (x,)), t))

        def step(rows: torch.Tensor) -> torch.Tensor:
            gradients, loss = gradient(parameters, examples[rows], targets[rows])
            update(parameters, gradients)
            return loss

        self.compiled = torch.compile(step, dynamic=False, fullgraph=True, options={"cpp_wrapper": True})

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        return self.compiled(rows)

    def sgd(self, parameters: Tensors, gradients: Tensors) -> None:
        for name, p in parameters.items():
            p.sub_(self.work.rate * gradients[name])

    def adam(self, parameters: Tensors) -> Any:
        """torch.optim.Adam's formula; the step's number is a tensor so that it is not compiled in."""
        m = {name: torch.zeros_like(p) for name, p in parameters.items()}
        v = {name: torch.zeros_like(p) for name, p in parameters.items()}
        t, rate = torch.zeros(()), self.work.rate

        def update(parameters: Tensors, gradients: Tensors) -> None:
            t.add_(1)
            size, root = rate / (1 - 0.9**t), (1 - 0.999**t).sqrt()
            for name, p in parameters.items():
                g = gradients[name]
                m[name].lerp_(g, 0.1)
                v[name].mul_(0.999).addcmul_(g, g, value=0.001)
                p.sub_(size * m[name] / (v[name].sqrt() / root + 1e-8))

        return update
