#include "engine.hpp"

#include <chrono>
#include <cmath>
#include <numeric>

#include "batch_blas.hpp"
#include "native_step.hpp"
#include "per_example.hpp"

namespace schuss {
namespace {

// Rows of a block in passes without learning; each group has at least a few register tiles of its own.
constexpr index kBlockRows = 192;

// Rows whose activations a gradient holds at a time: the memory that it takes does not grow with the examples.
constexpr index kGradientRows = 8192;

// Multiply-adds of a pass forward that one thread does before another would have begun, those up to which it depends on
// whether the others are awake, and rows of a group below which the threads rather share each product.
constexpr double kAlone = 5e5;
constexpr double kPerhapsAlone = 2e6;
constexpr index kFewRows = 8;

// Parameters from which a copy of them is shared by the team: some hundred microseconds of one thread.
constexpr index kWorthWaking = 1 << 20;

using Clock = std::chrono::steady_clock;

template <class T>
std::unique_ptr<Step<T>> make_step(const Network& network, const Plan& plan, index threads, const Isa& isa,
                                   const Blas<T>& blas, const OptimizerSettings& settings) {
  const Optimizer optimizer = settings.kind;
  const index groups = plan.cut.examples;
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
  return std::make_unique<NativeStep<T>>(network, isa.table<T>(), threads, optimizer, settings.alpha > 0);
}

// Of a vector whose squares overflow: in parts of its largest element.
template <class T>
double large_norm(const Buffer<T>& vector) {
  double most = 0, sum = 0;
  for (index i = 0; i < vector.size(); ++i) most = std::max(most, std::abs(static_cast<double>(vector[i])));
  for (index i = 0; i < vector.size(); ++i) sum += std::pow(static_cast<double>(vector[i]) / most, 2);
  return most * std::sqrt(sum);
}

int most_threads(const Plan& plan) {
  int most = plan.cut.threads();
  for (const Cut& cut : plan.others) most = std::max(most, cut.threads());
  return most;
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
      team_(most_threads(plan), plan.pinned),
      kernels_(isa.table<T>()),
      step_(make_step<T>(network, plan, team_.size(), isa, blas, optimizer)),
      pace_(1 + static_cast<int>(plan.others.size()), plan.tries),
      few_rows_(plan.others.empty() ? 1 : 2),
      squares_(optimizer.alpha > 0 ? step_->squares_count() : 0),
      gradient_(std::isfinite(optimizer.clip_norm) ? network.parameters() : 0),
      gradient_squares_(std::isfinite(optimizer.clip_norm) ? weight_rows(network) + network.layers() : 0) {
  ways_.push_back(make_way(plan.cut));
  for (const Cut& cut : plan.others) ways_.push_back(make_way(cut));
}

template <class T>
typename Engine<T>::Way Engine<T>::make_way(Cut cut) {
  Way way{cut, cut.threads() > 1 ? &team_.make_barrier(cut.threads()) : nullptr, {}};
  for (int g = 0; g < cut.examples; ++g)
    way.groups.push_back(cut.matrix > 1 ? &team_.make_barrier(cut.matrix) : nullptr);
  return way;
}

template <class T>
std::vector<CutRecord> Engine<T>::records() {
  const std::lock_guard lock(mutex_);
  std::vector<CutRecord> all;
  for (std::size_t w = 0; w < ways_.size(); ++w)
    all.push_back({ways_[w].cut, pace_.records()[w].steps, pace_.records()[w].best});
  return all;
}

template <class T>
Place Engine<T>::place(const Way& way, int thread) {
  const int members = way.cut.matrix, group = thread / members;
  return {group, way.cut.examples, thread % members, members, way.groups[static_cast<std::size_t>(group)], way.all,
          &stop_};
}

// All threads share each product.
template <class T>
Place Engine<T>::one_group(int thread) {
  const Way& way = ways_[0];
  return {0, 1, thread, way.cut.threads(), way.all, way.all, &stop_};
}

// work(place) by the threads of the way.
template <class T>
template <class Work>
void Engine<T>::run_team(const Way& way, Work work) {
  if (way.cut.threads() == 1) team_.alone([&] { work(place(way, 0)); });
  else team_.run(way.cut.threads(), [&](int thread) { work(place(way, thread)); });
}

// work(place) by the whole team where the parameters are many, else by the caller alone.
template <class T>
template <class Work>
void Engine<T>::copy_parameters(Work work) {
  const std::lock_guard lock(mutex_);
  if (network_.parameters() < kWorthWaking) work(Place{});
  else run_team(ways_[0], work);
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
  return step_->bytes(batch) + gradient_.bytes() +
         (squares_.size() + gradient_squares_.size() + batch) * static_cast<index>(sizeof(double));
}

template <class T>
void Engine<T>::reserve(index rows) {
  if (losses_.size() < rows) losses_ = Buffer<double>(rows);
  step_->reserve(rows);
}

template <class T>
Update<T> Engine<T>::update_for(double rate, double total) const {
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
          T(1),
          static_cast<T>(optimizer_.alpha / total),
          static_cast<T>(keep)};
}

// Added in a fixed order: examples ascending, then the rows of the weights ascending.
template <class T>
double Engine<T>::mean_loss(const Batch<T>& batch) const {
  double sum = 0, penalty = 0;
  for (index b = 0; b < batch.count; ++b)
    if (const double weight = batch.weight(b); weight > 0) sum += weight * losses_[b];  // not 0 times infinity
  for (index k = 0; k < squares_.size(); ++k) penalty += squares_[k];
  return (network_.loss().scale * sum + 0.5 * optimizer_.alpha * penalty) / batch.total;
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
  if (gradient_.size() > 0) update_clipped(me, batch);
  else step_->update(me, batch, update_);
  wait(me);
  return Ending::complete;
}

// The whole gradient first, then its norm, the squares added in a fixed order, then the update.
template <class T>
void Engine<T>::update_clipped(const Place& me, const Batch<T>& batch) {
  step_->gradient(me, batch, gradient_.data(), nullptr, false);
  wait(me);
  double* out = gradient_squares_.data();
  for (index l = 1; l <= network_.layers(); ++l) {  // the bias as one row more
    const Packing rows = Packing::row_major(network_.inputs(l) + 1, network_.outputs(l));
    const Range mine = split(rows.depth, me.threads(), me.thread());
    kernels_.row_squares(rows, gradient_.data() + network_.weights(l), mine.begin, mine.end, out);
    out += rows.depth;
  }
  wait(me);
  double sum = 0;
  for (index k = 0; k < gradient_squares_.size(); ++k) sum += gradient_squares_[k];
  const double norm = std::isfinite(sum) ? std::sqrt(sum) : large_norm(gradient_);
  Update<T> u = update_;
  if (norm > optimizer_.clip_norm) u.scale = static_cast<T>(optimizer_.clip_norm / norm);
  step_->apply(me, gradient_.data(), u);
}

template <class T>
Batch<T> Engine<T>::batch_of(const Epoch<T>& epoch, index step) const {
  const index first = step * epoch.batch;
  Batch<T> batch{epoch.x, epoch.y, epoch.order ? epoch.order + first : nullptr, first,
                 std::min(epoch.batch, epoch.examples - first)};
  batch.weights = epoch.weights;
  batch.total = epoch.weights ? totals_[static_cast<std::size_t>(step)] : static_cast<double>(batch.count);
  batch.unit = batch.total / static_cast<double>(batch.count);
  batch.step = first_step_ + step;
  return batch;
}

// Steps from `from` on, until the epoch's end or until the way of working changes.
template <class T>
void Engine<T>::steps(const Epoch<T>& epoch, const Place& me, index from) {
  const bool caller = me.thread() == 0;
  const int way = pace_.way();
  auto began = Clock::now();
  bool change = false;
  for (index s = from; s < epoch.steps() && !change; ++s) {
    const Batch<T> batch = batch_of(epoch, s);
    if (batch.total == 0) {
      if (caller) epoch.losses[s] = 0, outcome_.steps = s + 1;
      continue;
    }
    if (caller) {
      ++steps_taken_;
      update_ = update_for(epoch.rates[s], batch.total);
    }
    const Ending ending = train_step(me, batch, epoch.losses + s, change);
    if (ending != Ending::complete) {  // and no second barrier
      if (caller) {
        --steps_taken_;
        outcome_ = {ending, s};
      }
      break;
    }
    if (caller) {
      const auto now = Clock::now();
      outcome_.steps = s + 1;
      // the step before a change is still one of the old way
      if (!change) pace_.add(static_cast<double>(batch.count), std::chrono::duration<double>(now - began).count());
      change_ = pace_.way() != way;
      began = now;
    }
  }
}

// The weight of every minibatch, examples ascending.
template <class T>
void Engine<T>::sum_weights(const Epoch<T>& epoch) {
  if (!epoch.weights) return;
  totals_.assign(static_cast<std::size_t>(epoch.steps()), 0.0);
  for (index i = 0; i < epoch.examples; ++i)
    totals_[static_cast<std::size_t>(i / epoch.batch)] += epoch.weights[epoch.order ? epoch.order[i] : i];
}

template <class T>
Outcome Engine<T>::run(const Epoch<T>& epoch) {
  const std::lock_guard lock(mutex_);
  reserve(std::min(epoch.batch, epoch.examples));
  stop_.reset();
  first_step_ = steps_taken_;
  sum_weights(epoch);
  outcome_ = {};
  while (outcome_.ending == Ending::complete && outcome_.steps < epoch.steps()) {
    change_ = false;
    const index from = outcome_.steps;
    run_team(way(), [&](const Place& me) { steps(epoch, me, from); });
  }
  return outcome_;
}

// Blocks of rows in turn. The groups meet only before a shorter block: it is cut elsewhere, and would give a group
// rows that another still works on.
template <class T>
bool Engine<T>::forward(const Examples& x, const Targets<T>& y, T* out, double* losses) {
  const std::lock_guard lock(mutex_);
  const Way& all = ways_[0];
  const index block = kBlockRows * all.cut.examples;
  reserve(std::min(block, x.rows));
  stop_.reset();
  const auto pass = [&](const Place& me) {
    for (index first = 0; first < x.rows; first += block) {
      const index count = std::min(block, x.rows - first);
      if (count < block) wait(me);
      Batch<T> batch{x, y, nullptr, first, count};
      batch.total = static_cast<double>(count);
      step_->forward(me, batch, out + first * network_.targets(), losses ? losses + first : nullptr);
    }
  };
  const bool native = plan_.kernels == Kernels::native;
  const double work = static_cast<double>(x.rows) * static_cast<double>(network_.parameters());
  const bool few = native && x.rows < kFewRows * all.cut.examples, perhaps = few && work < kPerhapsAlone;
  const auto began = Clock::now();
  if (native && (work < kAlone || (perhaps && (plan_.others.empty() || few_rows_.way() == 1))))
    team_.alone([&] { pass(Place{.stop = &stop_}); });
  else if (few) team_.run(all.cut.threads(), [&](int thread) { pass(one_group(thread)); });
  else run_team(all, pass);
  if (perhaps && work >= kAlone) few_rows_.add(work, std::chrono::duration<double>(Clock::now() - began).count());
  return !stop_.raised();
}

template <class T>
bool Engine<T>::gradient(const Examples& x, const Targets<T>& y, const double* weights, T* flat, double* losses,
                         const std::function<void(index layer)>& hand_on) {
  const std::lock_guard lock(mutex_);
  reserve(std::min(x.rows, kGradientRows));
  stop_.reset();
  const double total = weights ? std::accumulate(weights, weights + x.rows, 0.0) : static_cast<double>(x.rows);
  LayersReady ready(network_.layers(), way().cut.threads(), hand_on);
  const auto part = [&](const Place& me) {
    for (index first = 0; first < x.rows; first += kGradientRows) {
      const index count = std::min(kGradientRows, x.rows - first);
      const Batch<T> batch{x,           y, nullptr, first, count, weights, total, total / static_cast<double>(x.rows),
                           steps_taken_};
      step_->propagate(me, batch, losses + first);
      wait(me);
      if (stop_.raised()) return;
      step_->gradient(me, batch, flat, first + count == x.rows ? &ready : nullptr, first > 0);
      wait(me);
    }
    if (me.thread() == 0) ready.deliver();
  };
  const auto began = Clock::now();
  run_team(way(), part);
  if (!stop_.raised())
    pace_.add(static_cast<double>(x.rows), std::chrono::duration<double>(Clock::now() - began).count());
  return !stop_.raised();
}

template <class T>
void Engine<T>::apply(const T* flat, double rate, index batch) {
  const std::lock_guard lock(mutex_);
  ++steps_taken_;
  const Update<T> u = update_for(rate, static_cast<double>(batch));
  run_team(ways_[0], [&](const Place& me) { step_->apply(me, flat, u); });
}

template class Engine<float>;
template class Engine<double>;

}  // namespace schuss
