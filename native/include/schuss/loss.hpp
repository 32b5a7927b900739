// A loss and its numbers, as a network is given them.
#pragma once

#include <limits>
#include <vector>

#include "formulas/names.hpp"

namespace schuss {

struct LossSettings {
  Loss kind = Loss::squared_error;
  double parameter = 0;             // huber: delta; focal: gamma
  std::vector<double> levels = {};  // quantile: one an output
  double smoothing = 0;             // share of each target that is spread evenly over the classes
  // of what is reported, not of what is minimised
  double scale = 1;
  double cap = std::numeric_limits<double>::infinity();  // of -log p, where it is finite
};

}  // namespace schuss
