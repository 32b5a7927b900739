"""exp, log, softplus, logistic, tanh and expm1 of the core: accurate, exact where they must be, the same bits."""

import numpy as np
import pytest
from conftest import FUSED_ISAS, ISAS, ULPS

from schuss import _core

NUMBERS = {"exp": 0, "log": 1, "softplus": 2, "logistic": 3, "tanh": 4, "expm1": 5}
SAMPLED = 4099  # every how manieth of the 2^32 float32 patterns: prime, so that no bit is always the same

pytestmark = pytest.mark.parametrize("name", NUMBERS)


def own(name, x, isa):
    """The core's values; expm1, which is for x <= 0, at -|x|."""
    x = -np.abs(x) if name == "expm1" else x
    out = np.empty_like(x)
    _core.elementary(isa, NUMBERS[name], x, out)
    return out


def exact(name, x, wider):
    """The function in a precision wider than the one tested."""
    with np.errstate(all="ignore"):
        x, one = x.astype(wider), wider(1)
        if name == "exp":
            return np.exp(x)
        if name == "log":
            return np.log(x)
        if name == "softplus":
            return np.logaddexp(wider(0), x)
        if name == "tanh":
            return np.tanh(x)
        if name == "expm1":
            return np.expm1(-np.abs(x))
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, one, e) / (one + e)


def ulps(got, wanted):
    """Distance in units of the last place of `wanted` as a `got` would hold it; infinities must match."""
    with np.errstate(all="ignore"):
        nearest = wanted.astype(got.dtype)
        unit = np.spacing(np.abs(nearest)).astype(wanted.dtype)
        off = np.abs(got.astype(wanted.dtype) - wanted) / unit
    same = (got == nearest) | (np.isnan(got) & np.isnan(nearest))
    largest = np.isinf(nearest) & (np.abs(got) == np.finfo(got.dtype).max)  # one step before infinity
    return np.where(same, 0, np.where(largest, 1, off))


def patterns():
    return np.arange(0, 2**32, SAMPLED, dtype=np.uint64).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("isa", ISAS)
def test_float32(name, isa):
    x = patterns()
    off = ulps(own(name, x, isa), exact(name, x, np.float64))
    assert off.max() <= ULPS[name], x[np.argmax(off)]


def doubles(rng):
    """Patterns of every size, and values where the functions change."""
    anywhere = rng.integers(0, 2**64, 100_000, dtype=np.uint64).view(np.float64)
    return np.concatenate(
        [anywhere, rng.uniform(-750, 750, 100_000), rng.uniform(-3, 3, 100_000), rng.lognormal(0, 3, 100_000)]
    )


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 2e-19, reason="longdouble is no wider than float64")
@pytest.mark.parametrize("isa", ISAS)
def test_float64(name, isa, rng):
    x = doubles(rng)
    off = ulps(own(name, x, isa), exact(name, x, np.longdouble))
    assert off.max() <= ULPS[name], x[np.argmax(off)]


@pytest.mark.parametrize("isa", ISAS)
def test_special_values(name, isa, dtype):
    inf, nan = np.inf, np.nan
    wanted = {
        "exp": {0.0: 1, inf: inf, -inf: 0, nan: nan, 1e5: inf, -1e5: 0},
        "log": {1.0: 0, 0.0: -inf, inf: inf, -1.0: nan, -inf: nan, nan: nan},
        "softplus": {inf: inf, -inf: 0, nan: nan, 1e5: 1e5, -1e5: 0},
        "logistic": {0.0: 0.5, inf: 1, -inf: 0, nan: nan, 1e5: 1, -1e5: 0},
        "tanh": {0.0: 0, inf: 1, -inf: -1, nan: nan, 1e5: 1, -1e5: -1, 1e-30: 1e-30},
        "expm1": {0.0: 0, -inf: -1, nan: nan, -1e5: -1, -1e-30: -1e-30},
    }[name]
    x = np.array(list(wanted), dtype)
    np.testing.assert_array_equal(own(name, x, isa), np.array(list(wanted.values()), dtype))
    zeros = own(name, np.array([0.0, -0.0], dtype), isa)
    assert zeros[0] == zeros[1]
    if name == "tanh":
        assert np.signbit(zeros).tolist() == [False, True]


@pytest.mark.parametrize("isa", ISAS)
def test_every_length_gives_the_same(name, isa, dtype):
    """Whole vectors and what is left over are computed alike."""
    x = np.linspace(0.01, 5, 67).astype(dtype)
    whole = own(name, x, isa)
    for n in range(67):
        assert own(name, x[:n], isa).tobytes() == whole[:n].tobytes()


@pytest.mark.skipif(len(FUSED_ISAS) < 2, reason="one instruction set with fused multiply-add")
def test_same_bits_on_every_fused_instruction_set(name, rng):
    for x in (patterns(), doubles(rng)):
        results = [own(name, x, isa) for isa in FUSED_ISAS]
        nans = np.isnan(results[0])
        for other in results[1:]:
            assert np.array_equal(np.isnan(other), nans)
            assert other[~nans].tobytes() == results[0][~nans].tobytes()


@pytest.mark.parametrize("isa", ISAS)
def test_monotonic_where_it_matters(name, isa):
    """No step back by more than the error allowed: the order of outputs is the order of inputs."""
    x = np.sort(np.random.default_rng(0).uniform(0.001, 20, 100_000).astype(np.float32))
    y = own(name, -x[::-1] if name == "expm1" else x, isa).astype(np.float64)
    assert (np.diff(y) >= -2 * ULPS[name] * np.spacing(np.abs(y[1:]).astype(np.float32))).all()
