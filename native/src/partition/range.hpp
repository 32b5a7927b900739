// Dividing work: item count, parts, granularity -> [begin, end). Pure; knows neither threads nor arithmetic.
#pragma once

#include <algorithm>

#include "schuss/types.hpp"

namespace schuss {

struct Range {
  index begin = 0;
  index end = 0;
  index size() const { return end - begin; }
  bool empty() const { return begin >= end; }
};

// Part `part` of `n` items in `parts` contiguous parts whose borders are multiples of `grain`; their numbers of
// grains differ by at most one, the last of all may be cut short. Parts beyond the work are empty.
constexpr Range split(index n, index parts, index part, index grain = 1) {
  const index grains = ceil_div(n, grain);
  const index each = grains / parts;
  const index extra = grains % parts;
  const index begin = part * each + std::min(part, extra);
  const index end = begin + each + (part < extra ? 1 : 0);
  return {std::min(begin * grain, n), std::min(end * grain, n)};
}

}  // namespace schuss
