// A small made-up problem, and a training of it by an engine under some plan.
#pragma once

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "check.hpp"
#include "engine/engine.hpp"
#include "plain_blas.hpp"

namespace schuss::test {

inline std::string text(const Plan& plan) {
  constexpr const char* names[] = {"naive", "gemv", "gemm", "native"};
  return std::string(names[static_cast<int>(plan.kernels)]) + ":" + std::to_string(plan.cut.examples) + "x" +
         std::to_string(plan.cut.matrix);
}

// Examples with targets of both kinds, a start and an order of training with some rows twice.
template <class T>
struct Problem {
  Network network;
  index rows;
  std::vector<T> x, dense, start;
  std::vector<std::int32_t> labels;
  std::vector<std::int64_t> order;
  bool with_labels;

  Problem(std::vector<index> sizes, Activation hidden, Activation output, Loss loss, index rows_, bool labels_ = true)
      : network(sizes, activations(sizes.size() - 1, hidden, output), LossSettings{loss}),
        rows(rows_),
        with_labels(labels_) {
    Random random(static_cast<std::uint64_t>(rows + network.parameters()));
    x = random.vector<T>(rows * network.features());
    dense = random.vector<T>(rows * network.targets());
    start = random.vector<T>(network.parameters(), 0.4);
    for (index i = 0; i < rows; ++i) {
      labels.push_back(static_cast<std::int32_t>(random.below(std::max<index>(network.targets(), 2))));
      order.push_back(random.below(rows));
    }
  }
  static std::vector<Activation> activations(std::size_t layers, Activation hidden, Activation output) {
    std::vector<Activation> all(layers, hidden);
    all.back() = output;
    return all;
  }

  Examples examples() const {
    constexpr Element type = sizeof(T) == 4 ? Element::float32 : Element::float64;
    return {x.data(), type, rows, network.features(), network.features(), 1.0, 0.0};
  }
  Targets<T> targets() const {
    if (with_labels) return {labels.data(), nullptr};
    return {nullptr, dense.data()};
  }
};

template <class T>
struct Trained {
  Outcome outcome;
  std::vector<std::vector<T>> slots;  // parameters, then the optimizer's state
  std::vector<double> losses;
};

template <class T>
bool same_bits(const Trained<T>& a, const Trained<T>& b) {
  bool same = same_bits(a.losses, b.losses) && a.outcome.steps == b.outcome.steps && a.slots.size() == b.slots.size();
  for (std::size_t s = 0; same && s < a.slots.size(); ++s) same = same_bits(a.slots[s], b.slots[s]);
  return same;
}

template <class T>
std::vector<std::vector<T>> slots_of(Engine<T>& engine) {
  std::vector<std::vector<T>> slots;
  for (int s = 0; s < engine.slots(); ++s) {
    slots.emplace_back(static_cast<std::size_t>(engine.network().parameters()));
    engine.store(s, slots.back().data());
  }
  return slots;
}

struct Settings {
  Plan plan;
  OptimizerSettings optimizer = {};
  std::string isa = "auto";
  std::function<bool()> interrupted = nullptr;
};

template <class T>
Engine<T> make_engine(const Problem<T>& problem, const Settings& s) {
  return Engine<T>(problem.network, s.plan, select_isa(s.isa), plain_blas<T>(), s.optimizer, s.interrupted);
}

// One epoch over `order` at a fixed rate, from where the engine stands.
template <class T>
Trained<T> train(Engine<T>& engine, const Problem<T>& problem, const std::vector<std::int64_t>& order, index batch,
                 double rate) {
  const index examples = static_cast<index>(order.size());
  Epoch<T> epoch{problem.examples(), problem.targets(), order.data(), examples, batch, nullptr, nullptr};
  Trained<T> trained;
  const std::vector<double> rates(static_cast<std::size_t>(epoch.steps()), rate);
  trained.losses.assign(rates.size(), -1);
  epoch.rates = rates.data();
  epoch.losses = trained.losses.data();
  trained.outcome = engine.run(epoch);
  trained.slots = slots_of(engine);
  return trained;
}

// Two epochs from the problem's start; the losses of the second.
template <class T>
Trained<T> train(const Problem<T>& problem, const Settings& s, index batch, double rate = 0.1) {
  Engine<T> engine = make_engine(problem, s);
  engine.load(0, problem.start.data());
  train(engine, problem, problem.order, batch, rate);
  return train(engine, problem, problem.order, batch, rate);
}

template <class T>
std::vector<T> gradient(Engine<T>& engine, const Problem<T>& problem) {
  std::vector<T> flat(static_cast<std::size_t>(problem.network.parameters()));
  std::vector<double> losses(static_cast<std::size_t>(problem.rows));
  CHECK(engine.gradient(problem.examples(), problem.targets(), nullptr, flat.data(), losses.data()));
  return flat;
}

// ||a - b|| / ||b||
template <class T>
double distance(const std::vector<T>& a, const std::vector<T>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i]));
    norm += double(b[i]) * double(b[i]);
  }
  return std::sqrt(difference / norm);
}

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;

inline std::vector<Plan> native_plans() {
  std::vector<Plan> plans;
  for (const auto& [e, m] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 1}, {1, 3}, {2, 3}})
    plans.push_back({Kernels::native, e, m});
  return plans;
}

// Every kernels x partition that an engine takes.
inline std::vector<Plan> every_plan() {
  std::vector<Plan> plans = native_plans();
  for (const auto& [e, m] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 1}, {1, 3}})
    plans.push_back({Kernels::naive, e, m});
  for (Kernels kernels : {Kernels::gemv, Kernels::gemm})
    for (int e : {1, 2, 3}) plans.push_back({kernels, e, 1});
  return plans;
}

}  // namespace schuss::test
