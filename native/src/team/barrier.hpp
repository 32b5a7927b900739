// A barrier that spins for a moment and then sleeps, and that can be broken when a member fails.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>

#include "schuss/types.hpp"

namespace schuss {

inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `word` differs from `old`: `spin` polls, then the operating system's wait.
inline void wait_while_equal(const std::atomic<std::uint32_t>& word, std::uint32_t old, int spin) {
  for (int i = 0; i < spin; ++i) {
    if (word.load(std::memory_order_acquire) != old) return;
    cpu_relax();
  }
  while (word.load(std::memory_order_acquire) == old) word.wait(old, std::memory_order_acquire);
}

class Barrier {
 public:
  // Thrown in the threads that wait for one that failed; Team::run passes the failure itself on.
  struct Broken : std::exception {
    const char* what() const noexcept override { return "another thread of the team failed"; }
  };

  Barrier(int members, int spin) : members_(members), spin_(spin) {}

  void wait() {
    const std::uint32_t phase = phase_.load(std::memory_order_acquire);
    if (broken_.load(std::memory_order_acquire)) throw Broken();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.fetch_add(1, std::memory_order_acq_rel);
      phase_.notify_all();
    } else {
      wait_while_equal(phase_, phase, spin_);
    }
    if (broken_.load(std::memory_order_acquire)) throw Broken();
  }

  void abort() {
    broken_.store(true, std::memory_order_release);
    phase_.fetch_add(1, std::memory_order_acq_rel);
    phase_.notify_all();
  }

  void reset() {
    arrived_.store(0, std::memory_order_relaxed);
    broken_.store(false, std::memory_order_release);
  }

 private:
  const int members_;
  const int spin_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> phase_{0};
  std::atomic<bool> broken_{false};
};

}  // namespace schuss
