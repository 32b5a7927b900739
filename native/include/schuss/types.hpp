// The words every part of the core shares.
#pragma once

#include <cstddef>
#include <cstdint>

namespace schuss {

using index = std::ptrdiff_t;

// Always inlined: these are used in code for one instruction set, and the linker must not share a copy of it.
#define SCHUSS_ALWAYS_INLINE [[gnu::always_inline]] inline

SCHUSS_ALWAYS_INLINE constexpr index ceil_div(index n, index d) { return (n + d - 1) / d; }
SCHUSS_ALWAYS_INLINE constexpr index round_up(index n, index multiple) { return ceil_div(n, multiple) * multiple; }

}  // namespace schuss
