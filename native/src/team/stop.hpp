// How a training is told to stop. The thread that called asks the outside world now and then; the others only see
// the flag. It is raised between barriers where nobody decides by it, and read by all after the next one.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <utility>

namespace schuss {

class StopSignal {
 public:
  // `asked` is called from the calling thread at most every `kInterval`.
  explicit StopSignal(std::function<bool()> asked) : asked_(std::move(asked)) {}

  // The clock runs on: passes shorter than the interval are asked about too, in their turn.
  void reset() { raised_.store(false, std::memory_order_relaxed); }
  bool raised() const { return raised_.load(std::memory_order_relaxed); }
  bool poll() {
    if (raised()) return true;
    const auto now = Clock::now();
    if (now - last_ < kInterval) return false;
    last_ = now;
    if (asked_ && asked_()) raised_.store(true, std::memory_order_relaxed);
    return raised();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kInterval{50};

  std::function<bool()> asked_;
  std::atomic<bool> raised_{false};
  Clock::time_point last_ = Clock::now();
};

}  // namespace schuss
