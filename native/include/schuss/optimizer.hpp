// One update of the parameters: which formula, and its numbers for this step.
#pragma once

namespace schuss {

// The numbers are part of the Python contract (optimizers.py); the formulas are in kernels/optimizer.inl.
enum class Optimizer { sgd = 0, momentum = 1, nesterov = 2, adam = 3 };

constexpr int state_slots(Optimizer kind) { return kind == Optimizer::sgd ? 0 : kind == Optimizer::adam ? 2 : 1; }

template <class T>
struct Update {
  Optimizer kind = Optimizer::sgd;
  T rate = 0;      // learning rate of this step; Adam's carries the bias corrections
  T momentum = 0;  // Adam: beta_1
  T beta2 = 0;
  T epsilon = 0;
  T decay = 0;  // added to the gradient as decay * w; weights only, never biases

  Update for_bias() const {
    Update bias = *this;
    bias.decay = 0;
    return bias;
  }
};

}  // namespace schuss
