"""The kernels alone against the peak: the products that a step of 784-1024-1024-10 meets, on one thread.

    python benchmarks/kernels.py                      every instruction set of this machine
    python benchmarks/kernels.py avx512 --seconds 1

`forward` is C (rows x columns) = A (rows x depth) B (depth x columns), as forward and delta compute it; `gradient` is
A^T D, with the sum over the examples of the minibatch. FLOP/s counts 2 rows depth columns; matrices are packed and in
the caches as they are in a step. Then the seconds of one meeting of the threads at a barrier.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import common

from schuss import _core
from schuss.plan import allowed_threads

#: What it is in a step, kind, rows, depth, columns.
PRODUCTS = (
    ("forward of the first layer", "forward", 128, 784, 1024),
    ("", "forward", 64, 784, 1024),
    ("", "forward", 32, 784, 1024),
    ("forward and delta between hidden layers", "forward", 128, 1024, 1024),
    ("", "forward", 64, 1024, 1024),
    ("", "forward", 32, 1024, 1024),
    ("", "forward", 16, 1024, 1024),
    ("narrow output", "forward", 128, 1024, 10),
    ("delta from the narrow output", "forward", 128, 10, 1024),
    ("weight gradient of the first layer", "gradient", 784, 128, 1024),
    ("", "gradient", 784, 32, 1024),
    ("weight gradient between hidden layers", "gradient", 1024, 128, 1024),
    ("weight gradient of the output", "gradient", 1024, 128, 10),
)


def measured(isa: str, seconds: float, float64: bool) -> dict[str, Any]:
    """GFLOP/s of each product, and of the peak just before it: clocks move."""
    products = []
    for what, kind, rows, depth, columns in PRODUCTS:
        peak = _core.measure_peak(isa, 1, seconds, float64) / 1e9
        rate = _core.measure_product(isa, kind, rows, depth, columns, seconds, float64) / 1e9
        shape = {"kind": kind, "rows": rows, "depth": depth, "columns": columns}
        products.append({"what": what, **shape, "gflops": rate, "peak_gflops": peak})
    return {"isa": isa, "float64": float64, "products": products}


def report(found: dict[str, Any]) -> str:
    rows = [
        [
            f"{p['kind']} {p['rows']} x {p['depth']} x {p['columns']}",
            f"{p['gflops']:.1f}",
            f"{p['peak_gflops']:.1f}",
            f"{p['gflops'] / p['peak_gflops']:.0%}",
            p["what"],
        ]
        for p in found["products"]
    ]
    title = f"{found['isa']}, {'float64' if found['float64'] else 'float32'}"
    return common.table([title, "GFLOP/s", "peak", "of peak", ""], rows)


def main() -> None:
    available = [name for name, _, _, available in _core.isas() if available]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("isas", nargs="*", help=f"of {', '.join(available)}; default: all")
    parser.add_argument("--float64", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--json", help="write every measurement to this file")
    o = parser.parse_intermixed_args()
    unknown = set(o.isas) - set(available)
    if unknown:
        sys.exit(f"kernels.py: no {', '.join(sorted(unknown))} here; there are {', '.join(available)}")
    print(common.header("kernels against the peak, one thread"))
    results = []
    for isa in o.isas or available:
        results.append(measured(isa, o.seconds, o.float64))
        print(f"\n{report(results[-1])}")
    barriers = {n: _core.measure_barrier(n, o.seconds) for n in range(2, allowed_threads() + 1)}
    for threads, seconds in barriers.items():
        print(f"\nbarrier of {threads} threads: {seconds * 1e9:.0f} ns")
    common.write(o.json, {**common.machine(), "kernels": results, "barrier_seconds": barriers})


if __name__ == "__main__":
    main()
