// The engine: one network's parameters and optimizer state, a plan, and a team of threads that runs whole epochs.
#pragma once

#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "../team/fork_mutex.hpp"
#include "../team/team.hpp"
#include "schuss/blas.hpp"
#include "pace.hpp"
#include "schuss/buffer.hpp"
#include "../kernels/table.hpp"
#include "step.hpp"

namespace schuss {

// The numbers are part of the Python contract (plan.py).
enum class Kernels { naive = 0, gemv = 1, gemm = 2, native = 3 };

// E groups of M threads.
struct Cut {
  int examples = 1;
  int matrix = 1;  // for gemv and gemm, whose BLAS has threads of its own, 1
  int threads() const { return examples * matrix; }
};

struct Plan {
  Kernels kernels = Kernels::native;
  Cut cut;
  bool pinned = false;
  // native only: cuts that steps may be taken in instead, and how many of all are tried when training begins
  std::vector<Cut> others = {};
  int tries = 1;
};

// How many steps were taken in a cut, and the least seconds of an example.
struct CutRecord {
  Cut cut;
  std::int64_t steps;
  double seconds;
};

// Numbers that stay the same over a training; the formulas are in kernels/optimizer.inl.
struct OptimizerSettings {
  Optimizer kind = Optimizer::sgd;
  double momentum = 0;  // Adam: beta_1
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double alpha = 0;         // adds alpha / (2 B) ||W||^2 to each minibatch's loss
  double weight_decay = 0;  // takes rate * weight_decay * w from each weight, beside the loss
  // most of ||g||, the mean gradient without alpha's part; a longer one is shortened (Pascanu et al. 2013)
  double clip_norm = std::numeric_limits<double>::infinity();
};

template <class T>
struct Epoch {
  Examples x;
  Targets<T> y;
  const std::int64_t* order = nullptr;  // rows, in the order of training; null: as they stand
  index examples = 0;
  index batch = 0;                // the last minibatch may be shorter
  const double* rates = nullptr;  // one a step
  double* losses = nullptr;       // one a step, mean over the minibatch, before its update
  const double* weights =
      nullptr;  // one a row of X; null: all 1. A minibatch without weight is passed over, its loss 0

  index steps() const { return ceil_div(examples, batch); }
};

enum class Ending { complete, interrupted, diverged };

struct Outcome {
  Ending ending = Ending::complete;
  index steps = 0;  // applied
};

template <class T>
class Engine {
 public:
  Engine(const Network& network, Plan plan, const Isa& isa, const Blas<T>& blas, const OptimizerSettings& optimizer,
         std::function<bool()> interrupted);

  const Network& network() const { return network_; }
  int slots() const { return 1 + state_slots(optimizer_.kind); }
  // Slot 0: the flat parameters; 1 and 2: the optimizer's state of the same shape.
  void load(int slot, const T* flat);
  void store(int slot, T* flat);
  std::int64_t steps_taken() const { return steps_taken_; }
  // The cut in use, also while others are on trial.
  Cut present() const { return ways_[static_cast<std::size_t>(pace_.settled())].cut; }
  // Between runs: whether cuts are still on trial at the start.
  bool settling() const { return pace_.settling(); }
  // The plan's cut first.
  std::vector<CutRecord> records();
  void set_steps_taken(std::int64_t steps) { steps_taken_ = steps; }

  // Trains until the end, an interrupt, or a loss that is not finite; the step that met it is not applied.
  Outcome run(const Epoch<T>& epoch);
  // Output activations (rows x targets) and, where y is given, the examples' losses. False when interrupted.
  bool forward(const Examples& x, const Targets<T>& y, T* out, double* losses);
  // Mean gradient over all the rows as one minibatch, and the examples' losses.
  // `ready` is called with each layer from the last to the first, by the calling thread, as soon as it is whole in
  // the flat vector, while the others work on.
  bool gradient(const Examples& x, const Targets<T>& y, const double* weights, T* flat, double* losses,
                const std::function<void(index layer)>& ready = nullptr);
  void apply(const T* flat, double rate, index batch);
  // Memory that training with minibatches of `batch` examples takes, beside the data.
  index bytes(index batch) const;

 private:
  // One of the plan's cuts, with what its threads meet at.
  struct Way {
    Cut cut;
    Barrier* all;
    std::vector<Barrier*> groups;
  };
  Way make_way(Cut);
  const Way& way() const { return ways_[static_cast<std::size_t>(pace_.way())]; }
  Place place(const Way&, int thread);
  Place one_group(int thread);
  template <class Work>
  void run_team(const Way&, Work work);
  template <class Work>
  void copy_parameters(Work work);
  Update<T> update_for(double rate, double total) const;
  void sum_weights(const Epoch<T>& epoch);
  double mean_loss(const Batch<T>& batch) const;
  Batch<T> batch_of(const Epoch<T>& epoch, index step) const;
  void update_clipped(const Place& me, const Batch<T>& batch);
  void steps(const Epoch<T>& epoch, const Place& me, index from);
  Ending train_step(const Place& me, const Batch<T>& batch, double* loss, bool& change);
  static void wait(const Place& me) {
    if (me.threads() > 1) me.all->wait();
  }
  void reserve(index rows);

  const Network network_;
  const Plan plan_;
  const OptimizerSettings optimizer_;
  std::atomic<std::int64_t> steps_taken_{0};
  ForkMutex mutex_;
  StopSignal stop_;
  Team team_;
  std::vector<Way> ways_;
  const KernelTable<T>& kernels_;
  std::unique_ptr<Step<T>> step_;
  Pace pace_;      // of steps and gradients: which of the ways
  Pace few_rows_;  // of passes forward over so few rows that one thread (way 1) may be as fast as all
  // Of the run that goes on; written by the calling thread between the second barrier of a step and the first of
  // the next.
  Outcome outcome_;
  Update<T> update_;        // of the current step
  bool change_ = false;     // the way of working changes after it
  Buffer<double> losses_;   // of the current minibatch's examples
  Buffer<double> squares_;  // of the weights' rows, when alpha > 0
  // when the norm is clipped: the minibatch's gradient and the squares of its rows
  Buffer<T> gradient_;
  Buffer<double> gradient_squares_;
  std::vector<double> totals_;   // weight of each minibatch of the run, where examples have weights
  std::int64_t first_step_ = 0;  // number of the run's first step
};

}  // namespace schuss
