// What the naive, gemv and gemm steps share: parameters in one flat vector, a partial gradient for each group
// of examples (Algorithm 5), summed in the order of the groups, and the update over flat ranges.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "../kernels/table.hpp"
#include "../partition/range.hpp"
#include "layer_formulas.hpp"
#include "schuss/buffer.hpp"
#include "schuss/packing.hpp"
#include "step.hpp"

namespace schuss {

template <class T>
class FlatStep : public Step<T> {
 public:
  FlatStep(const Network& network, const KernelTable<T>& kernels, index groups, Optimizer optimizer)
      : network_(network), kernels_(kernels), formulas_(network_, kernels) {
    for (int s = 0; s < 1 + state_slots(optimizer); ++s)
      slot_[static_cast<std::size_t>(s)] = Buffer<T>(network.parameters());
    for (index g = 0; g < groups; ++g) partial_.emplace_back(network.parameters());
  }

  void load(const Place& me, int slot, const T* flat) override {
    const Range mine = split(network_.parameters(), me.threads(), me.thread());
    std::copy_n(flat + mine.begin, mine.size(), slot_[static_cast<std::size_t>(slot)].data() + mine.begin);
  }
  void store(const Place& me, int slot, T* flat) override {
    const Range mine = split(network_.parameters(), me.threads(), me.thread());
    std::copy_n(slot_[static_cast<std::size_t>(slot)].data() + mine.begin, mine.size(), flat + mine.begin);
  }

  index bytes(index) const override {
    index sum = 0;
    for (const Buffer<T>& slot : slot_) sum += slot.bytes();
    for (const Buffer<T>& partial : partial_) sum += partial.bytes();
    return sum;
  }

  // A row of W each.
  index squares_count() const override {
    index rows = 0;
    for (index l = 1; l <= network_.layers(); ++l) rows += network_.inputs(l);
    return rows;
  }
  void squares(const Place& me, double* rows) override {
    for (index l = 1; l <= network_.layers(); ++l) {
      const Range mine = split(network_.inputs(l), me.threads(), me.thread());
      kernels_.row_squares(Packing::row_major(network_.inputs(l), network_.outputs(l)), w(l), mine.begin, mine.end,
                           rows);
      rows += network_.inputs(l);
    }
  }

  void update(const Place& me, const Batch<T>& batch, const Update<T>& u) override {
    sum_partials(me, batch, partial_[0].data(), {0, network_.parameters()});
    apply(me, partial_[0].data(), u);
  }

  void gradient(const Place& me, const Batch<T>& batch, T* flat, LayersReady* ready, bool resume) override {
    for (index l = network_.layers(); l >= 1; --l) {
      sum_partials(me, batch, flat, {network_.weights(l), network_.bias(l) + network_.outputs(l)}, resume);
      if (ready) ready->through(me, l);
    }
  }

  void apply(const Place& me, const T* flat, const Update<T>& u) override {
    const Range mine = split(network_.parameters(), me.threads(), me.thread());
    const auto range = [&](const Update<T>& formula, index begin, index end) {
      begin = std::max(begin, mine.begin);
      end = std::min(end, mine.end);
      if (begin >= end) return;
      const auto at = [&](std::size_t s) { return slot_[s].size() ? slot_[s].data() + begin : nullptr; };
      kernels_.update(formula, end - begin, flat + begin, at(0), at(1), at(2));
    };
    for (index l = 1; l <= network_.layers(); ++l) {
      range(u, network_.weights(l), network_.bias(l));
      range(u.for_bias(), network_.bias(l), network_.bias(l) + network_.outputs(l));
    }
  }

 protected:
  T* w(index l) { return slot_[0].data() + network_.weights(l); }
  T* b(index l) { return slot_[0].data() + network_.bias(l); }
  T* partial(index group) { return partial_[static_cast<std::size_t>(group)].data(); }

  // Adds the groups' partial gradients of some parameters in the order of the groups and divides by B.
  void sum_partials(const Place& me, const Batch<T>& batch, T* out, Range parameters, bool resume = false) {
    const Range mine = split(parameters.size(), me.threads(), me.thread());
    for (index i = parameters.begin + mine.begin; i < parameters.begin + mine.end; ++i) {
      T sum = partial_[0][i];
      for (std::size_t g = 1; g < partial_.size(); ++g) sum += partial_[g][i];
      out[i] = sum * batch.mean() + (resume ? out[i] : T(0));
    }
  }

  const Network network_;
  const KernelTable<T>& kernels_;
  const LayerFormulas<T> formulas_;
  std::array<Buffer<T>, 3> slot_;  // parameters, then the optimizer's state
  std::vector<Buffer<T>> partial_;
};

}  // namespace schuss
