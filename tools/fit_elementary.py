"""Print the constants of native/src/kernels/math.inl, or check that the file holds them (needs mpmath).

python tools/fit_elementary.py            print the Constants structs
python tools/fit_elementary.py --check    exit status 1 when math.inl differs
"""

import sys
from collections.abc import Callable
from pathlib import Path

from mpmath import atanh, cos, expm1, floor, ln, lu_solve, matrix, mp, mpf, pi, tanh

__all__ = ["fit", "struct"]

Function = Callable[[mpf], mpf]

MATH_INL = Path(__file__).parents[1] / "native/src/kernels/math.inl"
mp.dps = 50
TANH_SMALL = mpf("0.35")


def fit(f: Function, weight: Function, low: mpf, high: mpf, n_terms: int) -> list[mpf]:
    """Find the coefficients of the polynomial p that minimises max |weight (f - p)| on [low, high].

    Remez's exchange on a grid of Chebyshev points (E. Remez 1934; J.-M. Muller, Elementary Functions, ch. 3).
    """
    middle, radius = (low + high) / 2, (high - low) / 2
    grid = [middle - radius * cos(pi * (k + mpf(0.5)) / 1200) for k in range(1200)]
    values, weights = [f(x) for x in grid], [weight(x) for x in grid]
    reference = [1199 * (2 * k + 1) // (2 * n_terms + 2) for k in range(n_terms + 1)]
    for _ in range(20):
        rows = [
            [grid[i] ** j for j in range(n_terms)] + [(-1) ** k / weights[i]] for k, i in enumerate(reference)
        ]
        solution: list[mpf] = list(lu_solve(matrix(rows), matrix([values[i] for i in reference])))
        coefficients, level = solution[:-1], solution[-1]
        error = [
            w * (v - mp.polyval(coefficients[::-1], x)) for w, v, x in zip(weights, values, grid, strict=True)
        ]
        if max(map(abs, error)) < abs(level) * mpf("1.001"):
            return coefficients
        reference = exchange(error, n_terms + 1)
    raise ArithmeticError(f"no convergence with {n_terms} terms")


def exchange(error: list[mpf], count: int) -> list[int]:
    """Find the places of the largest error of each sign run, less the smallest end peaks beyond `count`."""
    peaks: list[int] = []
    for i, e in enumerate(error):
        if peaks and (e > 0) == (error[peaks[-1]] > 0):
            if abs(e) > abs(error[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > count:
        peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
    return peaks


def literal(x: mpf, bits: int) -> str:
    """Write the C++ hexadecimal literal of x rounded to 24 or 53 bits."""
    with mp.workprec(bits):
        rounded = float(+x)
    mantissa, exponent = rounded.hex().split("p")
    mantissa = mantissa.rstrip("0") if "." in mantissa else mantissa
    return f"{mantissa.rstrip('.')}p{exponent}{'f' if bits == 24 else ''}"


def struct(name: str, bits: int, split_bits: int, expm1_terms: int, log1p_terms: int, tanh_terms: int) -> str:
    """Write the Constants struct of one element type; split_bits are the leading bits kept of ln 2."""
    ln2_hi = floor(ln(2) * mpf(2) ** split_bits) / mpf(2) ** split_bits
    # reduced argument of exp: |r| <= ln2 / 2, a little more since n is rounded from a rounded product
    exp_range = mpf("0.347")
    expm1_q = fit(
        lambda r: (expm1(r) - r) / r**2, lambda r: abs(r**2 / expm1(r)), -exp_range, exp_range, expm1_terms
    )
    # z = s^2, s = f / (2 + f), f in [1/sqrt2 - 1, 1]
    log1p_q = fit(
        lambda z: (2 * atanh(z**0.5) / z**0.5 - 2) / z, lambda z: z, mpf(0), mpf(1) / 9, log1p_terms
    )
    # z = x^2, |x| <= tanh_small
    tanh_q = fit(lambda z: (tanh(z**0.5) / z**0.5 - 1) / z, lambda z: z, mpf(0), TANH_SMALL**2, tanh_terms)
    scalars = {"log2e": 1 / ln(2), "ln2_hi": ln2_hi, "ln2_lo": ln(2) - ln2_hi, "sqrt_half": mpf(2) ** -0.5}
    scalars["tanh_small"] = TANH_SMALL
    lines = [f"template <> struct Constants<{name}> {{"]
    lines += [
        f"    static constexpr {name} {key} = {literal(value, bits)};" for key, value in scalars.items()
    ]
    for key, q in (("expm1", expm1_q), ("log1p", log1p_q), ("tanh", tanh_q)):
        lines += [f"    static constexpr {name} {key}[] = {{"]
        lines += [f"        {literal(c, bits)}," for c in q]
        lines += ["    };"]
    return "\n".join(lines) + "\n};\n"


if __name__ == "__main__":
    text = struct("float", 24, 16, 5, 5, 4) + "\n" + struct("double", 53, 42, 10, 11, 8)
    if sys.argv[1:] != ["--check"]:
        print(text, end="")
    elif text not in MATH_INL.read_text():
        sys.exit(f"{MATH_INL}: its constants differ from those fitted")
