// A mutex that a child of fork finds unlocked: the thread that held it exists in the parent only.
#pragma once

#include <unistd.h>

#include <atomic>
#include <mutex>

namespace schuss {

class ForkMutex {
 public:
  ForkMutex() = default;
  ForkMutex(const ForkMutex&) = delete;
  ForkMutex& operator=(const ForkMutex&) = delete;
  ~ForkMutex() {
    Owned* last = owned_.load();
    if (last->process == getpid()) delete last;
  }

  void lock() { mine().mutex.lock(); }
  void unlock() { mine().mutex.unlock(); }

 private:
  struct Owned {
    const pid_t process = getpid();
    std::mutex mutex;
  };

  // An inherited one is left as it is: destroying a locked mutex is undefined.
  Owned& mine() {
    Owned* now = owned_.load();
    while (now->process != getpid()) {
      Owned* fresh = new Owned;
      if (owned_.compare_exchange_strong(now, fresh)) return *fresh;
      delete fresh;
    }
    return *now;
  }

  std::atomic<Owned*> owned_{new Owned};
};

}  // namespace schuss
