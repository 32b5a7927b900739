// How a training ends early: a stop signal, a loss that is not finite, an exception; and a fork while one runs.
#include <sys/wait.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "training.hpp"

namespace schuss::test {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }

// Says stop the first time it is asked, and remembers when that was.
struct StopAtFirstAsk {
  int asked = 0;
  Clock::time_point when;
  std::function<bool()> question() {
    return [this] {
      if (asked++ == 0) when = Clock::now();
      return true;
    };
  }
};

Problem<float> small_problem() { return {{20, 30, 5}, Activation::tanh, Activation::softmax, Loss::log_loss, 64}; }

std::vector<std::int64_t> long_order(index steps, index batch) {
  std::vector<std::int64_t> order;
  for (index i = 0; i < steps * batch; ++i) order.push_back(i * 7 % 64);
  return order;
}

// Stopped between or in the middle of steps: the weights are those of the whole steps reported, no more, no less.
void stop_leaves_whole_steps() {
  constexpr index batch = 16;
  const Problem<float> problem = small_problem();
  const std::vector<std::int64_t> order = long_order(200000, batch);
  for (Plan plan : every_plan()) {
    about = text(plan);
    const OptimizerSettings adam{Optimizer::adam, 0.9, 0.999, 1e-8, 0.01};
    StopAtFirstAsk stop;
    Engine<float> engine = make_engine(problem, {plan, adam, "auto", stop.question()});
    engine.load(0, problem.start.data());
    const Trained<float> stopped = train(engine, problem, order, batch, 0.001);
    CHECK(stop.asked == 1 && seconds_since(stop.when) < 1);
    CHECK(stopped.outcome.ending == Ending::interrupted);
    const index steps = stopped.outcome.steps;
    CHECK(steps < 200000 && engine.steps_taken() == steps);

    const std::vector<std::int64_t> part(order.begin(), order.begin() + steps * batch);
    Engine<float> again = make_engine(problem, {plan, adam});
    again.load(0, problem.start.data());
    if (steps == 0) continue;
    const Trained<float> whole = train(again, problem, part, batch, 0.001);
    for (std::size_t s = 0; s < whole.slots.size(); ++s) CHECK(same_bits(whole.slots[s], stopped.slots[s]));
    CHECK(same_bits(whole.losses.data(), stopped.losses.data(), steps));
    CHECK(stopped.losses[static_cast<std::size_t>(steps)] == -1);
  }
}

// A long step is left before its end, and leaves the weights as they were. (gemm looks up between products only.)
void stop_within_a_step() {
  const Problem<float> problem({2000, 400, 3}, Activation::relu, Activation::softmax, Loss::log_loss, 64);
  const std::vector<std::int64_t> order = long_order(1, sanitizer ? 2000 : 12000);
  int stopped_plans = 0;
  for (Plan plan : every_plan()) {
    if (plan.kernels == Kernels::gemm) continue;
    about = text(plan);
    StopAtFirstAsk stop;
    Engine<float> engine = make_engine(problem, {plan, {}, "auto", stop.question()});
    engine.load(0, problem.start.data());
    const Trained<float> trained = train(engine, problem, order, static_cast<index>(order.size()), 0.1);
    if (stop.asked == 0) continue;  // a machine that is through before it asks
    ++stopped_plans;
    CHECK(stop.asked == 1 && seconds_since(stop.when) < 1);
    CHECK(trained.outcome.ending == Ending::interrupted && trained.outcome.steps == 0);
    CHECK(same_bits(trained.slots[0], problem.start));
  }
  CHECK(stopped_plans > 0);
}

// The same row again and again, so that a long pass needs little memory.
void stop_passes_without_learning() {
  const Problem<float> problem({400, 300, 1}, Activation::tanh, Activation::identity, Loss::squared_error, 64, false);
  Examples x = problem.examples();
  x.stride = 0;
  x.rows = 400000;
  const std::vector<float> y(static_cast<std::size_t>(x.rows));
  std::vector<float> out(y.size()), flat(static_cast<std::size_t>(problem.network.parameters()));
  std::vector<double> losses(y.size());
  for (Plan plan : every_plan()) {
    about = text(plan);
    StopAtFirstAsk forward, gradient;
    Engine<float> one = make_engine(problem, {plan, {}, "auto", forward.question()});
    CHECK(!one.forward(x, {}, out.data(), nullptr));
    CHECK(forward.asked == 1 && seconds_since(forward.when) < 1);
    if (plan.kernels == Kernels::native || plan.kernels == Kernels::gemm) continue;  // they hold the whole minibatch
    Engine<float> other = make_engine(problem, {plan, {}, "auto", gradient.question()});
    CHECK(!other.gradient(x, {nullptr, y.data()}, nullptr, flat.data(), losses.data()));
    CHECK(gradient.asked == 1 && seconds_since(gradient.when) < 1);
  }
}

void goes_on_after_a_stop() {
  const Problem<float> problem = small_problem();
  int asked = 0;
  Engine<float> engine = make_engine(problem, {{Kernels::native, 2, 1}, {}, "auto", [&] { return asked++ == 0; }});
  engine.load(0, problem.start.data());
  CHECK(train(engine, problem, long_order(200000, 16), 16, 0.01).outcome.ending == Ending::interrupted);
  const Trained<float> next = train(engine, problem, problem.order, 16, 0.01);
  CHECK(next.outcome.ending == Ending::complete && next.outcome.steps == 4);
}

// A rate that makes the loss infinite or NaN ends the run at that step, and says which.
void divergence() {
  const Problem<float> problem({20, 30, 5}, Activation::relu, Activation::identity, Loss::squared_error, 64, false);
  for (Plan plan : every_plan()) {
    about = text(plan);
    Engine<float> engine = make_engine(problem, {plan});
    engine.load(0, problem.start.data());
    const Trained<float> trained = train(engine, problem, long_order(1000, 16), 16, 1e5);
    CHECK(trained.outcome.ending == Ending::diverged);
    const index steps = trained.outcome.steps;
    if (!CHECK(steps > 0 && steps < 1000)) continue;
    for (index s = 0; s < steps; ++s) CHECK(std::isfinite(trained.losses[static_cast<std::size_t>(s)]));
    CHECK(!std::isfinite(trained.losses[static_cast<std::size_t>(steps)]));
    CHECK(trained.losses[static_cast<std::size_t>(steps) + 1] == -1);
    engine.load(0, problem.start.data());
    CHECK(train(engine, problem, problem.order, 16, 0.001).outcome.ending == Ending::complete);
  }
}

// What the question throws comes out of run, whoever waits in a barrier; the engine can be used afterwards.
void exceptions_come_out() {
  const Problem<float> problem = small_problem();
  for (Plan plan : every_plan()) {
    about = text(plan);
    bool throws = true;
    Engine<float> engine = make_engine(problem, {plan, {}, "auto", [&throws]() -> bool {
                                                   if (throws) throw std::runtime_error("asked at the wrong moment");
                                                   return false;
                                                 }});
    engine.load(0, problem.start.data());
    CHECK_THROWS(std::runtime_error, "wrong moment", train(engine, problem, long_order(200000, 16), 16, 0.01));
    throws = false;
    CHECK(train(engine, problem, problem.order, 16, 0.01).outcome.ending == Ending::complete);
  }
}

// Two threads call one engine: the calls take turns.
void calls_take_turns() {
  const Problem<float> problem = small_problem();
  Engine<float> engine = make_engine(problem, {{Kernels::native, 2, 1}});
  engine.load(0, problem.start.data());
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([&] {
      for (index k = 0; k < rounds(100); ++k) train(engine, problem, problem.order, 16, 0.001);
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(engine.steps_taken() == 3 * rounds(100) * 4);
}

// The child makes its own engine, and trains with the inherited one although another thread of the parent, which
// does not exist in the child, holds it.
void fork_while_training() {
  if (thread_sanitizer) return not_run("ThreadSanitizer allows no threads after a fork of threads");
  const Problem<float> problem = small_problem();
  const Settings settings{{Kernels::native, 2, 1}};
  const Trained<float> expected = train(problem, settings, 16);
  Engine<float> engine = make_engine(problem, settings);
  engine.load(0, problem.start.data());
  std::atomic<bool> done{false};
  const std::vector<std::int64_t> order = long_order(rounds(4000), 16);
  std::vector<double> rates(order.size() / 16, 0.0), losses(rates.size());
  const index examples = static_cast<index>(order.size());
  const Epoch<float> epoch{problem.examples(), problem.targets(), order.data(), examples, 16,
                           rates.data(),       losses.data()};
  engine.run(epoch);
  std::thread trainer([&] {
    while (!done) engine.run(epoch);
  });
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(30);
      const bool own = same_bits(train(problem, settings, 16), expected);
      engine.load(0, problem.start.data());
      train(engine, problem, problem.order, 16, 0.1);
      _exit(own && same_bits(train(engine, problem, problem.order, 16, 0.1), expected) ? 0 : 1);
    }
    int status = -1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  done = true;
  trainer.join();
}

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases({{"a stop leaves whole steps", stop_leaves_whole_steps},
                    {"a stop within a step", stop_within_a_step},
                    {"a stop of passes without learning", stop_passes_without_learning},
                    {"training goes on after a stop", goes_on_after_a_stop},
                    {"divergence", divergence},
                    {"exceptions come out", exceptions_come_out},
                    {"calls take turns", calls_take_turns},
                    {"fork while training", fork_while_training}});
}
