// A team of threads, made once and reused; the only place in the core that starts threads.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "barrier.hpp"
#include "cores.hpp"

namespace schuss {

class Team {
 public:
  // Pinned: thread i stays on the i-th of processors(), the calling one while run() lasts.
  explicit Team(int size, bool pinned = false);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // work(0) runs on the calling thread, work(i) on those below `threads`; returns when all have ended and rethrows
  // the first exception of any. One call at a time. Denormal numbers count as zero while it runs.
  void run(int threads, const std::function<void(int)>& work);
  void run(const std::function<void(int)>& work) { run(size_, work); }

  // On the calling thread only, in the same mode.
  void alone(const std::function<void()>& work);

  // A barrier for `members` threads of this team; broken by a failure in any thread, mended by the next run.
  Barrier& make_barrier(int members);

 private:
  struct Crew;
  void abandon_inherited();
  void start_crew();
  void pin(std::optional<Pinned>& pinned, int thread) const;
  void guarded(const std::function<void(int)>& work, int thread);

  const int size_;
  const int spin_;
  const std::vector<int> pins_;  // of each thread; empty: they are free
  std::deque<Barrier> barriers_;
  std::unique_ptr<Crew> crew_;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

}  // namespace schuss
