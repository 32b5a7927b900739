#include "native_step.hpp"

namespace schuss {
namespace {

// Inputs in a tile of W: with a panel's outputs, 16 KB of float32 gradient, which stays in the first-level cache.
constexpr index kTileInputs = 64;

// A minibatch whose activations outgrow the caches is walked fewer times: the tiles of a square are summed together,
// a block of examples after the other.
constexpr index kLongBatch = 1024;
constexpr index kSquareInputs = 512;
constexpr index kSquareOutputs = 512;
constexpr index kSumBlock = 128;

// Rows of a slice that go through the layers together: few enough for a layer's activations to stay in the
// caches from one panel of weights to the next.
constexpr index kBlockRows = 512;

}  // namespace

template <class T>
NativeStep<T>::NativeStep(const Network& network, const KernelTable<T>& kernels, index groups, index members,
                          Optimizer optimizer)
    : network_(network), kernels_(kernels), slots_(1 + state_slots(optimizer)), claims_(groups * members) {
  layers_.resize(static_cast<std::size_t>(network.layers() + 1));
  const index panel = kernels.panel(), lanes = kernels.lanes;
  for (index l = 0; l <= network.layers(); ++l) layer(l).stride = leading_dimension<T>(network.width(l), lanes);
  for (index l = network.layers(); l >= 1; --l) {
    Layer& at = layer(l);
    const index inputs = network.inputs(l), outputs = network.outputs(l);
    at.packing = {inputs, outputs, panel, lanes};
    at.transposed = {outputs, inputs, panel, lanes};
    for (int s = 0; s < slots_; ++s)
      at.slot[static_cast<std::size_t>(s)] = {Buffer<T>(at.packing.size()), Buffer<T>(round_up(outputs, lanes))};
    if (l > 1) at.transposed_weights = Buffer<T>(at.transposed.size());
    add_tiles(l);
  }
  for (index t = 0; t < groups * members; ++t) scratch_.emplace_back(together() * (kTileInputs + 1) * panel);
}

template <class T>
void NativeStep<T>::load(int slot, const T* flat) {
  for (index l = 1; l <= network_.layers(); ++l) {
    Layer& at = layer(l);
    Parameters& to = at.slot[static_cast<std::size_t>(slot)];
    pack(at.packing, flat + network_.weights(l), to.weights.data());
    std::copy_n(flat + network_.bias(l), network_.outputs(l), to.bias.data());
  }
  if (slot != 0) return;
  for (const Tile& tile : tiles_) transpose_tile(tile);
}

template <class T>
void NativeStep<T>::store(int slot, T* flat) const {
  for (index l = 1; l <= network_.layers(); ++l) {
    const Parameters& from = layer(l).slot[static_cast<std::size_t>(slot)];
    unpack(layer(l).packing, from.weights.data(), flat + network_.weights(l));
    std::copy_n(from.bias.data(), network_.outputs(l), flat + network_.bias(l));
  }
}

template <class T>
void NativeStep<T>::reserve(index rows) {
  if (rows <= capacity_) return;
  for (index l = 0; l <= network_.layers(); ++l) {
    layer(l).a = Buffer<T>(rows * layer(l).stride);
    if (l > 0) layer(l).delta = Buffer<T>(rows * layer(l).stride);
  }
  capacity_ = rows;
}

template <class T>
void NativeStep<T>::gather(const Place& me, const Batch<T>& batch, Range mine) {
  Range share = split(mine.size(), me.members, me.member);
  if (me.stopped()) share = {};
  for (index b = mine.begin + share.begin; b < mine.begin + share.end; ++b)
    gather_example(kernels_, batch, b, network_.targets(), a_row(0, b), delta_row(network_.layers(), b));
  me.sync();
}

// One product of the group, its output's panels shared among the members, or its rows where panels are too few.
// finish(block, j) completes what was just written, while it is in the cache: rows of panel j.
template <class T>
template <class Finish>
void NativeStep<T>::multiply(const Place& me, Range mine, Product<T> p, const Packing& packing, const T* panels, T* out,
                             Finish finish) {
  const bool by_panel = packing.panels() >= me.members;
  const Range columns = by_panel ? split(packing.panels(), me.members, me.member) : Range{0, packing.panels()};
  const Range rows = by_panel ? Range{0, mine.size()} : split(mine.size(), me.members, me.member, kernels_.tile_rows);
  const index first = mine.begin + rows.begin;
  const T* const start = p.start;
  p.rows = rows.size();
  p.a += first * p.a_row;
  for (index j = columns.begin; j < columns.end && p.rows > 0 && !me.stopped(); ++j) {
    p.panel = panels + packing.offset(j);
    p.panel_row = packing.width(j);
    p.vectors = packing.width(j) / kernels_.lanes;
    p.start = start ? start + j * packing.panel : nullptr;
    p.out = out + first * p.out_row + j * packing.panel;
    kernels_.product(p);
    finish(Block<T>{p.rows, packing.width(j), p.out, p.out_row}, first, j);
  }
  me.sync();
}

template <class T>
void NativeStep<T>::forward_layers(const Place& me, Range mine) {
  for (index l = 1; l <= network_.layers(); ++l) {
    Layer& at = layer(l);
    Product<T> p;
    p.depth = network_.inputs(l);
    p.a = layer(l - 1).a.data();
    p.a_row = layer(l - 1).stride;
    p.a_depth = 1;
    p.start = at.slot[0].bias.data();
    p.out_row = at.stride;
    const bool hidden = l < network_.layers();
    multiply(me, mine, p, at.packing, at.slot[0].weights.data(), at.a.data(), [&](Block<T> z, index, index) {
      if (hidden) kernels_.activate(network_.activation(l), z);
    });
  }
}

// Deltas from the last hidden layer down to the first: delta_l = (W_{l+1} delta_{l+1}) o f'(z_l).
template <class T>
void NativeStep<T>::backward_layers(const Place& me, Range mine) {
  for (index l = network_.layers() - 1; l >= 1; --l) {
    Layer& at = layer(l);
    Layer& above = layer(l + 1);
    Product<T> p;
    p.depth = network_.outputs(l + 1);
    p.a = above.delta.data();
    p.a_row = above.stride;
    p.a_depth = 1;
    p.out_row = at.stride;
    multiply(me, mine, p, above.transposed, above.transposed_weights.data(), at.delta.data(),
             [&](Block<T> delta, index first, index j) {
               const T* a = a_row(l, first) + j * above.transposed.panel;
               kernels_.derivative(network_.activation(l), delta, {delta.rows, delta.columns, a, at.stride});
             });
  }
}

template <class T>
void NativeStep<T>::output_layer(const Batch<T>& batch, Range rows, T* out, double* losses) {
  const index last = network_.layers(), n = network_.targets(), stride = layer(last).stride;
  const Block<T> z{rows.size(), n, a_row(last, rows.begin), stride};
  const Activation f = network_.activation(last);
  if (losses)
    kernels_.output(network_.loss(), f, z, {rows.size(), n, delta_row(last, rows.begin), stride}, batch.weight(),
                    losses + rows.begin);
  else kernels_.activate(f, z);
  for (index b = rows.begin; out && b < rows.end; ++b) std::copy_n(a_row(last, b), n, out + b * n);
}

// The group's slice, a block of rows at a time through all the layers: forward, and back where `learn`.
template <class T>
void NativeStep<T>::pass(const Place& me, const Batch<T>& batch, T* out, double* losses, bool learn) {
  if (learn) claims_.offer(me.thread(), split(static_cast<index>(tiles_.size()), me.threads(), me.thread()));
  const Range slice = split(batch.count, me.groups, me.group);
  const index blocks = ceil_div(slice.size(), kBlockRows);
  for (index i = 0; i < blocks; ++i) {
    const Range part = split(slice.size(), blocks, i);
    const Range block{slice.begin + part.begin, slice.begin + part.end};
    gather(me, batch, block);
    forward_layers(me, block);
    const Range share = split(block.size(), me.members, me.member);
    output_layer(batch, {block.begin + share.begin, block.begin + share.end}, out, losses);
    me.sync();
    if (learn) backward_layers(me, block);
  }
}

template <class T>
void NativeStep<T>::forward(const Place& me, const Batch<T>& batch, T* out, double* losses) {
  pass(me, batch, out, losses, false);
}

template <class T>
void NativeStep<T>::propagate(const Place& me, const Batch<T>& batch, double* losses) {
  pass(me, batch, nullptr, losses, true);
}

template <class T>
void NativeStep<T>::squares(const Place& me, double* rows) {
  for (index l = 1; l <= network_.layers(); ++l) {
    const Range mine = split(network_.inputs(l), me.threads(), me.thread());
    kernels_.row_squares(layer(l).packing, layer(l).slot[0].weights.data(), mine.begin, mine.end, rows);
    rows += network_.inputs(l);
  }
}

// The tiles of a layer in squares of kSquareInputs x kSquareOutputs, so that those summed together share operands.
template <class T>
void NativeStep<T>::add_tiles(index l) {
  const Packing& w = layer(l).packing;
  const index panels = std::max(index{1}, kSquareOutputs / w.panel);
  for (index p0 = 0; p0 < w.panels(); p0 += panels)
    for (index k0 = 0; k0 < w.depth; k0 += kSquareInputs)
      for (index p = p0; p < std::min(p0 + panels, w.panels()); ++p)
        for (index k = k0; k < std::min(k0 + kSquareInputs, w.depth); k += kTileInputs)
          tiles_.push_back({l, p, {k, std::min(k + kTileInputs, w.depth)}});
}

// Tiles that a thread sums together at most: a square.
template <class T>
index NativeStep<T>::together() const {
  return std::max(index{1}, kSquareOutputs / kernels_.panel()) * (kSquareInputs / kTileInputs);
}

// The gradient of one tile, and of the panel's biases with its first tile: sums over the examples `block` of the
// minibatch, ascending, on top of those of the blocks before.
template <class T>
void NativeStep<T>::sum_tile(const Tile& tile, Range block, T* weights, T* bias) {
  const Layer& at = layer(tile.layer);
  const Layer& below = layer(tile.layer - 1);
  const T* delta = at.delta.data() + block.begin * at.stride + tile.panel * at.packing.panel;
  Product<T> p;
  p.rows = tile.rows.size();
  p.depth = block.size();
  p.vectors = at.packing.width(tile.panel) / kernels_.lanes;
  p.a = below.a.data() + block.begin * below.stride + tile.rows.begin;
  p.a_row = 1;
  p.a_depth = below.stride;
  p.panel = delta;
  p.panel_row = at.stride;
  p.out = weights;
  p.out_row = at.packing.width(tile.panel);
  p.resume = block.begin > 0;
  kernels_.product(p);
  if (tile.rows.begin == 0) kernels_.column_sums({block.size(), p.out_row, delta, at.stride}, bias, p.resume);
}

template <class T>
void NativeStep<T>::update_tile(const Tile& tile, const T* weights, const T* bias, const Update<T>& u) {
  Layer& at = layer(tile.layer);
  const index width = at.packing.width(tile.panel);
  const auto apply = [&](const Update<T>& formula, index n, const T* g, Buffer<T> Parameters::* which, index offset) {
    const auto at_slot = [&](int s) {
      return s < slots_ ? (at.slot[static_cast<std::size_t>(s)].*which).data() + offset : nullptr;
    };
    kernels_.update(formula, n, g, at_slot(0), at_slot(1), at_slot(2));
  };
  apply(u, tile.rows.size() * width, weights, &Parameters::weights, at.packing.offset(tile.panel, tile.rows.begin));
  if (tile.rows.begin == 0) apply(u.for_bias(), width, bias, &Parameters::bias, tile.panel * at.packing.panel);
  transpose_tile(tile);
}

// Writes the tile's weights into the transposed copy; a panel of that copy holds `panel` inputs.
template <class T>
void NativeStep<T>::transpose_tile(const Tile& tile) {
  Layer& at = layer(tile.layer);
  if (at.transposed_weights.size() == 0) return;
  const Packing& to = at.transposed;
  const index outputs = at.packing.filled(tile.panel), first = tile.panel * at.packing.panel;
  for (index k = tile.rows.begin; k < tile.rows.end;) {
    const index p = k / to.panel, in_panel = k - p * to.panel;
    const index rows = std::min(to.filled(p) - in_panel, tile.rows.end - k);
    kernels_.transpose(rows, outputs, at.slot[0].weights.data() + at.packing.offset(tile.panel, k),
                       at.packing.width(tile.panel), at.transposed_weights.data() + to.offset(p, first) + in_panel,
                       to.width(p));
    k += rows;
  }
}

// work(tile, weights, bias) for each of the tiles that the thread claims, with the sums over `count` examples in its
// scratch memory.
template <class T>
template <class Work>
void NativeStep<T>::each_tile(const Place& me, index count, Work work) {
  const index square =
      count > kLongBatch ? std::min(together(), ceil_div(static_cast<index>(tiles_.size()), me.threads())) : 1;
  const index block = count > kLongBatch ? kSumBlock : count;
  const index bias = kTileInputs * kernels_.panel(), size = bias + kernels_.panel();
  T* scratch = scratch_[static_cast<std::size_t>(me.thread())].data();
  for (Range mine; !(mine = claims_.claim(me.thread(), square)).empty();) {
    const Tile* tiles = tiles_.data() + mine.begin;
    for (index b = 0; b < count; b += block)
      for (index i = 0; i < mine.size(); ++i)
        sum_tile(tiles[i], {b, std::min(b + block, count)}, scratch + i * size, scratch + i * size + bias);
    for (index i = 0; i < mine.size(); ++i) work(tiles[i], scratch + i * size, scratch + i * size + bias);
  }
}

template <class T>
void NativeStep<T>::update(const Place& me, const Batch<T>& batch, const Update<T>& u) {
  each_tile(me, batch.count, [&](const Tile& tile, T* weights, T* bias) { update_tile(tile, weights, bias, u); });
}

template <class T>
void NativeStep<T>::gradient(const Place& me, const Batch<T>& batch, T* flat) {
  each_tile(me, batch.count, [&](const Tile& tile, T* weights, T* bias) {
    const Packing& packing = layer(tile.layer).packing;
    const index n = packing.filled(tile.panel), first = tile.panel * packing.panel;
    T* out = flat + network_.weights(tile.layer) + tile.rows.begin * packing.columns + first;
    for (index r = 0; r < tile.rows.size(); ++r)
      std::copy_n(weights + r * packing.width(tile.panel), n, out + r * packing.columns);
    if (tile.rows.begin == 0) std::copy_n(bias, n, flat + network_.bias(tile.layer) + first);
  });
}

template <class T>
void NativeStep<T>::apply(const Place& me, const T* flat, const Update<T>& u) {
  const Range mine = split(static_cast<index>(tiles_.size()), me.threads(), me.thread());
  T* weights = scratch_[static_cast<std::size_t>(me.thread())].data();
  T* bias = weights + kTileInputs * kernels_.panel();
  for (index t = mine.begin; t < mine.end; ++t) {
    const Tile& tile = tiles_[static_cast<std::size_t>(t)];
    const Packing& packing = layer(tile.layer).packing;
    const index n = packing.filled(tile.panel), first = tile.panel * packing.panel, width = packing.width(tile.panel);
    const T* in = flat + network_.weights(tile.layer) + tile.rows.begin * packing.columns + first;
    std::fill_n(weights, tile.rows.size() * width, T(0));
    std::fill_n(bias, width, T(0));
    for (index r = 0; r < tile.rows.size(); ++r) std::copy_n(in + r * packing.columns, n, weights + r * width);
    std::copy_n(flat + network_.bias(tile.layer) + first, n, bias);
    update_tile(tile, weights, bias, u);
  }
}

template class NativeStep<float>;
template class NativeStep<double>;

}  // namespace schuss
