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
NativeStep<T>::NativeStep(const Network& network, const KernelTable<T>& kernels, index groups, index members,
                          Optimizer optimizer, bool penalised)
    : network_(network),
      kernels_(kernels),
      formulas_(network_, kernels),
      slots_(1 + state_slots(optimizer)),
      claims_(groups * members) {
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
  for (index t = 0; t < groups * members; ++t)
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

template <class T>
index NativeStep<T>::squares_count() const {
  return static_cast<index>(squares_.size());
}

// Each tile's were taken when it was last written.
template <class T>
void NativeStep<T>::squares(const Place& me, double* parts) {
  const Range mine = split(squares_count(), me.threads(), me.thread());
  std::copy_n(squares_.data() + mine.begin, mine.size(), parts + mine.begin);
}

template <class T>
void NativeStep<T>::square_tile(const Tile& t) {
  if (squares_.empty()) return;
  const index filled = packing(t).filled(t.panel), width = packing(t).width(t.panel);
  kernels_.tile_squares({t.rows.size(), filled, weights(t, 0), width}, squares_.data() + t.squares);
}

// The tiles of a layer in squares of kSquareInputs x kSquareOutputs, so that those summed together share operands. The
// layer's parts of ||W||^2 begin at `squares`, those of the same inputs beside each other.
template <class T>
void NativeStep<T>::add_tiles(index l, index squares) {
  const Packing& w = layer(l).packing;
  const index panels = std::max(index{1}, kSquareOutputs / w.panel), parts = ceil_div(w.columns, kSquareColumns);
  for (index p0 = 0; p0 < w.panels(); p0 += panels)
    for (index k0 = 0; k0 < w.depth; k0 += kSquareInputs)
      for (index p = p0; p < std::min(p0 + panels, w.panels()); ++p)
        for (index k = k0; k < std::min(k0 + kSquareInputs, w.depth); k += kTileInputs)
          tiles_.push_back({l,
                            p,
                            {k, std::min(k + kTileInputs, w.depth)},
                            squares + k / kTileInputs * parts + p * w.panel / kSquareColumns});
}

// Tiles that a thread sums together at most: a square.
template <class T>
index NativeStep<T>::together() const {
  return std::max(index{1}, kSquareOutputs / kernels_.panel()) * (kSquareInputs / kTileInputs);
}

// Tiles that a thread takes at a time, for sums over `count` examples.
template <class T>
index NativeStep<T>::chunk(index tiles, index count, index threads) const {
  return count > kLongBatch ? std::min(together(), ceil_div(tiles, threads)) : 1;
}

template <class T>
typename NativeStep<T>::Sums NativeStep<T>::sums(const Place& me, index i) {
  const index bias = kTileInputs * kernels_.panel();
  T* memory = scratch_[static_cast<std::size_t>(me.thread())].data() + i * (bias + kernels_.panel());
  return {memory, memory + bias};
}

// The gradients of some tiles, over the minibatch, into the thread's own memory, on top of those in `resume`, a flat
// vector, where there is one.
template <class T>
void NativeStep<T>::sum_tiles(const Place& me, Range tiles, const Batch<T>& batch, const T* resume) {
  const index count = batch.count, block = count > kLongBatch ? kSumBlock : count;
  const auto sparse = [&](const Tile& t) { return t.layer == 1 && batch.x.sparse.columns; };
  for (index i = 0; resume && i < tiles.size(); ++i) {
    const Tile& t = tile(tiles.begin + i);
    load_sums(t, resume, sums(me, i), sums(me, tiles.size()).weights, turned(t) && !sparse(t));
  }
  for (index b = 0; b < count; b += block)
    for (index i = 0; i < tiles.size(); ++i) {
      const Tile& t = tile(tiles.begin + i);
      const Range rows{b, std::min(b + block, count)};
      const bool go_on = resume || b > 0;
      if (sparse(t)) sum_sparse_tile(t, batch, rows, sums(me, i), go_on);
      else sum_tile(t, rows, sums(me, i), go_on);
    }
  for (index i = 0; i < tiles.size(); ++i) {
    const Tile& t = tile(tiles.begin + i);
    if (turned(t) && !sparse(t)) turn_back(t, sums(me, i), sums(me, tiles.size()).weights);
  }
}

template <class T>
void NativeStep<T>::load_sums(const Tile& t, const T* flat, Sums to, T* spare, bool turned) {
  const index filled = packing(t).filled(t.panel), width = packing(t).width(t.panel);
  T* rows = turned ? spare : to.weights;
  copy_block(t.rows.size(), filled, flat + flat_weights(t), packing(t).columns, rows, width);
  if (turned) kernels_.transpose(t.rows.size(), filled, rows, width, to.weights, kTileInputs);
  if (t.first()) std::copy_n(flat + flat_bias(t), filled, to.bias);
}

// sum_tile of the first layer with compressed rows.
template <class T>
void NativeStep<T>::sum_sparse_tile(const Tile& t, const Batch<T>& batch, Range block, Sums to, bool resume) {
  const index width = packing(t).width(t.panel);
  const Panel<T> out{to.weights, width, width / kernels_.lanes};
  const auto delta = [&](index b) { return delta_row(1, b) + t.panel * packing(t).panel; };
  if (!resume) std::fill_n(to.weights, t.rows.size() * width, T(0));
  for (index b = block.begin; b < block.end; ++b)
    kernels_.sparse_outer(batch.x, batch.row(b), t.rows.begin, t.rows.end, delta(b), out);
  if (t.first()) kernels_.column_sums({block.size(), width, delta(block.begin), layer(1).stride}, to.bias, resume);
}

// The gradient of one tile, and of the panel's biases with its first tile: sums over the examples `block` of the
// minibatch, ascending, on top of what is there where it is to resume.
template <class T>
void NativeStep<T>::sum_tile(const Tile& t, Range block, Sums to, bool resume) {
  const Layer& at = layer(t.layer);
  const Layer& below = layer(t.layer - 1);
  const T* delta = at.delta.data() + block.begin * at.stride + t.panel * at.packing.panel;
  const T* a = below.a.data() + block.begin * below.stride + t.rows.begin;
  const index width = at.packing.width(t.panel), inputs = t.rows.size();
  Product<T> p;
  p.depth = block.size();
  p.a_row = 1;
  p.resume = resume;
  if (turned(t)) {
    p.rows = at.packing.filled(t.panel);
    p.a = delta;
    p.a_depth = at.stride;
    p.panel_row = below.stride;
    p.out_row = kTileInputs;
    for (index i = 0; i < inputs; i += kernels_.panel()) {
      p.vectors = ceil_div(std::min(kernels_.panel(), inputs - i), kernels_.lanes);
      p.panel = a + i;
      p.out = to.weights + i;
      kernels_.product(p);
    }
  } else {
    p.rows = inputs;
    p.a = a;
    p.a_depth = below.stride;
    p.panel = delta;
    p.panel_row = at.stride;
    p.vectors = width / kernels_.lanes;
    p.out = to.weights;
    p.out_row = width;
    kernels_.product(p);
  }
  if (t.first()) kernels_.column_sums({block.size(), width, delta, at.stride}, to.bias, resume);
}

// Of a panel that is padding for a quarter or more the gradient is summed turned: inputs in the lanes, outputs as rows.
template <class T>
bool NativeStep<T>::turned(const Tile& t) const {
  return 4 * packing(t).filled(t.panel) <= 3 * packing(t).width(t.panel);
}

template <class T>
void NativeStep<T>::turn_back(const Tile& t, Sums g, T* spare) {
  const index width = packing(t).width(t.panel);
  kernels_.transpose(packing(t).filled(t.panel), t.rows.size(), g.weights, kTileInputs, spare, width);
  std::copy_n(spare, t.rows.size() * width, g.weights);
}

template <class T>
void NativeStep<T>::update_tile(const Tile& t, Sums g, const Update<T>& u) {
  const index width = packing(t).width(t.panel);
  kernels_.update(u, t.rows.size() * width, g.weights, weights(t, 0), weights(t, 1), weights(t, 2));
  if (t.first()) kernels_.update(u.for_bias(), width, g.bias, bias(t, 0), bias(t, 1), bias(t, 2));
  transpose_tile(t);
  square_tile(t);
}

// Writes the tile's weights into the transposed copy; a panel of that copy holds `panel` inputs.
template <class T>
void NativeStep<T>::transpose_tile(const Tile& t) {
  Layer& at = layer(t.layer);
  if (at.transposed_weights.size() == 0) return;
  const Packing& to = at.transposed;
  const index outputs = at.packing.filled(t.panel), width = at.packing.width(t.panel);
  const index first = t.panel * at.packing.panel;
  for (index k = t.rows.begin; k < t.rows.end;) {
    const index p = k / to.panel, in_panel = k - p * to.panel;
    const index rows = std::min(to.filled(p) - in_panel, t.rows.end - k);
    kernels_.transpose(rows, outputs, weights(t, 0) + (k - t.rows.begin) * width, width,
                       at.transposed_weights.data() + to.offset(p, first) + in_panel, to.width(p));
    k += rows;
  }
}

template <class T>
void NativeStep<T>::update(const Place& me, const Batch<T>& batch, const Update<T>& u) {
  const index most = chunk(static_cast<index>(tiles_.size()), batch.count, me.threads());
  for (Range mine; !(mine = claims_.claim(me.thread(), most)).empty();) {
    sum_tiles(me, mine, batch);
    for (index i = 0; i < mine.size(); ++i) update_tile(tile(mine.begin + i), sums(me, i), u);
  }
}

template <class T>
void NativeStep<T>::gradient(const Place& me, const Batch<T>& batch, T* flat, LayersReady* ready, bool resume) {
  for (index l = network_.layers(); l >= 1; --l) {
    const Range all = layer(l).tiles, part = split(all.size(), me.threads(), me.thread());
    const index most = chunk(all.size(), batch.count, me.threads());
    for (index first = part.begin; first < part.end; first += most) {
      const Range mine{all.begin + first, all.begin + std::min(first + most, part.end)};
      sum_tiles(me, mine, batch, resume ? flat : nullptr);
      for (index i = 0; i < mine.size(); ++i) {
        const Tile& t = tile(mine.begin + i);
        const index filled = packing(t).filled(t.panel);
        copy_block(t.rows.size(), filled, sums(me, i).weights, packing(t).width(t.panel), flat + flat_weights(t),
                   packing(t).columns);
        if (t.first()) std::copy_n(sums(me, i).bias, filled, flat + flat_bias(t));
      }
    }
    if (ready) ready->through(me, l);
  }
}

template <class T>
void NativeStep<T>::apply(const Place& me, const T* flat, const Update<T>& u) {
  const Range mine = split(static_cast<index>(tiles_.size()), me.threads(), me.thread());
  const Sums g = sums(me, 0);
  for (index i = mine.begin; i < mine.end; ++i) {
    const Tile& t = tile(i);
    const index filled = packing(t).filled(t.panel), width = packing(t).width(t.panel);
    std::fill_n(g.weights, t.rows.size() * width, T(0));
    std::fill_n(g.bias, width, T(0));
    copy_block(t.rows.size(), filled, flat + flat_weights(t), packing(t).columns, g.weights, width);
    std::copy_n(flat + flat_bias(t), filled, g.bias);
    update_tile(t, g, u);
  }
}

template class NativeStep<float>;
template class NativeStep<double>;

}  // namespace schuss
