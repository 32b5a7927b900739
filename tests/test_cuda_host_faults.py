"""The emulated GPU notices what a GPU would silently do wrong."""

import numpy as np
import pytest
from cuda_host import build
from cuda_host.bench import SEEDS, Bench, needs_compiler

from schuss.errors import DeviceError

pytestmark = needs_compiler


@pytest.fixture(params=SEEDS)
def seed(request):
    return request.param


# name: (threads, shared bytes, body, what is said of it)
FAULTS = {
    "past_the_end": (32, 0, "p.c[threadIdx.x + (threadIdx.x == 31)] = 1;", "outside of all buffers"),
    "before_the_begin": (32, 0, "p.c[threadIdx.x] = p.a[static_cast<int>(threadIdx.x) - 1];", "outside of all buffers"),
    "far_away": (32, 0, "p.c[threadIdx.x * 100000000ll] = 1;", "outside of all buffers"),
    "null": (32, 0, "p.c[threadIdx.x] = p.b[threadIdx.x + 3];", "outside of all buffers"),
    "stack": (32, 0, "volatile float v[50000]; v[p.k] = 1; p.c[threadIdx.x] = v[p.k];", "a stack that is used up"),
    "past_shared": (32, 124, "shared_memory<float>()[threadIdx.x] = 1;", "byte 124 of 124 of shared memory: outside"),
    "neighbours_element": (64, 0, "p.c[threadIdx.x == 40 ? 41 : threadIdx.x] = 1;", "nothing orders the two"),
    "another_blocks_element": (32, 0, "if (!threadIdx.x) p.c[0] = 1;", "by another block"),
    "never_written": (32, 0, "p.c[threadIdx.x] = p.c[threadIdx.x] + 1;", "never written"),
    "shared_never_written": (32, 256, "p.c[0] = shared_memory<float>()[threadIdx.x];", "never written"),
    "half_of_a_word": (
        64, 0, "out<unsigned short>(p)[threadIdx.x / 2] = 1;", "nothing orders the two",
    ),
    "lanes_without_a_barrier": (
        32, 128,
        "float* s = shared_memory<float>(); s[threadIdx.x] = 1; p.c[threadIdx.x] = s[threadIdx.x ^ 1];",
        "shared memory",
    ),
    "lanes_after_a_shuffle_only": (
        32, 128,
        "float* s = shared_memory<float>(); s[threadIdx.x] = 1; shuffle(1, 0, 32);"
        "p.c[threadIdx.x] = s[threadIdx.x ^ 1];",
        "nothing orders the two",
    ),
    "warps_after_a_warp_barrier_only": (
        64, 256,
        "float* s = shared_memory<float>(); s[threadIdx.x] = 1; warp_barrier();"
        "p.c[threadIdx.x] = s[threadIdx.x ^ 32];",
        "shared memory",
    ),
    "one_warp_writes_after_a_warp_barrier_only": (
        64, 256,
        "float* s = shared_memory<float>(); s[threadIdx.x] = 0; barrier(); if (threadIdx.x > 31) s[threadIdx.x] = 1;"
        "warp_barrier(); if (threadIdx.x < 32) p.c[threadIdx.x] = s[threadIdx.x + 32];",
        "nothing orders the two",
    ),
    "what_all_blocks_read": (
        32, 0,
        "float* a = const_cast<float*>(p.a) + threadIdx.x; const float x = *a; if (blockIdx.x) *a = x + 1;"
        "else p.c[threadIdx.x] = x;",
        "by another block",
    ),
    "a_part_after_its_fence": (
        1, 0,
        "fence(); p.c[blockIdx.x + 1] = 1; unsigned* ticket = const_cast<unsigned*>(in<unsigned>(p.a));"
        "const unsigned one = __builtin_bit_cast(unsigned, 1.0f);"
        "if (atomic_add(ticket, 1) == one + 1) p.c[0] = p.c[1] + p.c[2];",
        "written by another block",
    ),
    "copy_waited_for_by_another": (
        64, 1024,
        "float* s = shared_memory<float>(); copy_async_16(s + threadIdx.x * 4, p.a, true); copy_async_commit();"
        "copy_async_wait<0>(); p.c[threadIdx.x] = s[(threadIdx.x ^ 32) * 4];",
        "shared memory",
    ),
    "copy_over_what_is_read": (
        64, 1024,
        "float* s = shared_memory<float>(); s[threadIdx.x * 4] = 1; barrier();"
        "p.c[threadIdx.x] = s[(threadIdx.x ^ 32) * 4]; copy_async_16(s + threadIdx.x * 4, p.a, true);"
        "copy_async_commit(); copy_async_wait<0>();",
        "shared memory",
    ),
    "copy_into_global_memory": (32, 0, "copy_async_16(p.c + 4 * threadIdx.x, p.a, true);", "to shared memory only"),
    "misaligned_copy": (32, 512, "copy_async_16(shared_memory<float>() + 4 * threadIdx.x, p.a + 1, true);", "16"),
    "misaligned_vector": (
        32, 0,
        "struct alignas(16) Four { float x[4]; }; p.c[threadIdx.x] = reinterpret_cast<const Four*>(p.a + 1)->x[0];",
        "misaligned",
    ),
    "array_index": (32, 0, "float v[4] = {}; v[p.k + threadIdx.x] = 1; p.c[threadIdx.x] = v[p.n];", "bounds"),
    "part_of_a_block_at_a_barrier": (
        64, 0, "if (threadIdx.x < 32) barrier();", "has ended",
    ),
    "part_of_a_warp_at_a_barrier": (32, 0, "if (threadIdx.x < 7) barrier();", "has ended"),
    "different_barriers": (
        64, 0, "if (threadIdx.x < 32)\nbarrier();\nelse\nbarrier();", "do not meet",
    ),
    "part_of_a_warp_shuffles": (32, 0, "if (threadIdx.x < 16) p.c[0] = shuffle(1.f, 0, 32);", "has ended"),
    "shuffle_in_part_of_a_warp": (24, 0, "p.c[threadIdx.x] = shuffle(1.f, 0, 16);", "24 lanes"),
    "hung": (32, 0, "volatile unsigned* c = out<unsigned>(p); *c = 1; while (*c) {}", "hung"),
    "hung_at_barriers": (32, 0, "for (;;) barrier();", "hung"),
}  # fmt: skip


def kernel_text(name, taken_out, called):
    """One of the examples without something, under another name."""
    text = "SCHUSS_KERNEL(" + EXAMPLES.split(f"SCHUSS_KERNEL({name}, ")[1].split("\n}\n")[0] + "\n}\n"
    text = text.replace("SCHUSS_KERNEL(", f"SCHUSS_KERNEL({called}, ")
    assert text.count(taken_out) == 1
    return text.replace(taken_out, "")


EXAMPLES = (build.HERE / "examples.cu").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A source with the kernels of FAULTS, and examples from which something is taken out."""
    texts = [
        f"SCHUSS_KERNEL({name}, Arguments, {threads}, {shared}, 0, 0) {{\n{body}\n}}\n"
        for name, (threads, shared, body, _) in FAULTS.items()
    ]
    texts += [
        kernel_text("gemm", "barrier();  // 1", "gemm_reads_too_early"),
        kernel_text("gemm", "barrier();  // 2", "gemm_overwrites_too_early"),
        kernel_text("parts", "fence();", "parts_without_fence"),
        kernel_text("parts", "barrier();  // all parts are written", "parts_without_barrier"),
        kernel_text("bf16_loaded", "warp_barrier();", "bf16_loads_too_early"),
    ]
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "faults.cu").write_text(EXAMPLES + "".join(texts))
    return folder


@pytest.fixture
def bench(folder, seed):
    return Bench(folder, seed, "faults.cu", deadline=0.2)


# One value a thread is the size of the output, but for these.
SIZES = {"half_of_a_word": 16, "a_part_after_its_fence": 3}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_errors_with_every_order(bench, name):
    threads, _, _, said = FAULTS[name]
    out = (SIZES.get(name, threads),)
    with pytest.raises(DeviceError, match=said) as caught:
        bench.run(name, np.ones(64, np.float32), out=out, grid=(2 if "block" in said else 1, 1))
    assert str(caught.value).startswith(f"{name}, block (")


@pytest.mark.parametrize("name", ["gemm_reads_too_early", "gemm_overwrites_too_early"])
def test_a_missing_barrier_is_an_error_with_every_order(bench, rng, name):
    A, B = rng.standard_normal((16, 40)).astype(np.float32), rng.standard_normal((40, 16)).astype(np.float32)
    with pytest.raises(DeviceError, match="shared memory"):
        bench.run(name, A, B, out=(16, 16), m=16, n=16, k=40)


def test_matrices_loaded_too_early_are_an_error(bench):
    with pytest.raises(DeviceError, match="shared memory"):
        bench.run("bf16_loads_too_early", np.ones(256, np.uint16), np.ones(128, np.uint16), out=(16, 8))


@pytest.mark.parametrize("name", ["parts_without_fence", "parts_without_barrier"])
def test_parts_that_are_not_published_are_an_error(bench, name):
    ones, ticket = np.ones((2, 32), np.float32), np.zeros(1, np.uint32)
    with pytest.raises(DeviceError, match="written by another block"):
        bench.run(name, ones, ticket, out=(2, 32), grid=(2, 1))


def test_a_copy_that_is_read_too_early_gives_nan(bench):
    assert np.isnan(bench.run("copy_not_waited_for", np.ones(4, np.float32), out=(32,))).all()


def test_what_was_not_computed_is_nan(bench, rng):
    A = rng.standard_normal((5, 4)).astype(np.float32)
    got = bench.run("gemm", A, A, out=(5, 5), grid=(1, 1), m=4, n=5, k=4)
    assert np.isfinite(got[:4]).all()
    assert np.isnan(got[4]).all()


def test_an_impossible_launch_is_an_error_and_stays_one(bench):
    with pytest.raises(DeviceError, match="blocks in the grid"):
        bench.run("twice", np.ones(32, np.float32), out=(32,), grid=(0, 1))
    with pytest.raises(DeviceError, match="blocks in the grid"):
        bench.device.free_memory()


def test_an_error_tells_the_place_in_the_source(bench):
    with pytest.raises(
        DeviceError, match=r"thread 31: write of 4 bytes at byte 128 of buffer .*\[faults\.cu:\d+\]"
    ):
        bench.run("past_the_end", np.ones(64, np.float32), out=(32,))
