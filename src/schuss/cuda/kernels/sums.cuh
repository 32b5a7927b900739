// The sums of one block's tile of a product, in registers, by plain multiply-adds or by the matrix units.
#pragma once

#include "slab.cuh"

namespace schuss::gpu {

// Each thread has `high` x `wide` sums, and each sum is one chain of fused multiply-adds, terms ascending.
template <int tile_rows, int tile_columns, int high, int wide, class A, class B, int depth>
struct FmaSums {
  static constexpr int vector = 16 / static_cast<int>(sizeof(T));
  static constexpr int across = tile_columns / wide, down = tile_rows / high;
  static constexpr int values = high * wide;
  // values of a thread that lie side by side where the operand does: they are read as one vector
  static constexpr int high_run = A::is_along ? 1 : (high < vector ? high : vector);
  static constexpr int wide_run = B::is_along ? 1 : (wide < vector ? wide : vector);

  T sum[high][wide] = {};

  SCHUSS_DEVICE static int row(int i) {
    return i / high_run * high_run * down + static_cast<int>(threadIdx.x) / across * high_run + i % high_run;
  }
  SCHUSS_DEVICE static int column(int j) {
    return j / wide_run * wide_run * across + static_cast<int>(threadIdx.x) % across * wide_run + j % wide_run;
  }

  template <int n>
  struct alignas(n * sizeof(T)) Run {
    T value[n];
  };
  template <int n>
  SCHUSS_DEVICE static Run<n> read(const S* from) {
    return *reinterpret_cast<const Run<n>*>(from);
  }

  SCHUSS_DEVICE void add(const S* a_slab, const S* b_slab) {
    for (int k = 0; k < depth; k += vector) {
      T a[high][vector], b[vector][wide];
      SCHUSS_UNROLL
      for (int i = 0; i < high; i += high_run)
        if constexpr (A::is_along) {
          const auto run = read<vector>(A::at(a_slab, row(i), k));
          SCHUSS_UNROLL
          for (int t = 0; t < vector; ++t) a[i][t] = run.value[t];
        } else {
          SCHUSS_UNROLL
          for (int t = 0; t < vector; ++t) {
            const auto run = read<high_run>(A::at(a_slab, row(i), k + t));
            SCHUSS_UNROLL
            for (int s = 0; s < high_run; ++s) a[i + s][t] = run.value[s];
          }
        }
      SCHUSS_UNROLL
      for (int j = 0; j < wide; j += wide_run)
        if constexpr (B::is_along) {
          const auto run = read<vector>(B::at(b_slab, column(j), k));
          SCHUSS_UNROLL
          for (int t = 0; t < vector; ++t) b[t][j] = run.value[t];
        } else {
          SCHUSS_UNROLL
          for (int t = 0; t < vector; ++t) {
            const auto run = read<wide_run>(B::at(b_slab, column(j), k + t));
            SCHUSS_UNROLL
            for (int s = 0; s < wide_run; ++s) b[t][j + s] = run.value[s];
          }
        }
      SCHUSS_UNROLL
      for (int t = 0; t < vector; ++t) SCHUSS_UNROLL
      for (int i = 0; i < high; ++i) SCHUSS_UNROLL
      for (int j = 0; j < wide; ++j) sum[i][j] = fma(a[i][t], b[t][j], sum[i][j]);
    }
  }

  // work(sum, its row, its column in the tile, its number in the thread)
  template <class Work>
  SCHUSS_DEVICE void each(Work work) {
    SCHUSS_UNROLL
    for (int i = 0; i < high; ++i) SCHUSS_UNROLL
    for (int j = 0; j < wide; ++j) work(sum[i][j], row(i), column(j), i * wide + j);
  }
};

// Each warp has blocks of 16 x 8 sums; who holds which value of the operands is the matrix units' layout.
template <int tile_rows, int tile_columns, int warps_down, int warps_across, class A, class B, int depth>
struct MatrixSums {
  static constexpr int high = tile_rows / warps_down / 16, wide = tile_columns / warps_across / 8;
  static constexpr int values = high * wide * 4;

  float sum[high][wide][4] = {};

  SCHUSS_DEVICE static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  SCHUSS_DEVICE static int first_row() { return static_cast<int>(threadIdx.x) / 32 / warps_across * high * 16; }
  SCHUSS_DEVICE static int first_column() { return static_cast<int>(threadIdx.x) / 32 % warps_across * wide * 8; }

  SCHUSS_DEVICE void add(const S* a_slab, const S* b_slab) {
    if constexpr (sizeof(S) == 4) add_tf32(a_slab, b_slab);
    else add_bf16(a_slab, b_slab);
  }

  SCHUSS_DEVICE void add_tf32(const S* a_slab, const S* b_slab) {
    const int group = lane() / 4, member = lane() % 4;
    SCHUSS_UNROLL
    for (int k = 0; k < depth; k += 8) {
      unsigned a[high][4], b[wide][2];
      SCHUSS_UNROLL
      for (int i = 0; i < high; ++i) SCHUSS_UNROLL
      for (int v = 0; v < 4; ++v)
        a[i][v] = to_tf32(*A::at(a_slab, first_row() + i * 16 + group + v % 2 * 8, k + member + v / 2 * 4));
      SCHUSS_UNROLL
      for (int j = 0; j < wide; ++j) SCHUSS_UNROLL
      for (int v = 0; v < 2; ++v) b[j][v] = to_tf32(*B::at(b_slab, first_column() + j * 8 + group, k + member + v * 4));
      SCHUSS_UNROLL
      for (int i = 0; i < high; ++i) SCHUSS_UNROLL
      for (int j = 0; j < wide; ++j) mma_tf32(sum[i][j], a[i], b[j]);
    }
  }

  SCHUSS_DEVICE void add_bf16(const S* a_slab, const S* b_slab) {
    static_assert(sizeof(S) != 2 || wide % 2 == 0, "columns are read 16 at a time");
    const int matrix = lane() / 8, line = lane() % 8;
    SCHUSS_UNROLL
    for (int k = 0; k < depth; k += 16) {
      unsigned a[high][4], b[wide / 2][4];
      SCHUSS_UNROLL
      for (int i = 0; i < high; ++i) {
        const int row = first_row() + i * 16;
        if constexpr (A::is_along) load_matrices(a[i], A::at(a_slab, row + matrix % 2 * 8 + line, k + matrix / 2 * 8));
        else load_matrices_transposed(a[i], A::at(a_slab, row + matrix % 2 * 8, k + matrix / 2 * 8 + line));
      }
      SCHUSS_UNROLL
      for (int j = 0; j < wide / 2; ++j) {
        const int column = first_column() + j * 16;
        if constexpr (B::is_along)
          load_matrices(b[j], B::at(b_slab, column + matrix / 2 * 8 + line, k + matrix % 2 * 8));
        else load_matrices_transposed(b[j], B::at(b_slab, column + matrix / 2 * 8, k + matrix % 2 * 8 + line));
      }
      SCHUSS_UNROLL
      for (int i = 0; i < high; ++i) SCHUSS_UNROLL
      for (int j = 0; j < wide; ++j) {
        const unsigned terms[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        mma_bf16(sum[i][j], a[i], terms);
      }
    }
  }

  template <class Work>
  SCHUSS_DEVICE void each(Work work) {
    SCHUSS_UNROLL
    for (int i = 0; i < high; ++i) SCHUSS_UNROLL
    for (int j = 0; j < wide; ++j) SCHUSS_UNROLL
    for (int v = 0; v < 4; ++v)
      work(sum[i][j][v], first_row() + i * 16 + lane() / 4 + v / 2 * 8, first_column() + j * 8 + lane() % 4 * 2 + v % 2,
           (i * wide + j) * 4 + v);
  }
};

}  // namespace schuss::gpu
