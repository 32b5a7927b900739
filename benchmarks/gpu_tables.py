"""The table at the end of gpu.py, made of what gpu.json holds."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from statistics import median
from typing import Any

import common
import gpu_check
from gpu_processes import NAIVE, OURS, PEERS, REFERENCE, SERIAL

Found = dict[str, Any]
#: What a step is to reach on an H200: network, batch, precision; most microseconds, least ratio to the best peer, least
#: share of the chip's rate.
GOALS: tuple[tuple[str, int, str, float | None, float, float | None], ...] = (
    ("net-2h", 128, "tf32", 22.0, 2.0, None),
    ("net-2h", 4096, "tf32", None, 1.2, None),
    ("net-2h", 4096, "bfloat16", None, 1.2, 0.6),
)
#: Bytes of a node that are counted at the cache's rate: half of the cache of an H200, whose halves hold copies.
CACHED = 30e6


def report(found: Found) -> str:
    """All sections that were measured, each a few lines."""
    parts = [header(found)]
    for name, part in found["sections"].items():
        parts.append(f"{name}: failed: {part['error']}" if "error" in part else PARTS[name](part))
    if found["emulated"]:
        parts.append("emulated: times mean nothing")
    return "\n\n".join(parts)


def header(found: Found) -> str:
    """The machine, the GPU, and who took part."""
    about = found["about"]
    versions = {k: v for part in about.values() for k, v in part["versions"].items()}
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    title = f"{about[OURS]['device']}; {said}; commit {found['commit']}"
    absent = [f"{name} is left out: {why}" for name, why in found["absent"].items()]
    return "\n".join([common.header(title), *absent])


def check(part: Found) -> str:
    """How many cases are right, and the first that are not."""
    cases = part["cases"]
    lines = []
    for kernels, precision in dict.fromkeys((c["case"]["kernels"], c["case"]["precision"]) for c in cases):
        of = [c for c in cases if (c["case"]["kernels"], c["case"]["precision"]) == (kernels, precision)]
        right = sum(c["right"] for c in of)
        far = max((c["far"] for c in of if c.get("far") is not None), default=None)
        how = "the CPU's bits" if gpu_check.exact(of[0]["case"]) else "near the CPU's float64"
        most = "" if far is None else f", the furthest {far:.1e}"
        lines.append(f"check  {kernels} {precision}: {right} of {len(of)} {how}{most}")
        lines += [f"  {gpu_check.named(c['case'])}: {c['what']}" for c in of if not c["right"]][:3]
    return "\n".join(lines + left(part))


def best(cell: Found) -> tuple[str, float] | None:
    """The fastest peer and its microseconds."""
    times = {name: median(r["us"]) for name, r in cell["found"].items() if name in PEERS and r["us"]}
    return min(times.items(), key=lambda pair: pair[1]) if times else None


def ours(cell: Found) -> float:
    """Our microseconds; NaN where there are none."""
    us = cell["found"].get(OURS, {}).get("us")
    return median(us) if us else float("nan")


def steps(part: Found) -> str:
    """A line a cell, what went wrong, and what was to be reached."""
    cells = sorted(part["cells"], key=lambda cell: (cell["network"], cell["precision"], cell["batch"]))
    head = ["us a step", "Schuss", "ms/epoch", "GFLOP/s", "of rate", *PEERS, "best/ours", "loss"]
    lines = [common.table(head, map(step_row, cells))]
    rates = {c["precision"]: f"{c['rate'] / 1e12:.4g}" for c in cells if c["rate"]}
    if rates:
        said = ", ".join(f"{precision} {rate}" for precision, rate in rates.items())
        lines.append(f"rate: TFLOP/s of a large torch.matmul: {said}")
    return "\n".join([*lines, warm(part), *failures(cells), *goals(part), *left(part)])


def step_row(cell: Found) -> list[str]:
    """A cell in the table's columns."""
    us, peer, flops = ours(cell), best(cell), cell["flops_of_a_step"]
    times = {name: f"{median(r['us']):.1f}" for name, r in cell["found"].items() if r["us"]}
    off = cell["found"].get(OURS, {}).get("off")
    bits = {None: "", 0: "the CPU's"}.get(off, f"off by {off:.0e}" if off is not None else "")
    return [
        f"{cell['network']} {cell['precision']} {cell['batch']}",
        f"{us:.1f}",
        f"{us * cell['steps_of_an_epoch'] / 1e3:.2f}",
        f"{flops / us / 1e3:,.0f}",
        f"{flops / us * 1e6 / cell['rate']:.0%}" if cell["rate"] else "",
        *(times.get(name, "") for name in PEERS),
        f"{peer[1] / us:.2f}" if peer else "",
        bits,
    ]


def failures(cells: list[Found]) -> list[str]:
    """Who failed where, a line for each reason."""
    where: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        for name, why in cell["failed"].items():
            where.setdefault((name, why), []).append(f"{cell['network']} {cell['precision']} {cell['batch']}")
    return [f"{name} failed ({', '.join(at)}): {why}" for (name, why), at in where.items()]


def warm(part: Found) -> str:
    """Seconds until each was ready, compiling included."""
    seconds: dict[str, list[float]] = {}
    for cell in part["cells"]:
        for name, r in cell["found"].items():
            seconds.setdefault(name, []).append(r["warm_seconds"])
    said = ", ".join(f"{name} {median(s):.2f} ({max(s):.1f})" for name, s in seconds.items())
    return f"until warm, s (most): {said}"


def goals(part: Found) -> list[str]:
    """What was to be reached, judged where it was measured."""
    lines = []
    for network, batch, precision, most_us, least_ratio, least_share in GOALS:
        for cell in part["cells"]:
            if (cell["network"], cell["batch"], cell["precision"]) != (network, batch, precision):
                continue
            us, peer = ours(cell), best(cell)
            said = []
            if most_us:
                said.append(f"{us:.1f} us, at most {most_us:g}: {met(us <= most_us)}")
            if peer:
                ratio = peer[1] / us
                said.append(f"{ratio:.2f} x {peer[0]}, at least {least_ratio:g}: {met(ratio >= least_ratio)}")
            if least_share and cell["rate"]:
                share = cell["flops_of_a_step"] / us * 1e6 / cell["rate"]
                said.append(
                    f"{share:.0%} of the rate, at least {least_share:.0%}: {met(share >= least_share)}"
                )
            lines.append(f"goal  {network} {precision} {batch}: {'; '.join(said)}")
    return lines


def met(reached: bool) -> str:
    return "met" if reached else "NOT MET"


def nodes(part: Found) -> str:
    """A line a launch: alone, and beside its floor."""
    rows = []
    for cell in part["cells"]:
        rate = part["rates"].get(cell["precision"])
        for node in cell.get("nodes", []):
            by_bytes, by_flops = floors(node, part["copies"], rate)
            floor = max(by_bytes, by_flops)
            rows.append(
                [
                    f"{cell['precision']} {cell['batch']}  {node['name']}",
                    node["blocks"],
                    f"{node['us']:.2f}",
                    f"{node['flops'] / 1e6:.1f}",
                    f"{node['bytes'] / 1e6:.2f}",
                    f"{by_flops:.2f}" if by_flops else "",
                    f"{by_bytes:.2f}" if by_bytes else "",
                    f"{node['us'] / floor:.1f}" if floor else "",
                ]
            )
    copies = ", ".join(f"{where} {rate / 1e9:,.0f}" for where, rate in part["copies"].items())
    head = ["node", "blocks", "us", "MFLOP", "MB", "by FLOPs", "by bytes", "us/floor"]
    lines = [common.table(head, rows)]
    if copies:
        lines.append(f"copies, GB/s read and written: {copies}")
    return "\n".join(lines + errors(part["cells"]) + left(part))


def floors(node: Found, copies: dict[str, float], rate: float | None) -> tuple[float, float]:
    """Microseconds that a node's bytes and its operations take at the measured rates; 0 for one not measured."""
    where = "cache" if node["bytes"] <= CACHED else "memory"
    by_bytes = node["bytes"] / copies[where] * 1e6 if copies else 0.0
    return by_bytes, node["flops"] / rate * 1e6 if rate else 0.0


def widths(part: Found) -> str:
    """A line a precision and batch: the range, and the most that is lost from one width to the next."""
    lines = []
    for batch, precision in dict.fromkeys((c["batch"], c["precision"]) for c in part["cells"]):
        of = [c for c in part["cells"] if (c["batch"], c["precision"]) == (batch, precision)]
        good = [c for c in of if "us" in c]
        if not good:
            continue
        steps = [(after["gflops"] / before["gflops"], after["width"]) for before, after in pairwise(good)]
        rates = [c["gflops"] for c in good]
        lines.append(
            f"widths {good[0]['width']} to {good[-1]['width']}, {precision} {batch}: "
            f"{min(c['us'] for c in good):.1f} to {max(c['us'] for c in good):.1f} us, "
            f"{min(rates):,.0f} to {max(rates):,.0f} GFLOP/s"
            + (
                f"; from one to the next at the least {min(steps)[0]:.2f} (to {min(steps)[1]})"
                if steps
                else ""
            )
        )
    return "\n".join(lines + errors(part["cells"]) + left(part))


def epochs(part: Found) -> str:
    """A line a network and batch: milliseconds of an epoch, and speedups over one thread of plain loops."""
    by: dict[tuple[str, int], Found] = {}
    for cell in part["cells"]:
        by.setdefault((cell["network"], cell["batch"]), {})[cell["plan"]] = cell
    serial = {network: cells[SERIAL]["seconds"] for (network, _), cells in by.items() if done(cells, SERIAL)}
    rows = []
    for (network, batch), cells in by.items():
        row = [f"{network} {batch}"]
        row += [
            f"{cells[p]['seconds'] * 1e3:,.4g}" if done(cells, p) else ""
            for p in (SERIAL, REFERENCE, NAIVE, OURS)
        ]
        for plan in (NAIVE, OURS):
            seconds = cells[plan]["seconds"] if done(cells, plan) else None
            row.append(f"{cells[plan]['flops'] * part['examples'] / seconds / 1e9:,.0f}" if seconds else "")
            row.append(f"{serial[network] / seconds:,.0f}" if seconds and network in serial else "")
        rows.append(row)
    head = [
        "ms an epoch",
        SERIAL,
        REFERENCE,
        NAIVE,
        OURS,
        "naive GFLOP/s",
        "/ serial",
        "cuda GFLOP/s",
        "/ serial",
    ]
    return "\n".join([common.table(head, rows), *errors(part["cells"]), *left(part)])


def done(cells: Found, plan: str) -> bool:
    """Whether the plan was timed there."""
    return "seconds" in cells.get(plan, {})


def errors(cells: list[Found]) -> list[str]:
    """What failed, each reason once."""
    return list(dict.fromkeys(f"failed: {cell['error']}" for cell in cells if "error" in cell))


def compile(part: Found) -> str:
    """Seconds from the start of a process to its first step, kernels compiled and in the cache."""
    lines = []
    for cell in part["cells"]:
        said = [
            f"{cache} cache {cell[cache]['total']:.2f} s ({cell[cache]['engine']:.2f} s of it the engine)"
            for cache in ("empty", "full")
            if "error" not in cell[cache]
        ]
        lines.append(
            f"first step  {cell['plan']} {cell['precision']}: {', '.join(said) or cell['empty']['error']}"
        )
    return "\n".join(lines + left(part))


def mnist(part: Found) -> str:
    """Seconds from the start of a process to the goal."""
    if "runs" not in part:
        return f"mnist is left out: {part['left_out']}"
    rows = []
    for side, runs in part["runs"].items():
        times = sorted(inf if r["seconds"] is None else r["seconds"] for r in runs)
        if times:
            said = ", ".join(f"{t:.2f}" for t in times)
            rows.append([f"mnist to {part['goal']:.0%}  {side}", f"{median(times):.2f}", said, len(times)])
    return "\n".join([common.table(["", "s", "all", "seeds"], rows), *left(part)])


def left(part: Found) -> list[str]:
    """What there was no time for."""
    there = part["left_out"]
    if not there:
        return []
    said = (
        f"{there} cases" if isinstance(there, int) else "; ".join(" ".join(map(str, cell)) for cell in there)
    )
    return [f"no time for {said}"]


PARTS = {f.__name__: f for f in (check, steps, nodes, widths, epochs, compile, mnist)}
