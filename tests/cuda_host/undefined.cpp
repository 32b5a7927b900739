// What the compiler calls where arithmetic has no meaning (-fsanitize=alignment,bounds,...).
#include "memory.hpp"

extern "C" {

struct SourceLocation {
  const char* file;
  unsigned line, column;
};

#define UNDEFINED(NAME, WHAT)                                                                     \
  void __ubsan_handle_##NAME(const SourceLocation* at) {                                          \
    host_gpu::fail("thread %u: %s at %s:%u", host_gpu::present.thread, WHAT, at->file, at->line); \
  }
UNDEFINED(type_mismatch_v1, "misaligned access")
UNDEFINED(out_of_bounds, "index out of an array's bounds")
UNDEFINED(shift_out_of_bounds, "shift by too many bits")
UNDEFINED(add_overflow, "overflow of +")
UNDEFINED(sub_overflow, "overflow of -")
UNDEFINED(mul_overflow, "overflow of *")
UNDEFINED(negate_overflow, "overflow of -")
UNDEFINED(divrem_overflow, "division by 0, or overflow of /")

}  // extern "C"
