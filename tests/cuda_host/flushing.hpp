// Subnormal numbers as the kernels are compiled for: zero.
#pragma once

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace host_gpu {

class Flushing {
 public:
#if defined(__x86_64__)
  Flushing() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }
  ~Flushing() { _mm_setcsr(saved_); }
#elif defined(__aarch64__)
  Flushing() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" : : "r"(saved_ | (1ull << 24)));
  }
  ~Flushing() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }
#endif
 private:
  unsigned long long saved_ = 0;
};

}  // namespace host_gpu
