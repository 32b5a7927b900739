#include "native_step.hpp"

namespace schuss {
namespace {

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
NativeStep<T>::NativeStep(const Network& network, const KernelTable<T>& kernels, index threads, Optimizer optimizer,
                          bool penalised)
    : network_(network),
      kernels_(kernels),
      formulas_(network_, kernels),
      slots_(1 + state_slots(optimizer)),
      claims_(threads) {
  layers_.resize(static_cast<std::size_t>(network.layers() + 1));
  const index panel = kernels.panel(), lanes = kernels.lanes;
  index squares = 0;
  for (index l = 0; l <= network.layers(); ++l) layer(l).stride = leading_dimension<T>(network.width(l), lanes);
  for (index l = network.layers(); l >= 1; --l) {
    Layer& at = layer(l);
    const index inputs = network.inputs(l), outputs = network.outputs(l);
    at.packing = {inputs, outputs, panel, lanes};
    at.transposed = {outputs, inputs, panel, lanes};
    for (int s = 0; s < slots_; ++s)
      at.slot[static_cast<std::size_t>(s)] = {Buffer<T>(at.packing.size()), Buffer<T>(round_up(outputs, lanes))};
    if (l > 1) at.transposed_weights = Buffer<T>(at.transposed.size());
    const index first = static_cast<index>(tiles_.size());
    add_tiles(l, squares);
    squares += ceil_div(inputs, kTileInputs) * ceil_div(outputs, kSquareColumns);
    at.tiles = {first, static_cast<index>(tiles_.size())};
  }
  if (penalised) squares_.resize(static_cast<std::size_t>(squares));
  for (index t = 0; t < threads; ++t)
    scratch_.emplace_back((1 + std::min(together(), static_cast<index>(tiles_.size()))) * (kTileInputs + 1) * panel);
}

template <class T>
index NativeStep<T>::flat_weights(const Tile& t) const {
  return network_.weights(t.layer) + t.rows.begin * network_.outputs(t.layer) + t.panel * packing(t).panel;
}

template <class T>
index NativeStep<T>::flat_bias(const Tile& t) const {
  return network_.bias(t.layer) + t.panel * packing(t).panel;
}

template <class T>
T* NativeStep<T>::weights(const Tile& t, int slot) {
  if (slot >= slots_) return nullptr;
  return layer(t.layer).slot[static_cast<std::size_t>(slot)].weights.data() + packing(t).offset(t.panel, t.rows.begin);
}

template <class T>
T* NativeStep<T>::bias(const Tile& t, int slot) {
  if (slot >= slots_) return nullptr;
  return layer(t.layer).slot[static_cast<std::size_t>(slot)].bias.data() + t.panel * packing(t).panel;
}

// A thread loads the tiles that are first its own to update: their memory is placed near it.
template <class T>
void NativeStep<T>::load(const Place& me, int slot, const T* flat) {
  const Range mine = split(static_cast<index>(tiles_.size()), me.threads(), me.thread());
  for (index i = mine.begin; i < mine.end; ++i) {
    const Tile& t = tile(i);
    const index filled = packing(t).filled(t.panel);
    copy_block(t.rows.size(), filled, flat + flat_weights(t), packing(t).columns, weights(t, slot),
               packing(t).width(t.panel));
    if (t.first()) std::copy_n(flat + flat_bias(t), filled, bias(t, slot));
    if (slot == 0) {
      transpose_tile(t);
      square_tile(t);
    }
  }
}

template <class T>
void NativeStep<T>::store(const Place& me, int slot, T* flat) {
  const Range mine = split(static_cast<index>(tiles_.size()), me.threads(), me.thread());
  for (index i = mine.begin; i < mine.end; ++i) {
    const Tile& t = tile(i);
    const index filled = packing(t).filled(t.panel);
    copy_block(t.rows.size(), filled, weights(t, slot), packing(t).width(t.panel), flat + flat_weights(t),
               packing(t).columns);
    if (t.first()) std::copy_n(bias(t, slot), filled, flat + flat_bias(t));
  }
}

template <class T>
void NativeStep<T>::reserve(index rows) {
  if (rows <= capacity_) return;
  for (index l = 0; l <= network_.layers(); ++l) {
    layer(l).a = Buffer<T>(rows * layer(l).stride);
    if (l > 0) layer(l).delta = Buffer<T>(rows * layer(l).stride);
    if (formulas_.keeps_slope(l)) layer(l).slope = Buffer<T>(rows * layer(l).stride);
  }
  capacity_ = rows;
}

template <class T>
index NativeStep<T>::bytes(index rows) const {
  index sum = 0, row = 0;
  for (index l = 0; l <= network_.layers(); ++l) {
    for (const Parameters& p : layer(l).slot) sum += p.weights.bytes() + p.bias.bytes();
    sum += layer(l).transposed_weights.bytes();
    row += layer(l).stride * ((l > 0 ? 2 : 1) + formulas_.keeps_slope(l));
  }
  for (const Buffer<T>& tile : scratch_) sum += tile.bytes();
  return sum + rows * row * static_cast<index>(sizeof(T));
}

template <class T>
void NativeStep<T>::gather(const Place& me, const Batch<T>& batch, Range mine) {
  Range share = split(mine.size(), me.members, me.member);
  if (me.stopped()) share = {};
  for (index b = mine.begin + share.begin; b < mine.begin + share.end; ++b) {
    T* y = delta_row(network_.layers(), b);
    if (batch.x.sparse.columns) formulas_.gather_targets(batch, b, y);
    else formulas_.gather(batch, b, a_row(0, b), y);
  }
  me.sync();
}

// The rows `mine` of a matrix that is computed a panel at a time: panels shared among the group's members, or rows
// where panels are too few. work(rows, j) does some rows of panel j.
template <class T>
template <class Work>
void NativeStep<T>::share(const Place& me, Range mine, const Packing& packing, Work work) {
  const bool by_panel = packing.panels() >= me.members;
  const Range columns = by_panel ? split(packing.panels(), me.members, me.member) : Range{0, packing.panels()};
  const Range part = by_panel ? Range{0, mine.size()} : split(mine.size(), me.members, me.member, kernels_.tile_rows);
  const Range rows{mine.begin + part.begin, mine.begin + part.end};
  for (index j = columns.begin; j < columns.end && !rows.empty() && !me.stopped(); ++j) work(rows, j);
  me.sync();
}

// One product of the group. finish(block, first, j) completes what was just written, while it is in the cache: rows
// from `first` of panel j.
template <class T>
template <class Finish>
void NativeStep<T>::multiply(const Place& me, Range mine, Product<T> p, const Packing& packing, const T* panels, T* out,
                             Finish finish) {
  const T *const start = p.start, *const a = p.a;
  share(me, mine, packing, [&](Range rows, index j) {
    p.rows = rows.size();
    p.a = a + rows.begin * p.a_row;
    p.panel = panels + packing.offset(j);
    p.panel_row = packing.width(j);
    p.vectors = packing.width(j) / kernels_.lanes;
    p.start = start ? start + j * packing.panel : nullptr;
    p.out = out + rows.begin * p.out_row + j * packing.panel;
    kernels_.product(p);
    finish(Block<T>{p.rows, packing.width(j), p.out, p.out_row}, rows.begin, j);
  });
}

// The first layer's product with compressed rows: the same chains without their zeros.
template <class T>
template <class Finish>
void NativeStep<T>::multiply_sparse(const Place& me, const Batch<T>& batch, Range mine, Finish finish) {
  Layer& at = layer(1);
  const Packing& packing = at.packing;
  share(me, mine, packing, [&](Range rows, index j) {
    const index width = packing.width(j), column = j * packing.panel;
    const Panel<T> panel{at.slot[0].weights.data() + packing.offset(j), width, width / kernels_.lanes};
    for (index b = rows.begin; b < rows.end; ++b)
      kernels_.sparse_forward(batch.x, batch.row(b), panel, at.slot[0].bias.data() + column, a_row(1, b) + column);
    finish(Block<T>{rows.size(), width, a_row(1, rows.begin) + column, at.stride}, rows.begin, j);
  });
}

template <class T>
void NativeStep<T>::forward_layers(const Place& me, const Batch<T>& batch, Range mine, bool learn) {
  for (index l = 1; l <= network_.layers(); ++l) {
    Layer& at = layer(l);
    Product<T> p;
    p.depth = network_.inputs(l);
    p.a = layer(l - 1).a.data();
    p.a_row = layer(l - 1).stride;
    p.a_depth = 1;
    p.start = at.slot[0].bias.data();
    p.out_row = at.stride;
    const bool hidden = l < network_.layers(), keep = learn && formulas_.keeps_slope(l);
    const auto finish = [&](Block<T> z, index first, index j) {
      const index column = j * at.packing.panel;
      T* slope = keep ? at.slope.data() + first * at.stride + column : nullptr;
      if (hidden) formulas_.activate(l, batch, first, column, z, {z.rows, z.columns, slope, at.stride});
    };
    if (l == 1 && batch.x.sparse.columns) multiply_sparse(me, batch, mine, finish);
    else multiply(me, mine, p, at.packing, at.slot[0].weights.data(), at.a.data(), finish);
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
               const Buffer<T>& from = formulas_.keeps_slope(l) ? at.slope : at.a;
               const T* data = from.data() + first * at.stride + j * above.transposed.panel;
               formulas_.derive(l, delta, {delta.rows, delta.columns, data, at.stride});
             });
  }
}

template <class T>
void NativeStep<T>::output_layer(const Batch<T>& batch, Range rows, T* out, double* losses) {
  const index last = network_.layers(), n = network_.targets(), stride = layer(last).stride;
  const Block<T> z{rows.size(), n, a_row(last, rows.begin), stride};
  if (losses)
    formulas_.output(batch, rows.begin, z, {rows.size(), n, delta_row(last, rows.begin), stride}, batch.total,
                     losses + rows.begin);
  else formulas_.output(z);
  for (index b = rows.begin; out && b < rows.end; ++b) std::copy_n(a_row(last, b), n, out + b * n);
}

// The group's slice, a block of rows at a time through all the layers: forward, and back where `learn`.
template <class T>
void NativeStep<T>::pass(const Place& me, const Batch<T>& batch, T* out, double* losses, bool learn) {
  if (learn) claims_.offer(me.thread(), me.threads(), static_cast<index>(tiles_.size()));
  const Range slice = split(batch.count, me.groups, me.group);
  const index blocks = ceil_div(slice.size(), kBlockRows);
  for (index i = 0; i < blocks; ++i) {
    const Range part = split(slice.size(), blocks, i);
    const Range block{slice.begin + part.begin, slice.begin + part.end};
    gather(me, batch, block);
    forward_layers(me, batch, block, learn);
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

}  // namespace schuss

#include "native_update.inl"

namespace schuss {

template class NativeStep<float>;
template class NativeStep<double>;

}  // namespace schuss
