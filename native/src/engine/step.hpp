// One strategy's step. Every function is called by all the threads of the team together; between propagate and
// what follows it the engine puts a barrier, and another one after that.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <vector>

#include "../team/barrier.hpp"
#include "../team/stop.hpp"
#include "schuss/batch.hpp"
#include "schuss/network.hpp"
#include "formulas/names.hpp"

namespace schuss {

// A thread's place: group `group` of `groups` works on its share of the examples, in it `member` of `members`
// on its share of each matrix operation.
struct Place {
  index group = 0;
  index groups = 1;
  index member = 0;
  index members = 1;
  Barrier* meet = nullptr;  // of this group's members; null when there is one
  Barrier* all = nullptr;   // of all the threads
  StopSignal* stop = nullptr;

  index thread() const { return group * members + member; }
  index threads() const { return groups * members; }
  void sync() const {
    if (meet) meet->wait();
  }
  // True when the step is to be abandoned: work may be left undone, but no barrier left out.
  bool stopped() const { return thread() == 0 ? stop->poll() : stop->raised(); }
};

// Which layers of a flat gradient are whole. The calling thread hands them on, from the last to the first, while
// the others work on.
class LayersReady {
 public:
  LayersReady(index layers, index threads, const std::function<void(index)>& hand_on)
      : threads_(threads), hand_on_(hand_on), through_(static_cast<std::size_t>(layers + 1)), next_(layers) {}

  // The thread has written its part of the layer.
  void through(const Place& me, index layer) {
    through_[static_cast<std::size_t>(layer)].fetch_add(1, std::memory_order_release);
    if (me.thread() == 0) deliver();
  }
  // Thread 0 only.
  void deliver() {
    for (; next_ >= 1 && through_[static_cast<std::size_t>(next_)].load(std::memory_order_acquire) == threads_; --next_)
      if (hand_on_) hand_on_(next_);
  }

 private:
  const index threads_;
  const std::function<void(index)>& hand_on_;
  std::vector<std::atomic<index>> through_;
  index next_;
};

template <class T>
class Step {
 public:
  virtual ~Step() = default;

  // Flat parameters (slot 0) and optimizer state (slots 1, 2) in and out.
  virtual void load(const Place&, int slot, const T* flat) = 0;
  virtual void store(const Place&, int slot, T* flat) = 0;
  // Makes room for minibatches of `rows` examples; one thread.
  virtual void reserve(index rows) = 0;
  // Memory of the step when it has room for minibatches of `rows` examples.
  virtual index bytes(index rows) const = 0;

  // Output activations of the batch into `out` (count x targets, row-major) and losses of its examples, each
  // where the pointer is not null.
  virtual void forward(const Place&, const Batch<T>&, T* out, double* losses) = 0;
  // Losses, and all that the weight gradient needs.
  virtual void propagate(const Place&, const Batch<T>&, double* losses) = 0;
  // Parts of the sum of squared weights: how many there are, and, before the first barrier of a step, what they are.
  virtual index squares_count() const = 0;
  virtual void squares(const Place&, double* parts) = 0;
  // After propagate: the mean gradient, applied in place, or written to the flat vector, layers from the last to the
  // first, each told of where somebody waits for it. With `resume` it goes on from the sums that are there.
  virtual void update(const Place&, const Batch<T>&, const Update<T>&) = 0;
  virtual void gradient(const Place&, const Batch<T>&, T* flat, LayersReady* ready, bool resume) = 0;
  virtual void apply(const Place&, const T* flat, const Update<T>&) = 0;
};

}  // namespace schuss
