"""Many steps as one graph: which node waits for which."""

from __future__ import annotations

from .control import Control
from .handles import Node
from .step import Memory, StepNodes

__all__ = ["nodes_of_steps"]


def nodes_of_steps(make: StepNodes, memory: Memory, control: Control, steps: int) -> list[Node]:
    """`steps` steps, each beside the gathering of the next one's minibatch; then the count of steps moves on.

    What two steps share waits: the weights, and what they are computed from, for the update; the halves that gathering
    fills for the update and the losses of the step before; the parts of ||W||^2 for the losses that read them; and the
    update for the losses where these may stop it.
    """
    nodes: list[Node] = []

    def add(node: Node, *after: int) -> int:
        nodes.append(Node(node.kernel, node.grid, node.args, tuple(sorted({i for i in after if i >= 0}))))
        return len(nodes) - 1

    moved = gathered = summed = squared = -1  # the last node of each kind
    for ahead in range(steps):
        at = control.moment(ahead)
        next_gathered = add(make.gather(memory, control.moment(ahead + 1), control.source), moved, summed)
        last = -1
        for node in [
            *make.forward(memory, at, learn=True),
            *make.outputs(memory, at, known=True, learn=True),
        ]:
            last = add(node, *((moved, gathered) if last < 0 else (last,)))
        summed = add(make.losses(memory, at, control.losses), last, squared)
        for node in make.deltas(memory, at):
            last = add(node, last)
        decided = summed if make.losses_decide else -1
        for node in make.updates(memory, at):
            last = add(node, last, decided, squared)
        moved, gathered = last, next_gathered
        if make.alpha > 0:
            squared = add(make.penalties(memory, at), moved, summed)
    add(make.advance(control.buffer.address, steps), moved, gathered, summed, squared)
    return nodes
