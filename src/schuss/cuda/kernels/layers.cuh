// Forward and delta: a product and what follows it in the same node.
#pragma once

#include "arguments.cuh"
#include "tile.cuh"

namespace schuss::gpu {

// Dropout's factor of unit `column` in a row.
SCHUSS_DEVICE T mask_factor(const ProductArguments& p, uint64 row_key, int column) {
  using U = Scalar<T>::U;
  const U first = static_cast<unsigned>(row_key), second = static_cast<unsigned>(row_key >> 32);
  const U drawn = hash32<P1>(hash32<P1>(static_cast<U>(column) ^ first) ^ second);
  return drawn < U(p.threshold) ? T(0) : static_cast<T>(p.keep_scale);
}

template <Activation f>
SCHUSS_DEVICE void value_and_slope(T z, T& a, T& slope) {
  if constexpr (needs_slope(f)) {
    const auto both = activation_both<P1, f>(z);
    a = both.value;
    slope = both.slope;
  } else {
    a = activation_value<P1, f>(z);
    slope = activation_derivative<P1, f>(a);
  }
}

// Four sums of a row of a hidden layer: z becomes a.
template <Activation f>
SCHUSS_DEVICE void activate_quad(const ProductArguments& p, const StepNumbers& step, int row, int column,
                                 const T (&z)[4]) {
  Quad<T> a{}, slope{};
  for (int i = 0; i < 4; ++i)
    if (column + i < p.columns) value_and_slope<f>(z[i], a.value[i], slope.value[i]);
  if (p.threshold) {
    constexpr uint64 step_key = 0x2545f4914f6cdd1du;  // as layer_formulas.hpp draws
    const uint64 key =
        hash64(p.seed + static_cast<uint64>(step.draw) * step_key + static_cast<uint64>(step.first + row));
    for (int i = 0; i < 4; ++i) {
      const T factor = mask_factor(p, key, column + i);
      a.value[i] *= factor;
      slope.value[i] *= factor;
    }
  }
  const long long at = static_cast<long long>(row) * p.out_stride + column;
  Quad<S> out;
  for (int i = 0; i < 4; ++i) out.value[i] = convert<S>(a.value[i]);
  quad(static_cast<S*>(p.out) + at) = out;
  if (p.slope) quad(static_cast<T*>(p.slope) + at) = slope;
}

// A product of the rows of `p.a`; follow(finished tile) has the whole sums.
template <class Tile, class Start, class Follow>
SCHUSS_DEVICE void product(const ProductArguments& p, int examples, Start start, Follow follow) {
  const int across = (p.columns + Tile::columns - 1) / Tile::columns, parts = static_cast<int>(gridDim.y);
  const int tile = static_cast<int>(blockIdx.x), part = static_cast<int>(blockIdx.y);
  const int row = tile / across * Tile::rows, column = tile % across * Tile::columns;
  if (row >= examples) return;
  Tile block;
  if (part == 0) block.sums.each([&](T& sum, int, int c, int) { sum = start(column + c); });
  const typename Tile::A a{static_cast<const S*>(p.a) + p.at.half() * p.a_half, p.a_stride, row, examples, p.depth};
  const typename Tile::B b{static_cast<const S*>(p.w), p.w_stride, column, p.columns, p.depth};
  block.multiply(a, b, part, parts, false);
  if (block.join(static_cast<T*>(p.partial), p.tickets, tile, part, parts))
    follow(block.finish(row, examples, column, p.out_stride));
}

SCHUSS_NOINLINE void finish_forward(const ProductArguments& p, const Finished& tile) {
  const StepNumbers step = p.at.step();
  if (p.plain)
    return tile.each_quad([&](int row, int column, const T(&z)[4]) {
      quad(static_cast<T*>(p.out) + static_cast<long long>(row) * p.out_stride + column) = {{z[0], z[1], z[2], z[3]}};
    });
  const auto each = [&](auto f) {
    constexpr Activation kind = decltype(f){}();
    tile.each_quad([&](int row, int column, const T(&z)[4]) { activate_quad<kind>(p, step, row, column, z); });
  };
  const auto f = static_cast<Activation>(p.activation);
  if (f == Activation::identity) each(Constant<Activation, Activation::identity>{});
  else with_activation(f, each);
}

// Z = A W + b of one layer, each sum beginning with its bias; then a, f' and dropout of a hidden layer.
template <class Shape>
SCHUSS_DEVICE void forward(const ProductArguments& p) {
  if (p.at.over()) return;
  const int examples = static_cast<int>(p.at.step().count);
  const T* bias = static_cast<const T*>(p.bias);
  product<Tile<Shape, true, false>>(
      p, examples, [&](int column) { return column < p.columns ? bias[column] : T(0); },
      [&](const Finished& tile) { finish_forward(p, tile); });
}

// What f' of four units is known by: the slope where the layer keeps one, else a.
struct Known {
  Quad<T> slope;
  Quad<S> a;
};

SCHUSS_DEVICE Known read_known(const void* slope, const void* a, long long at) {
  Known known{};
  if (slope) known.slope = quad(static_cast<const T*>(slope) + at);
  else known.a = quad(static_cast<const S*>(a) + at);
  return known;
}

SCHUSS_NOINLINE Quad<T> slopes(Activation f, Quad<S> a) {
  Quad<T> out{{1, 1, 1, 1}};
  with_activation(f, [&](auto g) {
    constexpr Activation kind = decltype(g){}();
    if constexpr (!needs_slope(kind))
      for (int i = 0; i < 4; ++i) out.value[i] = activation_derivative<P1, kind>(convert<T>(a.value[i]));
  });
  return out;
}

// Four deltas from column `column` on of `columns`: sums times f'.
SCHUSS_DEVICE Quad<S> deltas(Activation f, bool has_slope, const Known& known, const T (&sum)[4], int column,
                             int columns) {
  const Quad<T> rise = has_slope ? known.slope : slopes(f, known.a);
  Quad<S> out;
  for (int i = 0; i < 4; ++i) out.value[i] = convert<S>(column + i < columns ? sum[i] * rise.value[i] : T(0));
  return out;
}

SCHUSS_NOINLINE void finish_delta(const ProductArguments& p, const Finished& tile) {
  const auto place = [&](int row, int column) { return static_cast<long long>(row) * p.out_stride + column; };
  tile.each_quad([&](int row, int column) { return read_known(p.slope, p.activated, place(row, column)); },
                 [&](int row, int column, const T(&sum)[4], const Known& known) {
                   quad(static_cast<S*>(p.out) + place(row, column)) =
                       deltas(static_cast<Activation>(p.activation), p.slope, known, sum, column, p.columns);
                 });
}

// D = (D' W^T) o f'(Z) of one layer, D' the deltas of the layer above and W its weights.
template <class Shape>
SCHUSS_DEVICE void delta(const ProductArguments& p) {
  if (p.at.over()) return;
  const int examples = static_cast<int>(p.at.step().count);
  product<Tile<Shape, true, true>>(
      p, examples, [](int) { return T(0); }, [&](const Finished& tile) { finish_delta(p, tile); });
}

}  // namespace schuss::gpu
