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
  T scale = 1;  // of the gradient: below 1 where its norm is clipped
  // of weights only, never of biases
  T penalty = 0;  // added to the gradient as penalty * w
  T keep = 1;     // decoupled weight decay: w is multiplied by it first

  Update for_bias() const {
    Update bias = *this;
    bias.penalty = 0;
    bias.keep = 1;
    return bias;
  }
};

}  // namespace schuss
