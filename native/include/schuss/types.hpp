// The words every part of the core shares.
#pragma once

#include <cstddef>
#include <cstdint>

namespace schuss {

using index = std::ptrdiff_t;

constexpr index ceil_div(index n, index d) { return (n + d - 1) / d; }
constexpr index round_up(index n, index multiple) { return ceil_div(n, multiple) * multiple; }

}  // namespace schuss
