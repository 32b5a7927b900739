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

template <Optimizer kind>
SCHUSS_DEVICE void update_quad_by(const Update<T>& u, const LayerArguments& layer, int row, int column,
                                  const T (&g)[4]) {
  const bool is_bias = row < 0;
  const long long at = is_bias ? column : static_cast<long long>(row) * layer.stride + column;
  T* const* slots = is_bias ? reinterpret_cast<T* const*>(layer.bias) : reinterpret_cast<T* const*>(layer.w);
  constexpr int states = state_slots(kind);
  Quad<T> w = quad(slots[0] + at), first{}, second{};
  if constexpr (states > 0) first = quad(slots[1] + at);
  if constexpr (states > 1) second = quad(slots[2] + at);
  for (int i = 0; i < 4; ++i)
    if (column + i < layer.outputs) update_vector<P1, kind>(u, g[i], w.value[i], first.value[i], second.value[i]);
  quad(slots[0] + at) = w;
  if constexpr (states > 0) quad(slots[1] + at) = first;
  if constexpr (states > 1) quad(slots[2] + at) = second;
  if (layer.copy && !is_bias) {
    Quad<S> copy;
    for (int i = 0; i < 4; ++i) copy.value[i] = convert<S>(w.value[i]);
    quad(static_cast<S*>(layer.copy) + at) = copy;
  }
}

// Weights of `row`, biases where it is -1.
SCHUSS_DEVICE void update_quad(Optimizer kind, const Update<T>& u, const LayerArguments& layer, int row, int column,
                               const T (&g)[4]) {
  switch (kind) {
    case Optimizer::sgd: return update_quad_by<Optimizer::sgd>(u, layer, row, column, g);
    case Optimizer::momentum: return update_quad_by<Optimizer::momentum>(u, layer, row, column, g);
    case Optimizer::nesterov: return update_quad_by<Optimizer::nesterov>(u, layer, row, column, g);
    case Optimizer::adam: return update_quad_by<Optimizer::adam>(u, layer, row, column, g);
  }
}

}  // namespace schuss::gpu
