// What the formulas are called, and the numbers that they take: for the CPU core and for the GPU's kernels alike.
// Plain C++20 without a header, as a compiler at run time has none.
#pragma once

namespace schuss {

constexpr float kInfinity = __builtin_bit_cast(float, 0x7f800000);
constexpr float kNaN = __builtin_bit_cast(float, 0x7fc00000);

// The values are part of the Python contract (activations.py).
enum class Activation {
  identity = 0,
  logistic = 1,
  tanh = 2,
  relu = 3,
  softmax = 4,
  exp = 5,
  leaky_relu = 6,
  elu = 7,
  selu = 8,
  gelu = 9,
  silu = 10,
  softplus = 11,
  hardtanh = 12
};

// True where f' cannot be read off a = f(z): the slope is kept beside it.
constexpr bool needs_slope(Activation f) { return f == Activation::gelu || f == Activation::silu; }

// The values are part of the Python contract (losses.py).
enum class Loss {
  squared_error = 0,
  log_loss = 1,
  poisson = 2,
  gamma = 3,
  absolute_error = 4,
  huber = 5,
  quantile = 6,
  hinge = 7,
  focal = 8
};

template <class T>
struct LossFormula {
  Loss kind = Loss::squared_error;
  T parameter = 0;                    // huber: delta; focal: gamma
  T cap = static_cast<T>(kInfinity);  // most that is reported of -log p, where it is finite
  const T* levels = nullptr;          // quantile: one an output, padded to whole vectors
};

// The values are part of the Python contract (optimizers.py).
enum class Optimizer { sgd = 0, momentum = 1, nesterov = 2, adam = 3 };

constexpr int state_slots(Optimizer kind) { return kind == Optimizer::sgd ? 0 : kind == Optimizer::adam ? 2 : 1; }

// One update of the parameters: which formula, and its numbers for this step.
template <class T>
struct Update {
  Optimizer kind = Optimizer::sgd;
  T rate = 0;      // learning rate of this step; Adam's carries the bias corrections
  T momentum = 0;  // Adam: beta_1
  T beta2 = 0;
  T epsilon = 0;
  T scale = 1;  // of the gradient: below 1 where its norm is clipped
  // of weights only, never of biases
  T penalty = 0;  // added to the gradient as penalty * w
  T keep = 1;     // decoupled weight decay: w is multiplied by it first

  constexpr Update for_bias() const {
    Update bias = *this;
    bias.penalty = 0;
    bias.keep = 1;
    return bias;
  }
};

}  // namespace schuss
