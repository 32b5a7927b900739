// A mutex that a child of fork finds unlocked: the thread that held it exists in the parent only.
#pragma once

#include <unistd.h>

#include <memory>
#include <mutex>

namespace schuss {

class ForkMutex {
 public:
  void lock() {
    if (owner_ != getpid()) {
      mutex_.release();  // left as it is: destroying a locked mutex is undefined
      mutex_ = std::make_unique<std::mutex>();
      owner_ = getpid();
    }
    mutex_->lock();
  }
  void unlock() { mutex_->unlock(); }

 private:
  pid_t owner_ = getpid();
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
};

}  // namespace schuss
