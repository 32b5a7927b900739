// Operands of a product in shared memory, a slab of terms at a time, copied beside the computing.
#pragma once

#include "numbers.cuh"

namespace schuss::gpu {

// `extent` rows (or columns) of a result by `depth` terms of its sums. Along: the terms of one row lie side by side;
// else a row of memory holds one term of all rows. Shared memory keeps the order of global memory; its rows are padded
// so that what a warp reads at once lies in different banks.
template <int threads, int extent, int depth, bool along>
struct Operand {
  static constexpr bool is_along = along;
  static constexpr int rows = along ? extent : depth;
  static constexpr int columns = along ? depth : extent;
  static constexpr int chunk = 16 / static_cast<int>(sizeof(S));
  static constexpr int pad = !along && sizeof(S) == 4 ? 2 * chunk : chunk;
  static constexpr int stride = columns + pad;
  static constexpr int size = rows * stride;

  const S* from;
  int row_stride;
  int first, limit;  // rows (or columns) of the result
  int terms;

  SCHUSS_DEVICE static const S* at(const S* slab, int e, int k) {
    return slab + (along ? e * stride + k : k * stride + e);
  }

  // Terms from k on. What lies beyond the matrix is 0: in memory up to the stride, set here beyond.
  SCHUSS_DEVICE void load(S* slab, int k) const {
    constexpr int across = columns / chunk;
    const int row0 = along ? first : k, rows_end = along ? limit : terms, column0 = along ? k : first;
    static_assert(rows * across % threads == 0 && threads % across == 0);
    const int c = static_cast<int>(threadIdx.x) % across * chunk, r0 = static_cast<int>(threadIdx.x) / across;
    const bool inside = column0 + c < row_stride;
    const S* line = from + static_cast<long long>(row0 + r0) * row_stride + column0 + c;
    SCHUSS_UNROLL
    for (int n = 0; n < rows * across / threads; ++n) {
      const int r = r0 + n * (threads / across);
      const bool valid = inside && row0 + r < rows_end;
      copy_async_16(slab + r * stride + c,
                    valid ? line + static_cast<long long>(n * (threads / across)) * row_stride : from, valid);
    }
  }
};

// sums.add(slab of A, slab of B) for slabs [begin, end) of the terms, `stages` of them in flight, and
// beside(slab of B) on each.
template <int stages, int depth, class Sums, class A, class B, class Beside>
SCHUSS_DEVICE void multiply(Sums& sums, const A& a, const B& b, int begin, int end, Beside beside) {
  S* memory = shared_memory<S>();
  const auto slab = [&](int i) { return memory + i % stages * (A::size + B::size); };
  const auto load = [&](int i) {
    if (i < end) {
      a.load(slab(i), i * depth);
      b.load(slab(i) + A::size, i * depth);
    }
    copy_async_commit();  // an empty group too: groups are counted
  };
  for (int i = begin; i < begin + stages - 1; ++i) load(i);
  for (int i = begin; i < end; ++i) {
    copy_async_wait<stages - 2>();
    barrier();  // slab i is there for all, and nobody reads slab i - 1 any more, into whose place the next one goes
    load(i + stages - 1);
    sums.add(slab(i), slab(i) + A::size);
    beside(slab(i) + A::size);
  }
  copy_async_wait<0>();
  barrier();
}

}  // namespace schuss::gpu
