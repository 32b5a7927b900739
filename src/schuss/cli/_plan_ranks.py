"""What `schuss plan --ranks` found: the scaling as a table, sentences and a document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from schuss.planner.units import duration

if TYPE_CHECKING:
    from schuss.planner.cluster import Cluster, RankStep

__all__ = ["rank_document", "rank_head", "rank_sentences", "rank_table"]


def rank_head(cluster: Cluster) -> list[tuple[str, str]]:
    """The network between the ranks, and what goes over it."""
    network = cluster.network
    return [
        (
            "ranks",
            f"a machine each, with {cluster.threads} threads; a step exchanges {cluster.gradient_bytes / 1e6:,.3g} MB",
        ),
        (
            "between",
            f"{network.name}: {network.latency_us:g} us and {network.gb_per_s:g} GB/s; {network.origin}",
        ),
    ]


def rank_table(cluster: Cluster, most: int) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the strong scaling."""
    from schuss.planner.cluster import counts

    head = ["ranks", "rows each", "plan", "compute", "exchange", "step", "epoch", "speedup", "efficiency"]
    head += ["bound by", "pays from batch"]
    rows = []
    for step in cluster.scaling(counts(most)):
        own = step.prediction.seconds + step.gradient
        row = [f"{step.ranks:,}", f"{step.rows:,}", str(step.prediction.plan), duration(own)]
        row += [duration(step.exchange.seconds) if step.ranks > 1 else "-", duration(step.seconds)]
        row += [duration(step.seconds * cluster.work.rows / step.batch_size), f"{cluster.speedup(step):.3g}"]
        row += [f"{cluster.efficiency(step):.0%}", step.bound, _pays_from(cluster, step.ranks)]
        rows.append(row)
    return head, rows


def rank_sentences(cluster: Cluster, most: int) -> list[str]:
    """What the scaling comes to."""
    from schuss.planner.cluster import PAYS

    best = cluster.fastest(most)
    work, paid = cluster.work, cluster.step(cluster.most_that_pay(most))
    share = f"{PAYS:.0%} of what is added comes back as speed"
    said = [
        f"Minibatches of {work.batch_size:,} pay up to {_machines(paid.ranks)} (where {share}): "
        f"{_result(cluster, paid)}.",
        f"The fastest is {_machines(best.ranks)}: {_result(cluster, best)}.",
    ]
    if work.batch_size < most:
        said.append(f"More than {work.batch_size:,} ranks would have no example each.")
    return said


def rank_document(cluster: Cluster, most: int) -> dict[str, Any]:
    """The scaling, for JSON."""
    from schuss.planner.cluster import counts

    network = cluster.network
    return {
        "network": asdict(network),
        "gradient_bytes": cluster.gradient_bytes,
        "scaling": [_rank_facts(cluster, step) for step in cluster.scaling(counts(most))],
        "paying_ranks": cluster.most_that_pay(most),
        "fastest_ranks": cluster.fastest(most).ranks,
        "pays_from_batch": {str(count): cluster.pays_from(count) for count in counts(most) if count > 1},
        "reason": " ".join(rank_sentences(cluster, most)),
    }


def _rank_facts(cluster: Cluster, step: RankStep) -> dict[str, Any]:
    return {
        "ranks": step.ranks,
        "rows": step.rows,
        "plan": str(step.prediction.plan),
        "compute_seconds": step.prediction.seconds,
        "gradient_seconds": step.gradient,
        "exchange_seconds": step.exchange.seconds,
        "exchange": step.exchange.algorithm,
        "step_seconds": step.seconds,
        "speedup": cluster.speedup(step),
        "efficiency": cluster.efficiency(step),
        "bound": step.bound,
    }


def _pays_from(cluster: Cluster, ranks: int) -> str:
    if ranks == 1:
        return "-"
    found = cluster.pays_from(ranks)
    return "never" if found is None else f"{found:,}"


def _result(cluster: Cluster, step: RankStep) -> str:
    found = f"{duration(step.seconds)} a step"
    if step.ranks == 1:
        return found
    return f"{found}, {cluster.speedup(step):.3g} times as fast as one, efficiency {cluster.efficiency(step):.0%}"


def _machines(count: int) -> str:
    return "1 machine" if count == 1 else f"{count:,} machines"
