"""The emulated GPU computes what a GPU does, whatever the order of its threads."""

import numpy as np
import pytest
from cuda_host import build
from cuda_host.bench import SEEDS, Bench, needs_compiler

from schuss.errors import DeviceError

pytestmark = needs_compiler


@pytest.fixture(params=SEEDS)
def seed(request):
    return request.param


@pytest.fixture
def bench(seed):
    return Bench(build.HERE, seed)


def bf16(x):
    """Numbers that bfloat16 has, and their bits."""
    bits = (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64), bits


def tf32(x):
    """To 11 bits, nearest, ties away from zero."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.trunc(mantissa * 2**11 + np.copysign(0.5, mantissa)) / 2**11, exponent)


@pytest.mark.parametrize("sizes", [(37, 50, 41), (1, 1, 1), (16, 16, 16), (5, 33, 17)])
def test_tiles_in_shared_memory(bench, rng, sizes):
    m, n, k = sizes
    A, B = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    got = bench.run("gemm", A, B, out=(m, n), grid=(-(-n // 16), -(-m // 16)), m=m, n=n, k=k)
    np.testing.assert_allclose(got, A.astype(float) @ B, atol=k * 1e-6)


@pytest.mark.parametrize("rounds", [True, False])
def test_tf32_reads_the_upper_19_bits(bench, rng, rounds):
    A, B, C = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 8), (8, 8), (16, 8)))
    got = bench.run("tf32", A, B, out=C, m=rounds)
    cut = (
        tf32 if rounds else lambda x: (x.view(np.uint32) & ~np.uint32(0x1FFF)).view(np.float32).astype(float)
    )
    np.testing.assert_allclose(got, C + cut(A) @ cut(B), rtol=0, atol=1e-6)
    assert np.abs(got - (C + A.astype(float) @ B)).max() > 1e-5  # the rounding shows


@pytest.mark.parametrize("name", ["bf16", "bf16_loaded"])
def test_bf16_fragments(bench, rng, name):
    (A, a_bits), (B, b_bits) = (bf16(rng.standard_normal(shape)) for shape in ((16, 16), (16, 8)))
    np.testing.assert_allclose(bench.run(name, a_bits, b_bits, out=(16, 8)), A @ B, rtol=0, atol=1e-6)


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_by_lane(bench, transposed):
    M = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    got = bench.run("matrices", M, out=np.zeros((32, 4), np.uint32), m=transposed)
    halves = np.stack([got & 0xFFFF, got >> 16], axis=-1)  # (lane, matrix, half)
    wanted = (M.transpose(0, 2, 1) if transposed else M).reshape(4, 32, 2).transpose(1, 0, 2)
    np.testing.assert_array_equal(halves, wanted)


@pytest.mark.parametrize(("k", "width"), [(0, 32), (3, 8), (16, 32), (1, 2), (5, 16)])
def test_shuffles(bench, k, width):
    lanes = np.arange(64)
    first = lanes // width * width
    got = bench.run("shuffles", lanes.astype(np.float32), out=np.zeros((4, 64)), n=width, k=k)
    np.testing.assert_array_equal(got[0], first + k % width)
    np.testing.assert_array_equal(got[1], np.where(lanes + k < first + width, lanes + k, lanes))
    np.testing.assert_array_equal(got[2], np.where((lanes ^ k) < first + width, lanes ^ k, lanes))
    np.testing.assert_array_equal(got[3], lanes // 32 * 32 + (lanes + 1) % 32)


def test_rounding_to_tf32(bench, rng):
    one = 2.0**-10  # a unit in the last place of 1
    x = np.concatenate([
        rng.standard_normal(200) * 2.0 ** rng.integers(-100, 100, 200),
        [0, 1 + one / 2, -1 - one / 2, 1 + 3 * one / 2, 1 + one / 2 - 2.0**-23, np.inf, -np.inf],
    ]).astype(np.float32)  # fmt: skip
    got = bench.run("rounded", x, out=np.zeros(len(x), np.uint32), n=len(x)).view(np.float32)
    np.testing.assert_array_equal(got[:-2], tf32(x[:-2]))
    np.testing.assert_array_equal(got[-2:], x[-2:])
    assert np.isnan(
        bench.run("rounded", np.float32([np.nan]), out=np.zeros(1, np.uint32), n=1).view(np.float32)
    )


@pytest.mark.parametrize(("n", "valid"), [(1, 1), (7, 5), (5, 0)])
def test_copies_in_groups_and_zeros_where_not_valid(bench, rng, n, valid):
    rows = rng.standard_normal((max(valid, 1), 4)).astype(np.float32)
    got = bench.run("copies", rows, out=(32, n, 4), m=valid, n=n)
    wanted = np.zeros((n, 4))
    wanted[:valid] = rows[:valid]
    np.testing.assert_array_equal(got, np.broadcast_to(wanted.astype(np.float32), got.shape))


def test_the_last_block_finds_the_others_parts(bench, rng):
    parts = rng.standard_normal((5, 32)).astype(np.float32)
    ticket = np.zeros(1, np.uint32)
    got = bench.run("parts", parts, ticket, out=(5, 32), grid=(5, 1))
    np.testing.assert_allclose(got[0], parts.sum(0), atol=1e-5)


def test_blocks_and_subnormals(bench):
    got = bench.run("blocks", None, out=(3, 4), grid=(4, 3))
    np.testing.assert_array_equal(got, np.arange(3)[:, None] * 10 + np.arange(4))
    assert bench.run("subnormal", np.float32([2.0**-126]), out=(1,)) == 0  # flushed, as on a GPU


def test_volatile_accesses_may_meet(bench):
    assert bench.run("flag", None, out=np.zeros(1, np.float32), grid=(3, 1)) == 1


def test_the_shape_is_the_sources(bench):
    kernel = bench.module.kernel("gemm")
    assert (kernel.threads, kernel.shared, kernel.rows, kernel.columns) == (64, 2048, 16, 16)
    with pytest.raises(DeviceError, match=r"examples\.cu has no kernel gemmm"):
        bench.module.kernel("gemmm")
