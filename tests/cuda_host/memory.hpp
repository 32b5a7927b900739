// Device memory, every access to which is checked; how a launch that breaks a rule ends.
#pragma once

#include <cstddef>
#include <cstdint>

#include "order.hpp"

namespace host_gpu {

// Says what is wrong with the launch, in a message; leave() ends it, from a thread of the kernel.
__attribute__((format(printf, 1, 2))) void note(const char* format, ...);
[[noreturn]] void leave();

template <typename... Values>
[[noreturn]] void fail(const char* format, Values... values) {
  note(format, values...);
  leave();
}

bool running();  // within a thread of a kernel

// Accesses that the runtime does in a kernel's name.
void check_read(const void* at, unsigned bytes, const void* caller);
void check_write(void* at, unsigned bytes, const void* caller);
void check_atomic(void* at, const void* caller);

bool in_shared_memory(const void* at);
void begin_launch(const void* arguments, std::size_t bytes, const void* body);
void begin_block(unsigned shared);  // poisons shared memory
void end_block(unsigned shared);    // looks at the guards around it
void released();                    // a fence
void own_stacks(const char* begin, std::size_t bytes);

}  // namespace host_gpu
