// A mutex that a child of fork finds unlocked: the thread that held it exists in the parent only.
#pragma once

#include <unistd.h>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <thread>

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

  // Throws where this thread holds it: a signal's handler or a callback came back to what it interrupted.
  void lock() {
    Owned& owned = mine();
    if (owned.holder.load() == std::this_thread::get_id())
      throw std::logic_error("the engine is at work in this very thread: a callback or signal handler cannot use it");
    owned.mutex.lock();
    owned.holder = std::this_thread::get_id();
  }
  void unlock() {
    Owned& owned = mine();
    owned.holder = std::thread::id();
    owned.mutex.unlock();
  }

 private:
  struct Owned {
    const pid_t process = getpid();
    std::mutex mutex;
    std::atomic<std::thread::id> holder{};
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
