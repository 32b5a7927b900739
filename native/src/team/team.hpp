// A team of threads, made once and reused; the only place in the core that starts threads.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "barrier.hpp"

namespace schuss {

// Processors that this process may run on.
int allowed_cores();

class Team {
 public:
  explicit Team(int size);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // work(0) runs on the calling thread, work(i) on the others; returns when all have ended and rethrows the
  // first exception of any. One call at a time. Denormal numbers count as zero while it runs.
  void run(const std::function<void(int)>& work);

  // A barrier for `members` threads of this team; broken by a failure in any thread, mended by the next run.
  Barrier& make_barrier(int members);

 private:
  struct Crew;
  void abandon_inherited();
  void start_crew();
  void guarded(const std::function<void(int)>& work, int thread);

  const int size_;
  const int spin_;
  std::deque<Barrier> barriers_;
  std::unique_ptr<Crew> crew_;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

}  // namespace schuss
