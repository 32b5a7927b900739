// Weight gradients of all layers in one node, and the update in the same breath.
#pragma once

#include "arguments.cuh"
#include "tile.cuh"
#include "update.cuh"

namespace schuss::gpu {

SCHUSS_DEVICE void keep_quad(const UpdateArguments& p, const LayerArguments& layer, int row, int column,
                             const T (&g)[4]) {
  Quad<T>& kept = quad(static_cast<T*>(layer.gradient) + static_cast<long long>(row) * layer.stride + column);
  Quad<T> sum = p.add_to_gradient ? kept : Quad<T>{};
  for (int i = 0; i < 4; ++i) sum.value[i] = p.add_to_gradient ? sum.value[i] + g[i] : g[i];
  kept = sum;
}

SCHUSS_NOINLINE void finish_weights(const UpdateArguments& p, const LayerArguments& layer, const Finished& tile) {
  const Update<T> u = update_of(p);
  const auto kind = static_cast<Optimizer>(p.optimizer);
  tile.each_quad([&](int row, int column, const T(&g)[4]) {
    if (p.keep_gradient) keep_quad(p, layer, row, column, g);
    else update_quad(kind, u, layer, row, column, g);
  });
}

// Of `n` biases from `column0` on, their gradients in `line`.
SCHUSS_NOINLINE void finish_bias(const UpdateArguments& p, const LayerArguments& layer, const T* line, int column0,
                                 int n) {
  const int c = static_cast<int>(threadIdx.x) * 4;
  if (c >= n || column0 + c >= layer.stride) return;
  const Quad<T> g = quad(line + c);
  if (p.keep_gradient) keep_quad(p, layer, layer.inputs, column0 + c, g.value);
  else update_quad(static_cast<Optimizer>(p.optimizer), update_of(p).for_bias(), layer, -1, column0 + c, g.value);
}

// dW = A^T D, examples ascending; the tiles of the first inputs sum the columns of D for db too. Blocks count through
// the layers, and within one through its parts, then its tiles.
template <class Shape>
SCHUSS_DEVICE void weights(const UpdateArguments& p) {
  using Block = Tile<Shape, false, false>;
  if (!p.at.taken()) return;
  int l = 0;
  while (l + 1 < p.n_layers && static_cast<int>(blockIdx.x) >= p.layers[l + 1].first_block) ++l;
  const LayerArguments& layer = p.layers[l];
  const int block = static_cast<int>(blockIdx.x) - layer.first_block, tile = block / layer.parts,
            part = block % layer.parts;
  const int row0 = tile / layer.tiles_across * Block::rows, column0 = tile % layer.tiles_across * Block::columns;
  const int examples = static_cast<int>(p.at.step().count);
  const typename Block::A a{static_cast<const S*>(layer.a) + p.at.half() * layer.a_half, layer.a_stride, row0, 0,
                            examples};
  const typename Block::B b{static_cast<const S*>(layer.delta), layer.stride, column0, 0, examples};
  Block sums;
  sums.multiply(a, b, part, layer.parts, row0 == 0);
  if (!sums.join(static_cast<T*>(layer.partial), layer.tickets, tile, part, layer.parts)) return;
  finish_weights(p, layer, sums.finish(row0, layer.inputs, column0, layer.stride));
  if (row0 > 0) return;
  barrier();
  T* line = shared_memory<T>();
  if (threadIdx.x < Block::columns) line[threadIdx.x] = sums.column_sum;
  barrier();
  finish_bias(p, layer, line, column0, Block::columns);
}

}  // namespace schuss::gpu
