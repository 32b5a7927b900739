// One block's tile of a product: its shape, its parts where several blocks share the terms, and its way out through
// shared memory, so that whatever follows a product reads and writes whole rows.
#pragma once

#include "sums.cuh"

namespace schuss::gpu {

template <class V>
struct alignas(4 * sizeof(V) < 16 ? 4 * sizeof(V) : 16) Quad {
  V value[4];
};
template <class V>
SCHUSS_DEVICE Quad<V>& quad(V* at) {
  return *reinterpret_cast<Quad<V>*>(at);
}
template <class V>
SCHUSS_DEVICE const Quad<V>& quad(const V* at) {
  return *reinterpret_cast<const Quad<V>*>(at);
}

// A finished tile in shared memory, and which part of the whole matrix it is. Not a template: what follows a product is
// compiled once for all shapes.
struct Finished {
  int rows, columns, threads;
  int row0, rows_end, column0, columns_end;

  SCHUSS_DEVICE static constexpr int stride(int columns) { return columns + 4; }

  // work(row, column, four sums) for each row below rows_end and column below columns_end.
  template <class Work>
  SCHUSS_DEVICE void each_quad(Work work) const {
    struct Nothing {};
    walk<1>([](int, int) { return Nothing{}; },
            [&](int row, int column, const T(&sum)[4], Nothing) { work(row, column, sum); });
  }

  // work(row, column, four sums, fetched), where fetched is what fetch(row, column) reads of other memory: for several
  // rows at once, as many as registers allow, so that they are under way together.
  template <class Fetch, class Work>
  SCHUSS_DEVICE void each_quad(Fetch fetch, Work work) const {
    walk<Number::matrix_units ? 4 : 2>(fetch, work);
  }

 private:
  template <int together, class Fetch, class Work>
  SCHUSS_DEVICE void walk(Fetch fetch, Work work) const {
    const int first = static_cast<int>(threadIdx.x) * 4, c = first % columns, step = threads * 4 / columns;
    if (column0 + c >= columns_end) return;
    const T* out = shared_memory<T>() + c;
    SCHUSS_LOOP
    for (int r0 = first / columns; r0 < rows; r0 += together * step) {
      const auto each = [&](auto act) {
        SCHUSS_UNROLL
        for (int i = 0; i < together; ++i)
          if (const int r = r0 + i * step; r < rows && row0 + r < rows_end) act(i, r);
      };
      decltype(fetch(0, 0)) fetched[together];
      each([&](int i, int r) { fetched[i] = fetch(row0 + r, column0 + c); });
      each([&](int i, int r) { work(row0 + r, column0 + c, quad(out + r * stride(columns)).value, fetched[i]); });
    }
  }
};

template <int rows_, int columns_, int threads_, int high, int wide, int stages_>
struct Shape {
  static constexpr int rows = rows_, columns = columns_, threads = threads_, stages = stages_;
  // bytes of a row of terms: as many as keep the stages of the largest tile in 99 KiB, which every chip gives a block
  static constexpr int depth = (rows > 64 ? 64 : 128) / static_cast<int>(sizeof(S));

  template <class A, class B, bool matrix>
  struct Choose {
    using Sums = FmaSums<rows, columns, high, wide, A, B, depth>;
  };
  template <class A, class B>
  struct Choose<A, B, true> {
    using Sums = MatrixSums<rows, columns, 2, threads / 64, A, B, depth>;
  };
};

// The matrix units want few warps with much each: what a warp reads from shared memory serves more products then.
constexpr int kThreads = Number::matrix_units ? 128 : 256;
using Small = Shape<32, 32, 128, 4, 2, 3>;
using Medium = Shape<64, 64, kThreads, 4, 4, 3>;
// in float64 a larger tile would not fit
constexpr int kLarge = sizeof(T) == 8 ? 64 : 128;
using Large = Shape<kLarge, kLarge, kThreads, kLarge / 16, kLarge / 16, 4>;

template <class Shape, bool a_along, bool b_along>
struct Tile {
  using A = Operand<Shape::threads, Shape::rows, Shape::depth, a_along>;
  using B = Operand<Shape::threads, Shape::columns, Shape::depth, b_along>;
  using Sums = typename Shape::template Choose<A, B, Number::matrix_units>::Sums;
  static constexpr int threads = Shape::threads, rows = Shape::rows, columns = Shape::columns, depth = Shape::depth;
  static constexpr int stride = Finished::stride(columns);
  static constexpr int slabs = Shape::stages * (A::size + B::size) * static_cast<int>(sizeof(S));
  static constexpr int finished = rows * stride * static_cast<int>(sizeof(T));
  static constexpr int shared = slabs > finished ? slabs : finished;
  static constexpr int values = Sums::values + 1;  // that a thread hands on as its part: the sums, and one of a column

  Sums sums;
  T column_sum = 0;  // of the column `threadIdx.x` of B, terms ascending, or in four chains where the order is free

  // The terms of part `part` of `parts`, on top of what is there; the column sums too, where asked for.
  SCHUSS_DEVICE void multiply(const A& a, const B& b, int part, int parts, bool sum_columns) {
    const int n = (a.terms + depth - 1) / depth, begin = n * part / parts, end = n * (part + 1) / parts;
    constexpr int chains = Number::matrix_units ? 4 : 1;
    T chain[chains] = {column_sum};
    gpu::multiply<Shape::stages, depth>(sums, a, b, begin, end, [&](const S* slab) {
      if constexpr (!b_along) {
        if (!sum_columns || threadIdx.x >= columns) return;
        SCHUSS_UNROLL_8
        for (int k = 0; k < depth; ++k) chain[k % chains] += convert<T>(*B::at(slab, static_cast<int>(threadIdx.x), k));
      }
    });
    column_sum = chain[0];
    SCHUSS_UNROLL
    for (int i = 1; i < chains; ++i) column_sum += chain[i];
  }

  // Adds the parts in their order; true in the block that arrives last and goes on with the whole sums.
  SCHUSS_DEVICE bool join(T* partial, unsigned* tickets, int tile, int part, int parts) {
    if (parts == 1) return true;
    T* mine = partial + (static_cast<long long>(tile) * parts + part) * values * threads + threadIdx.x;
    sums.each([&](T& sum, int, int, int v) { mine[v * threads] = sum; });
    mine[Sums::values * threads] = column_sum;
    fence();
    barrier();
    unsigned* last = shared_memory<unsigned>();
    if (threadIdx.x == 0) *last = atomic_add(tickets + tile, 1) == static_cast<unsigned>(parts) - 1;
    barrier();
    if (!*last) return false;
    fence();
    const volatile T* from = partial + static_cast<long long>(tile) * parts * values * threads + threadIdx.x;
    sums.each([&](T& sum, int, int, int v) { sum = from[v * threads]; });
    column_sum = from[Sums::values * threads];
    for (int p = 1; p < parts; ++p) {
      from += values * threads;
      sums.each([&](T& sum, int, int, int v) { sum += from[v * threads]; });
      column_sum += from[Sums::values * threads];
    }
    if (threadIdx.x == 0) tickets[tile] = 0;
    barrier();  // *last is read by all before the finished tile takes its place
    return true;
  }

  // Into shared memory: the tile at row0 and column0 of a matrix that ends at rows_end and columns_end.
  SCHUSS_DEVICE Finished finish(int row0, int rows_end, int column0, int columns_end) {
    T* out = shared_memory<T>();
    sums.each([&](T& sum, int row, int column, int) { out[row * stride + column] = sum; });
    barrier();
    return {rows, columns, threads, row0, rows_end, column0, columns_end};
  }
};

}  // namespace schuss::gpu
