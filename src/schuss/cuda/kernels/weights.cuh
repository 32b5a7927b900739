// Weight gradients of all layers in one node, and the update in the same breath.
#pragma once

#include "arguments.cuh"
#include "tile.cuh"
#include "update.cuh"

namespace schuss::gpu {

SCHUSS_DEVICE T* gradient_at(const LayerArguments& layer, int row, int column) {
  return static_cast<T*>(layer.gradient) + static_cast<long long>(row) * layer.stride + column;
}

// The kept sum of a gradient, on top of which more examples are added.
SCHUSS_DEVICE T kept(const LayerArguments& layer, int row, int column) {
  return row <= layer.inputs && column < layer.stride ? *gradient_at(layer, row, column) : T(0);
}

SCHUSS_DEVICE void keep_quad(const LayerArguments& layer, int row, int column, const T (&g)[4]) {
  quad(gradient_at(layer, row, column)) = {{g[0], g[1], g[2], g[3]}};
}

SCHUSS_NOINLINE void finish_weights(const UpdateArguments& p, const LayerArguments& layer, const Finished& tile) {
  if (p.keep_gradient)
    return tile.each_quad([&](int row, int column, const T(&g)[4]) { keep_quad(layer, row, column, g); });
  const Update<T> u = update_of(p);
  with_optimizer(p, [&](auto kind) {
    constexpr Optimizer k = decltype(kind){}();
    tile.each_quad([&](int row, int column) { return read_parameters<k>(layer, row, column); },
                   [&](int row, int column, const T(&g)[4], const Parameters& found) {
                     update_parameters<k>(u, layer, row, column, g, found);
                   });
  });
}

// Of `n` biases from `column0` on, their gradients in `line`.
SCHUSS_NOINLINE void finish_bias(const UpdateArguments& p, const LayerArguments& layer, const T* line, int column0,
                                 int n) {
  const int c = static_cast<int>(threadIdx.x) * 4;
  if (c >= n || column0 + c >= layer.stride) return;
  const Quad<T> g = quad(line + c);
  if (p.keep_gradient) return keep_quad(layer, layer.inputs, column0 + c, g.value);
  with_optimizer(p, [&](auto kind) {
    constexpr Optimizer k = decltype(kind){}();
    update_parameters<k>(update_of(p).for_bias(), layer, layer.inputs, column0 + c, g.value,
                         read_parameters<k>(layer, layer.inputs, column0 + c));
  });
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
  if (p.go_on && part == 0) {  // the chain of each sum goes on where it stopped
    sums.sums.each(
        [&](T& sum, int r, int c, int) { sum = row0 + r < layer.inputs ? kept(layer, row0 + r, column0 + c) : T(0); });
    if (row0 == 0 && threadIdx.x < Block::columns)
      sums.column_sum = kept(layer, layer.inputs, column0 + static_cast<int>(threadIdx.x));
  }
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
