// Stacks that hand control to each other: nothing of the operating system takes part where the switch is our own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace host_gpu {

// Where the registers lie that the callee saves; the rest is the caller's business, as in every call.
struct Context {
  void** top;
};

void switch_stack(Context* from, const Context* to) asm("host_gpu_switch_stack");

inline void switch_to(Context& from, Context& to) { switch_stack(&from, &to); }

#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
host_gpu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq (%rsi), %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
constexpr int kSaved = 8, kReturn = 6;  // words on a stack at rest, and which of them holds the address to go on at
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
host_gpu_switch_stack:
  stp x29, x30, [sp, #-160]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  ldr x9, [x1]
  mov sp, x9
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
)");
constexpr int kSaved = 20, kReturn = 1;
#else
#error "fibres are written for x86-64 and AArch64"
#endif

inline void prepare(Context& context, char* stack, std::size_t bytes, void (*begin)()) {
  const auto end = (reinterpret_cast<std::uintptr_t>(stack) + bytes) & ~std::uintptr_t{15};
  context.top = reinterpret_cast<void**>(end) - kSaved;
  for (int i = 0; i < kSaved; ++i) context.top[i] = nullptr;
  context.top[kReturn] = reinterpret_cast<void*>(begin);
}

}  // namespace host_gpu
