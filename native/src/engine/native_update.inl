// The native step's second phase: tiles of W, their gradients summed over the minibatch, the update applied in place,
// and what goes with the weights: the transposed copy and the parts of ||W||^2. Included by native_step.cpp.

namespace schuss {

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

}  // namespace schuss
