// Dividing work while it is done: every thread has a contiguous share of the items, and takes from the shares of
// others when its own is through. Who does an item changes no result.
#pragma once

#include <atomic>
#include <memory>

#include "range.hpp"

namespace schuss {

class Claims {
 public:
  explicit Claims(index threads)
      : threads_(threads), shares_(std::make_unique<Share[]>(static_cast<std::size_t>(threads))) {}

  // The thread's share of the items anew, where `threads` of them work: each calls it. They meet at a barrier between
  // this and the first claim, and again after the last.
  void offer(index thread, index threads, index items) {
    for (index t = thread; t < threads_; t += threads) {  // those who do not work have none
      const Range mine = t < threads ? split(items, threads, t) : Range{};
      share(t).end = mine.end;
      share(t).next.store(mine.begin, std::memory_order_relaxed);
    }
  }

  // Up to `grain` items of one share, the thread's own first; empty when all are taken.
  Range claim(index thread, index grain = 1) {
    for (index i = 0; i < threads_; ++i) {
      Share& from = share((thread + i) % threads_);
      if (from.next.load(std::memory_order_relaxed) >= from.end) continue;
      const index begin = from.next.fetch_add(grain, std::memory_order_relaxed);
      if (begin < from.end) return {begin, std::min(begin + grain, from.end)};
    }
    return {};
  }

 private:
  struct alignas(64) Share {
    std::atomic<index> next{0};
    index end = 0;
  };

  Share& share(index thread) { return shares_[static_cast<std::size_t>(thread)]; }

  const index threads_;
  std::unique_ptr<Share[]> shares_;
};

}  // namespace schuss
