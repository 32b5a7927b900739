"""PyTorch on data in memory, without a loader: an eager loop, and one compiled function for the whole step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.func import functional_call, grad_and_value
from torch.nn import functional as F  # noqa: N812

import schuss
from schuss.study.work import Work

__all__ = ["Compiled", "Eager"]

LAYERS = {
    "relu": torch.nn.ReLU,
    "logistic": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "identity": torch.nn.Identity,
    "softmax": torch.nn.Identity,  # `cross_entropy` expects what is before softmax
}
Tensors = dict[str, torch.Tensor]


def sequential(start: schuss.Network) -> torch.nn.Sequential:
    """The starting network; with log_loss its outputs are those before softmax."""
    layers: list[torch.nn.Module] = []
    for W, b, activation in zip(start.weights, start.biases, start.activations, strict=True):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, LAYERS[activation]()]
    return torch.nn.Sequential(*layers)


def mean_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Over the examples of a minibatch: log_loss of class numbers, squared_error of rows."""
    if targets.ndim == 1:
        return F.cross_entropy(outputs, targets)
    return 0.5 / len(outputs) * F.mse_loss(outputs, targets, reduction="sum")


class Loop:
    """Rows are fetched by a permutation; losses stay tensors until the epoch ends.

    `device` has the data and the model, and `forward_in` is the context of forward passes: benchmarks/gpu_torch.py has
    others.
    """

    shuffles = False
    compiles_epochs = False
    device = "cpu"

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        self.work, self.X, self.y = work, self.placed(X), self.placed(work.targets(y))
        self.model = sequential(start).to(self.device)
        self.threads = torch.get_num_threads()

    def placed(self, array: Any) -> torch.Tensor:
        """The array as a tensor on the device."""
        return torch.from_numpy(array).to(self.device)

    def forward_in(self) -> AbstractContextManager[Any]:
        """What forward passes run in."""
        return nullcontext()

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        """Train on these rows; their mean loss before it."""
        raise NotImplementedError

    def epoch(self, order: Any) -> float:
        """One pass over the rows in this order."""
        losses = [self.step(rows) for rows in self.placed(order).split(self.work.batch)]
        return float(torch.stack(losses).mean())

    def versions(self) -> dict[str, str]:
        """Of what computes."""
        return {"torch": torch.__version__}


class Eager(Loop):
    """index_select and the fused optimizers are the fastest of what eager PyTorch offers on a CPU."""

    def __init__(self, work: Work, X: Any, y: Any, start: schuss.Network) -> None:
        super().__init__(work, X, y, start)
        parameters = self.model.parameters()
        self.optimizer: torch.optim.Optimizer
        if work.optimizer == "adam":  # its defaults are the work's
            self.optimizer = torch.optim.Adam(parameters, lr=work.rate, fused=True)
        else:
            self.optimizer = torch.optim.SGD(parameters, lr=work.rate, momentum=work.momentum, fused=True)

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        """Train on these rows; their mean loss before it."""
        with self.forward_in():
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
        torch.compiler.reset()  # the number of shapes that one process may compile is limited
        parameters = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        update = self.adam(parameters) if work.optimizer == "adam" else self.sgd(parameters)
        model, examples, targets, forward_in = self.model, self.X, self.y, self.forward_in

        def loss_of(p: Tensors, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            with forward_in():
                return mean_loss(functional_call(model, p, (x,)), t)

        gradient = grad_and_value(loss_of)

        def step(rows: torch.Tensor) -> torch.Tensor:
            gradients, loss = gradient(parameters, examples[rows], targets[rows])
            update(parameters, gradients)
            return loss

        self.parameters, self.compiled = parameters, self.compile(step)

    def compile(self, step: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        """One graph of the whole step."""
        return torch.compile(step, dynamic=False, fullgraph=True, options={"cpp_wrapper": True})

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        """Train on these rows; their mean loss before it."""
        return self.compiled(rows)

    def sgd(self, parameters: Tensors) -> Any:
        """Gradient descent, with Polyak's momentum where there is some."""
        rate, momentum = self.work.rate, self.work.momentum
        velocity = {name: torch.zeros_like(p) for name, p in parameters.items()} if momentum else {}

        def update(parameters: Tensors, gradients: Tensors) -> None:
            for name, p in parameters.items():
                if momentum:
                    p.add_(velocity[name].mul_(momentum).sub_(rate * gradients[name]))
                else:
                    p.sub_(rate * gradients[name])

        return update

    def adam(self, parameters: Tensors) -> Any:
        """torch.optim.Adam's formula; the step's number is a tensor so that it is not compiled in."""
        m = {name: torch.zeros_like(p) for name, p in parameters.items()}
        v = {name: torch.zeros_like(p) for name, p in parameters.items()}
        t, rate = torch.zeros((), device=self.device), self.work.rate

        def update(parameters: Tensors, gradients: Tensors) -> None:
            t.add_(1)
            size, root = rate / (1 - 0.9**t), (1 - 0.999**t).sqrt()
            for name, p in parameters.items():
                g = gradients[name]
                m[name].lerp_(g, 0.1)
                v[name].mul_(0.999).addcmul_(g, g, value=0.001)
                p.sub_(size * m[name] / (v[name].sqrt() / root + 1e-8))

        return update
