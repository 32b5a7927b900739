#include "engine.hpp"

#include <chrono>
#include <cmath>

#include "batch_blas.hpp"
#include "native_step.hpp"
#include "per_example.hpp"

namespace schuss {
namespace {

// Rows of a block in passes without learning; each group has at least a few register tiles of its own.
constexpr index kBlockRows = 192;

// Parameters from which a copy of them is shared by the team: some hundred microseconds of one thread.
constexpr index kWorthWaking = 1 << 20;

using Clock = std::chrono::steady_clock;

template <class T>
std::unique_ptr<Step<T>> make_step(const Network& network, Plan plan, const Isa& isa, const Blas<T>& blas,
                                   Optimizer optimizer) {
  const index groups = plan.examples;
  switch (plan.kernels) {
    case Kernels::naive:
      return std::make_unique<PerExampleStep<T, NaiveProducts<T>>>(network, isa.table<T>(), groups, optimizer,
                                                                   NaiveProducts<T>{});
    case Kernels::gemv:
      return std::make_unique<PerExampleStep<T, GemvProducts<T>>>(network, isa.table<T>(), groups, optimizer,
                                                                  GemvProducts<T>{blas});
    case Kernels::gemm: return std::make_unique<BatchBlasStep<T>>(network, isa.table<T>(), groups, optimizer, blas);
    case Kernels::native: break;
  }
  return std::make_unique<NativeStep<T>>(network, isa.table<T>(), groups, plan.matrix, optimizer);
}

index weight_rows(const Network& network) {
  index rows = 0;
  for (index l = 1; l <= network.layers(); ++l) rows += network.inputs(l);
  return rows;
}

}  // namespace

template <class T>
Engine<T>::Engine(const Network& network, Plan plan, const Isa& isa, const Blas<T>& blas,
                  const OptimizerSettings& optimizer, std::function<bool()> interrupted)
    : network_(network),
      plan_(plan),
      optimizer_(optimizer),
      stop_(std::move(interrupted)),
      team_(plan.examples * plan.matrix, plan.pinned),
      all_(team_.make_barrier(team_.size())),
      step_(make_step<T>(network, plan, isa, blas, optimizer.kind)),
      pace_(plan.may_change && plan.kernels == Kernels::native && plan.examples * plan.matrix > 1),
      squares_(optimizer.alpha > 0 ? weight_rows(network) : 0) {
  for (int g = 0; g < plan.examples; ++g)
    meets_.push_back(plan.matrix > 1 ? &team_.make_barrier(plan.matrix) : nullptr);
}

template <class T>
Place Engine<T>::place(int thread) {
  const int group = thread / plan_.matrix;
  return {group, plan_.examples, thread % plan_.matrix, plan_.matrix, meets_[static_cast<std::size_t>(group)], &stop_};
}

// work(place) by the whole team where the parameters are many, else by the caller alone.
template <class T>
template <class Work>
void Engine<T>::copy_parameters(Work work) {
  const std::lock_guard lock(mutex_);
  if (network_.parameters() < kWorthWaking) work(Place{});
  else team_.run([&](int thread) { work(place(thread)); });
}

template <class T>
void Engine<T>::load(int slot, const T* flat) {
  copy_parameters([&](const Place& me) { step_->load(me, slot, flat); });
}

template <class T>
void Engine<T>::store(int slot, T* flat) {
  copy_parameters([&](const Place& me) { step_->store(me, slot, flat); });
}

template <class T>
index Engine<T>::bytes(index batch) const {
  return step_->bytes(batch) + (squares_.size() + batch) * static_cast<index>(sizeof(double));
}

template <class T>
void Engine<T>::reserve(index rows) {
  if (losses_.size() < rows) losses_ = Buffer<double>(rows);
  step_->reserve(rows);
}

template <class T>
Update<T> Engine<T>::update_for(double rate, index count) const {
  const double keep = 1 - rate * optimizer_.weight_decay;
  if (optimizer_.kind == Optimizer::adam) {
    const double t = static_cast<double>(steps_taken_);
    rate *= std::sqrt(1 - std::pow(optimizer_.beta2, t)) / (1 - std::pow(optimizer_.momentum, t));
  }
  return {optimizer_.kind,
          static_cast<T>(rate),
          static_cast<T>(optimizer_.momentum),
          static_cast<T>(optimizer_.beta2),
          static_cast<T>(optimizer_.epsilon),
          static_cast<T>(optimizer_.alpha / static_cast<double>(count)),
          static_cast<T>(keep)};
}

// Added in a fixed order: examples ascending, then the rows of the weights ascending.
template <class T>
double Engine<T>::mean_loss(const Batch<T>& batch) const {
  double sum = 0, penalty = 0;
  for (index b = 0; b < batch.count; ++b) sum += losses_[b];
  for (index k = 0; k < squares_.size(); ++k) penalty += squares_[k];
  return (sum + 0.5 * optimizer_.alpha * penalty) / static_cast<double>(batch.count);
}

// The two barriers of a step. What the threads decide by is settled before the first of them: the stop signal is
// raised only there, and each thread adds up the same losses.
template <class T>
Ending Engine<T>::train_step(const Place& me, const Batch<T>& batch, double* loss, bool& change) {
  step_->propagate(me, batch, losses_.data());
  if (squares_.size() > 0) step_->squares(me, squares_.data());
  wait(me);
  change = change_;
  if (stop_.raised()) return Ending::interrupted;
  const double mean = mean_loss(batch);
  if (me.thread() == 0) *loss = mean;
  if (!std::isfinite(mean)) return Ending::diverged;
  step_->update(me, batch, update_);
  wait(me);
  return Ending::complete;
}

// Steps from where the run stands, until its end or until the way of working changes.
template <class T>
void Engine<T>::steps(const Epoch<T>& epoch, const Place& me) {
  const bool caller = me.thread() == 0, alone = me.threads() < team_.size();
  auto began = Clock::now();
  bool change = false;
  for (index s = outcome_.steps; s < epoch.steps() && !change; ++s) {
    const index first = s * epoch.batch;
    const index count = std::min(epoch.batch, epoch.examples - first);
    const Batch<T> batch{epoch.x, epoch.y, epoch.order ? epoch.order + first : nullptr, first, count};
    if (caller) {
      ++steps_taken_;
      update_ = update_for(epoch.rates[s], count);
    }
    const Ending ending = train_step(me, batch, epoch.losses + s, change);
    if (ending != Ending::complete) {  // and no second barrier
      if (caller) outcome_ = {ending, s};
      break;
    }
    if (caller) {
      const auto now = Clock::now();
      outcome_.steps = s + 1;
      steps_alone_ += alone;
      // the step before a change is still one of the old way
      if (!change) pace_.add(static_cast<double>(count), std::chrono::duration<double>(now - began).count());
      change_ = pace_.alone() != alone;
      began = now;
    }
  }
}

template <class T>
Outcome Engine<T>::run(const Epoch<T>& epoch) {
  const std::lock_guard lock(mutex_);
  reserve(std::min(epoch.batch, epoch.examples));
  stop_.reset();
  const std::int64_t before = steps_taken_;
  outcome_ = {};
  while (outcome_.ending == Ending::complete && outcome_.steps < epoch.steps()) {
    change_ = false;
    if (pace_.alone()) team_.alone([&] { steps(epoch, Place{.stop = &stop_}); });
    else team_.run([&](int thread) { steps(epoch, place(thread)); });
  }
  steps_taken_ = before + outcome_.steps;
  return outcome_;
}

// Blocks of rows in turn. The groups meet only before a shorter block: it is cut elsewhere, and would give a group
// rows that another still works on.
template <class T>
bool Engine<T>::forward(const Examples& x, const Targets<T>& y, T* out, double* losses) {
  const std::lock_guard lock(mutex_);
  const index block = kBlockRows * plan_.examples;
  reserve(std::min(block, x.rows));
  stop_.reset();
  team_.run([&](int thread) {
    const Place me = place(thread);
    for (index first = 0; first < x.rows; first += block) {
      const index count = std::min(block, x.rows - first);
      if (count < block) all_.wait();
      step_->forward(me, {x, y, nullptr, first, count}, out + first * network_.targets(),
                     losses ? losses + first : nullptr);
    }
  });
  return !stop_.raised();
}

template <class T>
bool Engine<T>::gradient(const Examples& x, const Targets<T>& y, T* flat, double* losses,
                         const std::function<void(index layer)>& hand_on) {
  const std::lock_guard lock(mutex_);
  reserve(x.rows);
  stop_.reset();
  const Batch<T> batch{x, y, nullptr, 0, x.rows};
  LayersReady ready(network_.layers(), team_.size(), hand_on);
  team_.run([&](int thread) {
    const Place me = place(thread);
    step_->propagate(me, batch, losses);
    all_.wait();
    if (stop_.raised()) return;
    step_->gradient(me, batch, flat, ready);
    all_.wait();
    if (thread == 0) ready.deliver();
  });
  return !stop_.raised();
}

template <class T>
void Engine<T>::apply(const T* flat, double rate, index batch) {
  const std::lock_guard lock(mutex_);
  ++steps_taken_;
  const Update<T> u = update_for(rate, batch);
  team_.run([&](int thread) { step_->apply(place(thread), flat, u); });
}

template class Engine<float>;
template class Engine<double>;

}  // namespace schuss
