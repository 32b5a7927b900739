// The optimizer's update of four parameters side by side.
#pragma once

#include "arguments.cuh"
#include "tile.cuh"

namespace schuss::gpu {

SCHUSS_DEVICE Update<T> update_of(const UpdateArguments& p) {
  const StepNumbers& step = p.at.step();
  return {static_cast<Optimizer>(p.optimizer), static_cast<T>(step.rate),
          static_cast<T>(p.momentum),          static_cast<T>(p.beta2),
          static_cast<T>(p.epsilon),           T(1),
          static_cast<T>(step.penalty),        static_cast<T>(step.keep)};
}

// work(kind as a constant)
template <class Work>
SCHUSS_DEVICE void with_optimizer(const UpdateArguments& p, Work work) {
  switch (static_cast<Optimizer>(p.optimizer)) {
    case Optimizer::sgd: return work(Constant<Optimizer, Optimizer::sgd>{});
    case Optimizer::momentum: return work(Constant<Optimizer, Optimizer::momentum>{});
    case Optimizer::nesterov: return work(Constant<Optimizer, Optimizer::nesterov>{});
    case Optimizer::adam: return work(Constant<Optimizer, Optimizer::adam>{});
  }
}

// Four parameters side by side and the optimizer's state of them.
struct Parameters {
  Quad<T> slot[3];
};

// Weights of `row`; a bias is the row after the last.
template <Optimizer kind>
SCHUSS_DEVICE Parameters read_parameters(const LayerArguments& layer, int row, int column) {
  const long long at = static_cast<long long>(row) * layer.stride + column;
  Parameters found{};
  SCHUSS_UNROLL
  for (int s = 0; s <= state_slots(kind); ++s) found.slot[s] = quad(static_cast<const T*>(layer.w[s]) + at);
  return found;
}

template <Optimizer kind>
SCHUSS_DEVICE void update_parameters(const Update<T>& u, const LayerArguments& layer, int row, int column,
                                     const T (&g)[4], Parameters found) {
  auto& [w, first, second] = found.slot;
  for (int i = 0; i < 4; ++i)
    if (column + i < layer.outputs) update_vector<P1, kind>(u, g[i], w.value[i], first.value[i], second.value[i]);
  const long long at = static_cast<long long>(row) * layer.stride + column;
  SCHUSS_UNROLL
  for (int s = 0; s <= state_slots(kind); ++s) quad(static_cast<T*>(layer.w[s]) + at) = found.slot[s];
  if (layer.copy && row < layer.inputs) {
    Quad<S> copy;
    for (int i = 0; i < 4; ++i) copy.value[i] = convert<S>(w.value[i]);
    quad(static_cast<S*>(layer.copy) + at) = copy;
  }
}

}  // namespace schuss::gpu
