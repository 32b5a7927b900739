"""The GPU level on a machine with an NVIDIA GPU: one command checks, times, compares, and prints one table.

    python3 -m pip install --no-index --no-build-isolation --no-deps .
    SCHUSS_DATA_DIR=DIR python3 benchmarks/gpu.py --out FOLDER

Neither needs a network where there are nanobind, scikit-build-core, CMake and a C++ compiler, what Schuss itself
imports (numpy, scipy, scikit-learn, safetensors, click, rich, platformdirs), and cuda-bindings with NVRTC; a wheel of
what is missing can be carried along and named beside the dot. DIR holds MNIST's four .gz files, for the last section.
PyTorch and JAX are compared with where they are installed.

    python3 benchmarks/gpu.py --sections steps,nodes --minutes 3 --peers torch-graph,jax

check     float32 and float64: the bits of the CPU's plan `native`; tf32, bfloat16 and cuda-naive: its float64 values
steps     microseconds of a step beside the peers', at the same precision, in turns; the chip's rate among them
nodes     each launch of a step alone, beside the least that its operations and its bytes take
widths    hidden layers of 1000 to 1100 units
epochs    epochs as the trainer takes them, of the CPU's plans too: what the figures of 2016 show
compile   from the start of a process to its first step, kernels compiled or in the cache
mnist     from the start of a process to 98 % of the test images, beside PyTorch

Each section has its share of `--minutes`, leaves out what it has no time for, and says so. What was found is written
after each, all numbers, as gpu.json in FOLDER. The peers, the data they train on and the order are those of
schuss.study; examples of the peers in bfloat16 are bfloat16 beforehand. All begin with the same parameters, and
whose mean loss of the first pass is not the CPU's is not timed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import common
import gpu_tables
from gpu_processes import OURS, PEERS, Deadline, Run
from gpu_sections import SECTIONS

from schuss import cuda
from schuss.errors import SchussError

MINUTES = sum(seconds for _, seconds in SECTIONS.values()) / 60


def chosen(text: str | None, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """The names in a list, in the order of `known`; all where there is no list."""
    names = known if text is None else tuple(filter(None, text.split(",")))
    if wrong := [name for name in names if name not in known]:
        sys.exit(f"gpu.py: no {what} {wrong[0]!r}; there are {', '.join(known)}")
    return tuple(name for name in known if name in names)


def measured(run: Run, name: str, seconds: float) -> dict[str, Any]:
    """A section; what goes wrong in one, be it a fault of this program, is said and leaves the others their time."""
    began = time.monotonic()
    try:
        found = SECTIONS[name][0](run, Deadline(seconds))
    except Exception as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}"}
    return {**found, "took": time.monotonic() - began}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--sections", metavar="A,B", help="default: all")
    parser.add_argument("--peers", metavar="A,B", help=f"of {', '.join(PEERS)}; default: all installed")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"of all sections; all take {MINUTES:.0f}"
    )
    parser.add_argument("--out", metavar="FOLDER", help="write gpu.json there")
    # the same program at sizes of toys, on the CPU: shows that it runs, and nothing about time
    parser.add_argument("--emulate", action="store_true", help=argparse.SUPPRESS)
    o = parser.parse_args()
    sections = chosen(o.sections, tuple(SECTIONS), "section")
    run = Run(o.emulate, chosen(o.peers, PEERS, "peer"))
    if not o.emulate and (missing := cuda.why_not()):
        sys.exit(f"gpu.py: {missing}")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX leaves memory to the others
    found = {**common.machine(), "emulated": o.emulate, "sections": {}}
    try:
        run.find()
        if OURS not in run.about:
            sys.exit(f"gpu.py: {run.absent[OURS]}")
        found |= {"about": run.about, "absent": run.absent}
        share = o.minutes * 60 / sum(SECTIONS[name][1] for name in sections)
        for name in sections:
            print(f"{name} ...", flush=True)
            found["sections"][name] = measured(run, name, SECTIONS[name][1] * share)
            if o.out:
                common.write(str(Path(o.out) / "gpu.json"), found)
    except SchussError as error:
        sys.exit(f"gpu.py: {error}")
    print(gpu_tables.report(found))


if __name__ == "__main__":
    main()
