// The engine directly: which results must have the same bits, and which must be near.
#include <sstream>
#include <thread>

#include "training.hpp"

namespace schuss::test {
namespace {

constexpr OptimizerSettings every_optimizer[] = {
    {Optimizer::sgd, 0, 0, 0, 0},
    {Optimizer::sgd, 0, 0, 0, 0.01},
    {Optimizer::momentum, 0.9, 0, 0, 0},
    {Optimizer::nesterov, 0.9, 0, 0, 0.01},
    {Optimizer::adam, 0.9, 0.999, 1e-8, 0.01},
};

// For the slower kernels: few under a sanitizer, as every plan is slow there.
std::vector<OptimizerSettings> some_optimizers() {
  if (sanitizer) return {every_optimizer[1], every_optimizer[4]};
  return {std::begin(every_optimizer), std::end(every_optimizer)};
}

std::vector<std::string> fused_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : isas())
    if (isa.fused && isa.available()) names.emplace_back(isa.name);
  return names;
}

// Problems of odd widths, a last short minibatch, and sums longer than one block; each with its minibatch.
template <class T>
void each_problem(const std::function<void(const Problem<T>&, index)>& work) {
  work({{13, 37, 21, 5}, Activation::relu, Activation::softmax, Loss::log_loss, 23}, 7);
  work({{13, 37, 21, 5}, Activation::logistic, Activation::logistic, Loss::squared_error, 23, false}, 7);
  work({{7, 18, 1}, Activation::tanh, Activation::logistic, Loss::log_loss, 20}, 8);
  work({{9, 11, 3}, Activation::tanh, Activation::identity, Loss::squared_error, 5, false}, 2);  // fewer than threads
  work({{1, 1, 1}, Activation::logistic, Activation::identity, Loss::squared_error, 3, false}, 3);
  work({{6, 4}, Activation::identity, Activation::softmax, Loss::log_loss, 9}, 1);  // no hidden layer, single examples
  work({{4, 5, 3}, Activation::relu, Activation::softmax, Loss::log_loss, 540}, 530);
  work({{1030, 70, 130, 10}, Activation::relu, Activation::softmax, Loss::log_loss, 12}, 9);
}

template <class T>
void describe(const Problem<T>& problem, const Plan& plan, const std::string& isa, const OptimizerSettings& optimizer) {
  std::ostringstream words;
  words << text(plan) << ' ' << isa << (sizeof(T) == 4 ? " float32" : " float64") << " optimizer "
        << static_cast<int>(optimizer.kind) << " alpha " << optimizer.alpha << " widths";
  for (index l = 0; l <= problem.network.layers(); ++l) words << ' ' << problem.network.width(l);
  about = words.str();
}

// native: one result for every plan, on every instruction set with fused multiply-add, again and again.
template <class T>
void native_bits() {
  each_problem<T>([](const Problem<T>& problem, index batch) {
    for (const OptimizerSettings& optimizer : every_optimizer) {
      const Settings first{{Kernels::native, 1, 1}, optimizer};
      const Trained<T> expected = train(problem, first, batch);
      CHECK(expected.outcome.ending == Ending::complete);
      CHECK(!same_bits(expected.slots[0], problem.start));
      for (Plan plan : native_plans()) {
        describe(problem, plan, "auto", optimizer);
        CHECK(same_bits(train(problem, Settings{plan, optimizer}, batch), expected));
      }
      for (const std::string& isa : fused_isas()) {
        const Plan two{Kernels::native, 2, 1};
        describe(problem, two, isa, optimizer);
        CHECK(same_bits(train(problem, Settings{two, optimizer, isa}, batch), expected));
      }
      const Plan shared{Kernels::native, 1, 2}, cut{Kernels::native, 3, 1};
      describe(problem, shared, "portable", optimizer);
      CHECK(same_bits(train(problem, Settings{shared, optimizer, "portable"}, batch),
                      train(problem, Settings{cut, optimizer, "portable"}, batch)));
    }
  });
}

// The other kernels: near native, and the same bits each time; naive also for every M.
template <class T>
void other_kernels() {
  each_problem<T>([](const Problem<T>& problem, index batch) {
    for (const OptimizerSettings& optimizer : some_optimizers()) {
      const Trained<T> native = train(problem, {{Kernels::native, 1, 1}, optimizer}, batch);
      Engine<T> reference = make_engine(problem, {{Kernels::native, 1, 1}, optimizer});
      reference.load(0, problem.start.data());
      const std::vector<T> expected = gradient(reference, problem);
      const Trained<T> naive = train(problem, {{Kernels::naive, 1, 1}, optimizer}, batch);
      for (Plan plan : every_plan()) {
        describe(problem, plan, "auto", optimizer);
        Engine<T> engine = make_engine(problem, {plan, optimizer});
        engine.load(0, problem.start.data());
        CHECK(distance(gradient(engine, problem), expected) < tolerance<T>);
        const Trained<T> trained = train(problem, {plan, optimizer}, batch);
        CHECK(same_bits(train(problem, {plan, optimizer}, batch), trained));
        // Adam divides gradients near zero by their own size: their signs are not to be compared
        if (optimizer.kind != Optimizer::adam) CHECK(distance(trained.slots[0], native.slots[0]) < 10 * tolerance<T>);
        if (plan.kernels == Kernels::naive && plan.cut.examples == 1) CHECK(same_bits(trained, naive));
      }
    }
  });
}

// One step in two calls, gradient and apply, is run's step, bit for bit. (gemm fuses plain updates into its
// last product, and is near only.)
template <class T>
void gradient_then_apply() {
  each_problem<T>([](const Problem<T>& problem, index) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(problem.rows));
    std::iota(order.begin(), order.end(), 0);
    for (const OptimizerSettings& optimizer : some_optimizers())
      for (Plan plan : every_plan()) {
        describe(problem, plan, "auto", optimizer);
        Engine<T> by_run = make_engine(problem, {plan, optimizer}), by_calls = make_engine(problem, {plan, optimizer});
        by_run.load(0, problem.start.data());
        by_calls.load(0, problem.start.data());
        Trained<T> trained;
        for (int step = 0; step < 3; ++step) {
          trained = train(by_run, problem, order, problem.rows, 0.1);
          by_calls.apply(gradient(by_calls, problem).data(), 0.1, problem.rows);
        }
        const bool fused = plan.kernels == Kernels::gemm && plan.cut.examples == 1 && optimizer.kind == Optimizer::sgd;
        const auto slots = slots_of(by_calls);
        for (std::size_t s = 0; s < slots.size(); ++s)
          CHECK(fused ? distance(slots[s], trained.slots[s]) < tolerance<T> : same_bits(slots[s], trained.slots[s]));
        CHECK(by_calls.steps_taken() == 3 && by_run.steps_taken() == 3);
      }
  });
}

// Passes without learning go through blocks of rows; the last is short, and no group may meet another's rows.
template <class T>
void forward_in_blocks() {
  const Problem<T> problem({17, 40, 10}, Activation::tanh, Activation::softmax, Loss::log_loss, 1237);
  const std::size_t n = static_cast<std::size_t>(problem.rows);
  std::vector<T> expected(n * 10), out(n * 10);
  std::vector<double> expected_losses(n), losses(n);
  Engine<T> reference = make_engine(problem, {{Kernels::native, 1, 1}});
  reference.load(0, problem.start.data());
  CHECK(reference.forward(problem.examples(), problem.targets(), expected.data(), expected_losses.data()));
  for (Plan plan : every_plan()) {
    about = text(plan);
    Engine<T> engine = make_engine(problem, {plan});
    engine.load(0, problem.start.data());
    const index repeats = plan.kernels == Kernels::native ? rounds(100) : 1;
    for (index repeat = 0; repeat < repeats; ++repeat) {
      std::fill(out.begin(), out.end(), T(-1));
      CHECK(engine.forward(problem.examples(), problem.targets(), out.data(), losses.data()));
      if (plan.kernels == Kernels::native) CHECK(same_bits(out, expected) && same_bits(losses, expected_losses));
      else CHECK(distance(out, expected) < tolerance<T> && distance(losses, expected_losses) < tolerance<T>);
    }
    CHECK(engine.forward(problem.examples(), {}, out.data(), nullptr));
    CHECK(distance(out, expected) < tolerance<T>);
  }
}

// What is loaded comes back, in every slot; bytes as input are float input after scale and shift.
template <class T>
void load_and_store() {
  for (Plan plan : every_plan()) {
    about = text(plan);
    const Problem<T> problem({29, 33, 6}, Activation::relu, Activation::softmax, Loss::log_loss, 4);
    Engine<T> engine = make_engine(problem, {plan, {Optimizer::adam}});
    CHECK(engine.slots() == 3);
    Random random(3);
    std::vector<std::vector<T>> slots;
    for (int s = 0; s < 3; ++s) {
      slots.push_back(random.vector<T>(problem.network.parameters()));
      engine.load(s, slots.back().data());
    }
    CHECK(slots_of(engine) == slots);
  }
}

// A plan with other cuts tries them, at once or after some milliseconds; the bits are those of one thread.
void change_of_cut() {
  const Problem<float> problem({13, 37, 21, 5}, Activation::relu, Activation::softmax, Loss::log_loss, 23);
  for (const Plan& plan : {Plan{Kernels::native, 2, 1, false, {{1, 1}}}, Plan{Kernels::native, 1, 2, false, {{1, 1}}},
                           Plan{Kernels::native, 2, 2, false, {{4, 1}, {1, 3}, {2, 1}, {1, 1}}, 4},
                           Plan{Kernels::native, 1, 1, false, {{2, 1}, {1, 2}, {3, 1}}, 2}}) {
    about = text(plan) + " and " + std::to_string(plan.others.size());
    Engine<float> engine = make_engine(problem, {plan, {Optimizer::adam, 0.9}});
    Engine<float> reference = make_engine(problem, {{Kernels::native, 1, 1}, {Optimizer::adam, 0.9}});
    engine.load(0, problem.start.data());
    reference.load(0, problem.start.data());
    bool same = true;
    int epochs = 0;
    const auto tried = [&] {
      const auto records = engine.records();
      return std::all_of(records.begin(), records.end(), [](const CutRecord& r) { return r.steps > 0; });
    };
    for (; epochs < 20000 && same && (epochs < 100 || !tried()); ++epochs)
      same =
          same_bits(train(engine, problem, problem.order, 3, 0.01), train(reference, problem, problem.order, 3, 0.01));
    CHECK(same);
    CHECK(tried());
    CHECK(engine.steps_taken() == reference.steps_taken() && reference.records().size() == 1);
  }
}

// Parameters so many that the team shares the copying.
void load_and_store_many() {
  const Problem<float> problem({1050, 1010, 3}, Activation::relu, Activation::softmax, Loss::log_loss, 4);
  for (Plan plan :
       {Plan{Kernels::native, 1, 1}, {Kernels::native, 3, 1}, {Kernels::native, 1, 2}, {Kernels::gemm, 2, 1}}) {
    about = text(plan);
    Engine<float> engine = make_engine(problem, {plan, {Optimizer::momentum, 0.9}});
    Random random(3);
    const std::vector<std::vector<float>> slots{problem.start, random.vector<float>(problem.network.parameters())};
    for (int s = 0; s < 2; ++s) engine.load(s, slots[static_cast<std::size_t>(s)].data());
    CHECK(slots_of(engine) == slots);
    std::vector<float> out(12), expected(12);
    CHECK(engine.forward(problem.examples(), {}, out.data(), nullptr));
    Engine<float> small_copies = make_engine(problem, {{Kernels::native, 1, 1}});
    small_copies.load(0, problem.start.data());
    CHECK(small_copies.forward(problem.examples(), {}, expected.data(), nullptr));
    CHECK(distance(out, expected) < tolerance<float>);
  }
}

// The calling thread hears of each layer from the last to the first, when it is whole in the flat vector.
template <class T>
void gradient_layer_by_layer() {
  each_problem<T>([](const Problem<T>& problem, index) {
    for (Plan plan : every_plan()) {
      describe(problem, plan, "auto", {});
      Engine<T> engine = make_engine(problem, {plan});
      engine.load(0, problem.start.data());
      const std::vector<T> expected = gradient(engine, problem);
      std::vector<T> flat(expected.size(), std::numeric_limits<T>::quiet_NaN());
      std::vector<double> losses(static_cast<std::size_t>(problem.rows));
      std::vector<index> heard;
      const auto caller = std::this_thread::get_id();
      engine.gradient(problem.examples(), problem.targets(), nullptr, flat.data(), losses.data(), [&](index l) {
        heard.push_back(l);
        const auto first = static_cast<std::ptrdiff_t>(problem.network.weights(l));
        const auto last = static_cast<std::ptrdiff_t>(problem.network.bias(l) + problem.network.outputs(l));
        CHECK(std::equal(flat.begin() + first, flat.begin() + last, expected.begin() + first));
        CHECK(std::this_thread::get_id() == caller);
      });
      std::vector<index> layers;
      for (index l = problem.network.layers(); l >= 1; --l) layers.push_back(l);
      CHECK(heard == layers);
      CHECK(same_bits(flat, expected));
    }
  });
}

// More rows than a gradient holds at a time, into a vector without room beyond its end: the same bits for every plan.
template <class T>
void gradient_of_many_rows() {
  for (const auto& sizes : {std::vector<index>{5, 40, 1}, {5, 200, 10}, {5, 3}}) {
    const Problem<T> problem(sizes, Activation::relu, Activation::identity, Loss::squared_error, 8200, false);
    std::vector<T> first;
    for (Plan plan : native_plans()) {
      describe(problem, plan, "auto", {});
      Engine<T> engine = make_engine(problem, {plan});
      engine.load(0, problem.start.data());
      const std::vector<T> flat = gradient(engine, problem);
      if (first.empty()) first = flat;
      CHECK(same_bits(flat, first));
    }
  }
}

// What an engine says it will take is what its buffers hold, in the order of magnitude that a user plans with.
void bytes_by_hand() {
  const Problem<float> problem({64, 128, 16}, Activation::relu, Activation::softmax, Loss::log_loss, 4);
  Engine<float> engine = make_engine(problem, {{Kernels::native, 1, 1}, {Optimizer::adam}});
  const index parameters = problem.network.parameters(), copies = 3 * parameters + 128 * 16;
  const index row = 64 + 2 * 128 + 2 * 16;  // numbers of one example: a of each layer, delta of all but the input
  const index more = engine.bytes(1000) - engine.bytes(0);
  CHECK(engine.bytes(0) >= 4 * copies && engine.bytes(0) < 4 * copies + (3 << 20));
  CHECK(more >= 1000 * (4 * row + 8) && more <= 1000 * (4 * (row + 5 * 32) + 8));
}

template <class T>
void input_types() {
  Problem<T> problem({25, 9, 4}, Activation::relu, Activation::softmax, Loss::log_loss, 6);
  Random random(4);
  std::vector<std::uint8_t> bytes;
  for (T& x : problem.x) {
    bytes.push_back(static_cast<std::uint8_t>(random.below(256)));
    x = static_cast<T>(bytes.back()) * static_cast<T>(1 / 255.0) + static_cast<T>(0.5);
  }
  for (Plan plan : every_plan()) {
    about = text(plan);
    std::vector<T> from_bytes(24), from_reals(24);
    Engine<T> engine = make_engine(problem, {plan});
    engine.load(0, problem.start.data());
    engine.forward({bytes.data(), Element::uint8, 6, 25, 25, 1 / 255.0, 0.5}, {}, from_bytes.data(), nullptr);
    engine.forward(problem.examples(), {}, from_reals.data(), nullptr);
    CHECK(same_bits(from_bytes, from_reals));
  }
}

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases({{"native has the same bits under every plan, float32", native_bits<float>},
                    {"native has the same bits under every plan, float64", native_bits<double>},
                    {"other kernels are near native, float32", other_kernels<float>},
                    {"other kernels are near native, float64", other_kernels<double>},
                    {"gradient then apply is a step, float32", gradient_then_apply<float>},
                    {"gradient then apply is a step, float64", gradient_then_apply<double>},
                    {"forward in blocks, float32", forward_in_blocks<float>},
                    {"forward in blocks, float64", forward_in_blocks<double>},
                    {"load and store", load_and_store<float>},
                    {"change of cut", change_of_cut},
                    {"load and store, many parameters", load_and_store_many},
                    {"gradient layer by layer, float32", gradient_layer_by_layer<float>},
                    {"gradient layer by layer, float64", gradient_layer_by_layer<double>},
                    {"gradient of many rows, float32", gradient_of_many_rows<float>},
                    {"gradient of many rows, float64", gradient_of_many_rows<double>},
                    {"bytes", bytes_by_hand},
                    {"input types", input_types<float>}});
}
