// What a step does to a layer's rows between its products: activation, dropout, derivative, and at the end targets,
// loss and first delta. Shared by every strategy.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../kernels/table.hpp"
#include "../partition/range.hpp"
#include "schuss/batch.hpp"
#include "schuss/buffer.hpp"
#include "schuss/network.hpp"

namespace schuss {

template <class T>
class LayerFormulas {
 public:
  LayerFormulas(const Network& network, const KernelTable<T>& kernels)
      : network_(network), kernels_(kernels), levels_(round_up(network.targets(), kPadding)) {
    const LossSettings& loss = network.loss();
    std::transform(loss.levels.begin(), loss.levels.end(), levels_.data(), [](double q) { return static_cast<T>(q); });
    loss_ = {loss.kind, static_cast<T>(loss.parameter), static_cast<T>(loss.cap), levels_.data()};
    const double classes = static_cast<double>(std::max<index>(network.targets(), 2));
    const bool shared = network.activation(network.layers()) == Activation::softmax;
    off_ = static_cast<T>(loss.smoothing / (shared ? classes : 2));
    on_ = static_cast<T>(1 - loss.smoothing) + off_;
  }

  // Example b of the batch into `x` (features) and, where there are targets, `y` (targets, one-hot for labels).
  void gather(const Batch<T>& batch, index b, T* x, T* y) const {
    if (batch.weight(b) > 0) kernels_.gather(batch.x, batch.row(b), x);
    else std::fill_n(x, network_.features(), T(0));  // whatever it holds must not count
    gather_targets(batch, b, y);
  }
  void gather_targets(const Batch<T>& batch, index b, T* y) const {
    const index row = batch.row(b), targets = network_.targets();
    if (batch.y.dense) {
      std::copy_n(batch.y.dense + row * targets, targets, y);
      if (off_ > 0) std::transform(y, y + targets, y, [&](T t) { return off_ + (on_ - off_) * t; });
    } else if (batch.y.labels) {
      std::fill_n(y, targets, off_);
      if (targets == 1) y[0] = batch.y.labels[row] ? on_ : off_;
      else y[batch.y.labels[row]] = on_;
    }
  }

  // Whether a step of learning keeps f'(z) of hidden layer l beside its activations.
  bool keeps_slope(index l) const {
    return l > 0 && l < network_.layers() && (needs_slope(network_.activation(l)) || network_.dropout(l) > 0);
  }

  // z of hidden layer l becomes a. `slope` is a block of the same values where the layer keeps one and the step learns,
  // else none. The block's first value is of the example `row` of the batch and the unit `column` of the layer.
  void activate(index l, const Batch<T>& batch, index row, index column, Block<T> z, Block<T> slope) const {
    kernels_.activate(network_.activation(l), z, slope);
    if (!slope.data || network_.dropout(l) == 0) return;
    const double rate = network_.dropout(l);
    Mask<T> mask{key(l, batch.step), batch.first + row, column};
    mask.threshold = static_cast<std::uint32_t>(std::min(std::round(rate * 0x1p32), 0x1p32 - 1));
    mask.scale = static_cast<T>(1 / (1 - rate));
    kernels_.mask(mask, z, slope);
  }

  // delta of hidden layer l times f'(z); `from` holds what that is read off: the slope where the layer keeps one, else
  // a
  void derive(index l, Block<T> delta, Block<const T> from) const {
    if (keeps_slope(l)) kernels_.multiply(delta, from);
    else kernels_.derivative(network_.activation(l), delta, from);
  }

  // Output activations of rows [first, first + z.rows) of the batch.
  void output(Block<T> z) const { kernels_.activate(network_.activation(network_.layers()), z, {}); }

  // And their losses, and delta in place of the targets y, each example's times its weight over `whole`.
  void output(const Batch<T>& batch, index first, Block<T> z, Block<T> y, double whole, double* losses) const {
    T weights[kRows];
    for (index r = 0; r < z.rows; r += kRows) {
      const index rows = std::min(kRows, z.rows - r);
      for (index i = 0; i < kRows; ++i)
        weights[i] = i < rows ? static_cast<T>(batch.weight(first + r + i) / whole) : T(0);
      kernels_.output(loss_, network_.activation(network_.layers()), {rows, z.columns, z.data + r * z.stride, z.stride},
                      {rows, y.columns, y.data + r * y.stride, y.stride}, weights, losses + r);
    }
  }

 private:
  static constexpr index kPadding = 16;  // values in the widest vector
  static constexpr index kRows = 64;     // a multiple of it

  std::uint64_t key(index l, std::int64_t step) const {
    // odd constants keep the three apart; the kernel hashes the sum
    return network_.seed() * 0xd1342543de82ef95u + static_cast<std::uint64_t>(step) * 0x2545f4914f6cdd1du +
           (static_cast<std::uint64_t>(l) << 48);
  }

  const Network& network_;
  const KernelTable<T>& kernels_;
  Buffer<T> levels_;
  LossFormula<T> loss_;
  T off_ = 0;
  T on_ = 1;
};

}  // namespace schuss
