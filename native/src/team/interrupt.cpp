#include "interrupt.hpp"

#include <signal.h>

#include <atomic>

namespace schuss {
namespace {

std::atomic<unsigned> seen{0};
std::atomic<void (*)(int)> next{nullptr};

void count_and_pass_on(int number) {
  seen.fetch_add(1, std::memory_order_relaxed);
  if (void (*handler)(int) = next.load(std::memory_order_relaxed)) handler(number);
}

}  // namespace

void watch_interrupts() {
  struct sigaction now;
  if (sigaction(SIGINT, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO)) return;
  if (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN || now.sa_handler == count_and_pass_on) return;
  next.store(now.sa_handler, std::memory_order_relaxed);
  now.sa_handler = count_and_pass_on;
  sigaction(SIGINT, &now, nullptr);
}

unsigned interrupts_seen() { return seen.load(std::memory_order_relaxed); }

}  // namespace schuss
