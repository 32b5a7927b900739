// What kernels.inl needs, included outside the ISA's namespace. No standard header with code that the linker
// could share between instruction sets belongs here.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "table.hpp"
