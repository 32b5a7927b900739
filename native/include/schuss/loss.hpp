// A loss and its numbers; the formulas are in kernels/loss.inl.
#pragma once

#include <limits>
#include <vector>

namespace schuss {

// The numbers are part of the Python contract (losses.py).
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

struct LossSettings {
  Loss kind = Loss::squared_error;
  double parameter = 0;             // huber: delta; focal: gamma
  std::vector<double> levels = {};  // quantile: one an output
  double smoothing = 0;             // share of each target that is spread evenly over the classes
  // of what is reported, not of what is minimised
  double scale = 1;
  double cap = std::numeric_limits<double>::infinity();  // of -log p, where it is finite
};

// As a kernel reads it.
template <class T>
struct LossFormula {
  Loss kind = Loss::squared_error;
  T parameter = 0;
  T cap = std::numeric_limits<T>::infinity();
  const T* levels = nullptr;  // one an output, padded to whole vectors
};

}  // namespace schuss
