// The Python module: checks dtypes, shapes and ranges, then works without the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/engine.hpp"
#include "team/cores.hpp"
#include "team/interrupt.hpp"
#include "team/limit.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace schuss {

void bind_measures(nb::module_& m);  // bindings_measure.cpp

namespace {

using AnyMatrix = nb::ndarray<nb::ro, nb::ndim<2>, nb::device::cpu>;
using AnyVector = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Labels = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Order = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using ConstVector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using ConstMatrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void require(bool holds, const std::string& message) {
  if (!holds) throw nb::value_error(message.c_str());
}

// Every number is at least 0 and below `limit`.
template <class Number>
void require_numbers(const Number* numbers, index n, index limit, const char* rule) {
  for (index i = 0; i < n; ++i)
    if (numbers[i] < 0 || numbers[i] >= limit)
      throw nb::value_error(
          (std::string(rule) + " below " + std::to_string(limit) + ", got " + std::to_string(numbers[i])).c_str());
}

template <class Array>
void require_length(const Array& array, index n, const char* name) {
  require(static_cast<index>(array.shape(0)) == n,
          std::string(name) + " must have " + std::to_string(n) + " elements, got " + std::to_string(array.shape(0)));
}

// Asks Python whether a signal's handler raised, or, away from the main thread, whether Ctrl-C was pressed.
// The exception stays pending in this thread until raise_pending().
class InterruptCheck {
 public:
  void forget() { at_start_ = interrupts_seen(); }
  bool operator()() const {
    const nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) return true;
    if (interrupts_seen() == at_start_) return false;
    const nb::object threading = nb::module_::import_("threading");
    if (threading.attr("current_thread")().is(threading.attr("main_thread")())) return false;
    const nb::object signal = nb::module_::import_("signal");
    if (!signal.attr("getsignal")(signal.attr("SIGINT")).is(signal.attr("default_int_handler"))) return false;
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return true;
  }

 private:
  std::atomic<unsigned> at_start_{interrupts_seen()};
};

void raise_pending() {
  if (PyErr_Occurred()) throw nb::python_error();
}

// What Python passes, each as one tuple: losses.py, plan.py and optimizers.py hold the same order.
using Loss_ = std::tuple<int, double, std::vector<double>, double, double, double>;
using Plan_ = std::tuple<int, std::vector<std::pair<int, int>>, int, bool>;  // kernels, cuts, tries, pinned
using Optimizer_ = std::tuple<int, double, double, double, double, double, double>;

template <class T>
class PyEngine {
 public:
  PyEngine(const std::vector<index>& layer_sizes, const std::vector<int>& activations, const Loss_& loss,
           const std::vector<double>& dropout, std::uint64_t seed, const Plan_& plan, const std::string& isa,
           const std::vector<std::uintptr_t>& blas, const Optimizer_& optimizer)
      : engine_(network(layer_sizes, activations, loss, {dropout, seed}), plan_of(plan), select_isa(isa),
                routines(blas), optimizer_of(optimizer), [this] { return check_(); }) {
    watch_interrupts();
  }

  void load(int slot, ConstVector<T> flat) {
    check_slot(slot);
    require_length(flat, engine_.network().parameters(), "flat");
    const nb::gil_scoped_release release;
    engine_.load(slot, flat.data());
  }
  void store(int slot, Vector<T> flat) {
    check_slot(slot);
    require_length(flat, engine_.network().parameters(), "flat");
    const nb::gil_scoped_release release;
    engine_.store(slot, flat.data());
  }
  // Ctrl-C counts for this engine from now on
  void forget_interrupts() { check_.forget(); }
  int slots() const { return engine_.slots(); }
  index bytes(index batch_size) const { return engine_.bytes(batch_size); }
  bool settling() const { return engine_.settling(); }
  std::pair<int, int> present() const { return {engine_.present().examples, engine_.present().matrix}; }
  // (E, M, steps taken so, least seconds an example) of each cut
  std::vector<std::tuple<int, int, std::int64_t, double>> records() {
    std::vector<std::tuple<int, int, std::int64_t, double>> all;
    for (const CutRecord& r : engine_.records()) all.emplace_back(r.cut.examples, r.cut.matrix, r.steps, r.seconds);
    return all;
  }
  std::int64_t steps_taken() const { return engine_.steps_taken(); }
  void set_steps_taken(std::int64_t steps) { engine_.set_steps_taken(steps); }
  void set_input(double scale, double shift) {
    scale_ = scale;
    shift_ = shift;
  }

  std::pair<std::string, index> run(nb::object x, nb::object y, Order order, index batch_size, Numbers rates,
                                    Numbers losses, nb::object weights) {
    const Held from(*this, x, y, weights);
    const Epoch<T> epoch{from.x,     from.y,       order.data(),  static_cast<index>(order.shape(0)),
                         batch_size, rates.data(), losses.data(), from.weights};
    require(batch_size >= 1, "batch_size must be at least 1, got " + std::to_string(batch_size));
    require(epoch.examples >= 1, "order must name at least one example");
    require_length(rates, epoch.steps(), "rates");
    require_length(losses, epoch.steps(), "losses");
    require_numbers(order.data(), epoch.examples, epoch.x.rows, "order must hold row numbers");
    Outcome outcome;
    {
      const nb::gil_scoped_release release;
      outcome = engine_.run(epoch);
    }
    raise_pending();
    return {outcome.ending == Ending::diverged ? "diverged" : "complete", outcome.steps};
  }

  // All rows as one minibatch: its loss, and whether the step was taken.
  std::pair<double, bool> step(nb::object x, nb::object y, double rate, nb::object weights) {
    double loss = 0;
    const Held from(*this, x, y, weights);
    const index rows = from.x.rows;
    require(rows >= 1, "X must hold at least one example");
    const Epoch<T> epoch{from.x, from.y, nullptr, rows, rows, &rate, &loss, from.weights};
    Outcome outcome;
    {
      const nb::gil_scoped_release release;
      outcome = engine_.run(epoch);
    }
    raise_pending();
    return {loss, outcome.ending == Ending::complete};
  }

  // losses of the examples where y is given
  void forward(nb::object x, nb::object y, Matrix<T> out, std::optional<Numbers> losses) {
    const Held from(*this, x, y, nb::none());
    require_length(out, from.x.rows, "out");
    require(static_cast<index>(out.shape(1)) == engine_.network().targets(), "out must have one column an output");
    require(losses.has_value() == !y.is_none(), "losses must be given with y, and not without");
    if (losses) require_length(*losses, from.x.rows, "losses");
    {
      const nb::gil_scoped_release release;
      engine_.forward(from.x, from.y, out.data(), losses ? losses->data() : nullptr);
    }
    raise_pending();
  }

  // on_layer(l), or None
  void gradient(nb::object x, nb::object y, Vector<T> flat, Numbers losses, nb::object on_layer, nb::object weights) {
    const Held from(*this, x, y, weights);
    require_length(flat, engine_.network().parameters(), "flat");
    require_length(losses, from.x.rows, "losses");
    std::function<void(index)> ready;
    if (!on_layer.is_none())
      ready = [&on_layer](index layer) {
        const nb::gil_scoped_acquire gil;
        on_layer(layer);
      };
    {
      const nb::gil_scoped_release release;
      engine_.gradient(from.x, from.y, from.weights, flat.data(), losses.data(), ready);
    }
    raise_pending();
  }

  void apply(ConstVector<T> flat, double rate, index batch_size) {
    require_length(flat, engine_.network().parameters(), "flat");
    require(batch_size >= 1, "batch_size must be at least 1, got " + std::to_string(batch_size));
    const nb::gil_scoped_release release;
    engine_.apply(flat.data(), rate, batch_size);
  }

 private:
  // The examples of a call: what the core reads, and the arrays that hold it.
  struct Held {
    Examples x;
    Targets<T> y;
    const double* weights = nullptr;
    AnyMatrix dense;
    AnyVector values, columns, offsets;
    Labels labels;
    ConstMatrix<T> matrix;
    ConstVector<double> shares;

    Held(const PyEngine& engine, const nb::object& x_, const nb::object& y_, const nb::object& weights_) {
      x.features = engine.engine_.network().features();
      x.scale = engine.scale_;
      x.shift = engine.shift_;
      if (nb::isinstance<nb::tuple>(x_)) sparse_examples(nb::cast<nb::tuple>(x_));
      else dense_examples(x_);
      if (!y_.is_none()) targets(y_, engine.engine_.network().targets());
      if (weights_.is_none()) return;
      require(nb::try_cast(weights_, shares, false), "sample_weight must be a float64 vector");
      require_length(shares, x.rows, "sample_weight");
      weights = shares.data();
    }

    void dense_examples(const nb::object& x_) {
      if (!nb::try_cast(x_, dense, false)) throw nb::type_error("X must be a matrix, or the tuple of a sparse one");
      if (dense.dtype() == nb::dtype<float>()) x.type = Element::float32;
      else if (dense.dtype() == nb::dtype<double>()) x.type = Element::float64;
      else if (dense.dtype() == nb::dtype<std::uint8_t>()) x.type = Element::uint8;
      else throw nb::type_error("X must be float32, float64 or uint8");
      require(dense.shape(1) == static_cast<std::size_t>(x.features),
              "X must have " + std::to_string(x.features) + " columns, got " + std::to_string(dense.shape(1)));
      require(dense.shape(1) == 1 || dense.stride(1) == 1, "X must hold each row contiguously");
      x.data = dense.data();
      x.rows = static_cast<index>(dense.shape(0));
      x.stride = static_cast<index>(dense.stride(0));
    }

    // (values, columns, offsets) of compressed rows
    void sparse_examples(const nb::tuple& parts) {
      require(parts.size() == 3 && nb::try_cast(parts[0], values, false) && nb::try_cast(parts[1], columns, false) &&
                  nb::try_cast(parts[2], offsets, false),
              "a sparse X must be the vectors (values, columns, offsets)");
      if (values.dtype() == nb::dtype<float>()) x.type = Element::float32;
      else if (values.dtype() == nb::dtype<double>()) x.type = Element::float64;
      else throw nb::type_error("a sparse X must be float32 or float64");
      x.sparse.wide = columns.dtype() == nb::dtype<std::int64_t>();
      if (columns.dtype() != offsets.dtype() || (!x.sparse.wide && columns.dtype() != nb::dtype<std::int32_t>()))
        throw nb::type_error("columns and offsets of a sparse X must both be int32 or both int64");
      require(x.scale == 1 && x.shift == 0, "a sparse X can be neither scaled nor shifted");
      require(offsets.shape(0) >= 1, "offsets must hold one number more than rows");
      x.data = values.data();
      x.sparse.columns = columns.data();
      x.sparse.offsets = offsets.data();
      x.rows = static_cast<index>(offsets.shape(0)) - 1;
      if (x.sparse.wide) check_rows<std::int64_t>();
      else check_rows<std::int32_t>();
    }

    template <class Number>
    void check_rows() const {
      const Number* ends = static_cast<const Number*>(x.sparse.offsets);
      const index stored = static_cast<index>(std::min(values.shape(0), columns.shape(0)));
      require(ends[0] == 0 && std::is_sorted(ends, ends + x.rows + 1) && ends[x.rows] <= stored,
              "offsets must ascend from 0 to the number of values");
      const Number* places = static_cast<const Number*>(x.sparse.columns);
      require_numbers(places, ends[x.rows], x.features, "columns of a sparse X must be");
      for (index r = 0; r < x.rows; ++r)
        require(std::is_sorted(places + ends[r], places + ends[r + 1]),
                "columns of a sparse X must ascend in each row");
    }

    void targets(const nb::object& y_, index outputs) {
      if (nb::try_cast(y_, labels, false)) {
        require_length(labels, x.rows, "y");
        require_numbers(labels.data(), x.rows, outputs == 1 ? 2 : outputs, "y must hold class numbers");
        y.labels = labels.data();
        return;
      }
      if (!nb::try_cast(y_, matrix, false))
        throw nb::type_error("y must be an int32 vector or a matrix of the network's dtype");
      require_length(matrix, x.rows, "y");
      require(static_cast<index>(matrix.shape(1)) == outputs,
              "y must have " + std::to_string(outputs) + " columns, got " + std::to_string(matrix.shape(1)));
      y.dense = matrix.data();
    }
  };

  static Network network(const std::vector<index>& sizes, const std::vector<int>& activations, const Loss_& loss,
                         Dropout dropout) {
    std::vector<Activation> functions;
    for (int f : activations) functions.push_back(static_cast<Activation>(f));
    const auto& [kind, parameter, levels, smoothing, scale, cap] = loss;
    return {sizes, functions, {static_cast<Loss>(kind), parameter, levels, smoothing, scale, cap}, std::move(dropout)};
  }
  static Plan plan_of(const Plan_& plan) {
    const auto& [kernels, cuts, tries, pinned] = plan;
    require(!cuts.empty(), "a plan needs a cut");
    std::vector<Cut> all;
    for (const auto& [examples, matrix] : cuts) {
      require(examples >= 1 && matrix >= 1, "a plan needs at least one thread");
      all.push_back({examples, matrix});
    }
    const Kernels which = static_cast<Kernels>(kernels);
    require(all.size() == 1 || which == Kernels::native, "only native plans have other cuts");
    return {which, all[0], pinned, {all.begin() + 1, all.end()}, tries};
  }
  static OptimizerSettings optimizer_of(const Optimizer_& optimizer) {
    const auto& [kind, momentum, beta2, epsilon, alpha, weight_decay, clip_norm] = optimizer;
    return {static_cast<Optimizer>(kind), momentum, beta2, epsilon, alpha, weight_decay, clip_norm};
  }
  static Blas<T> routines(const std::vector<std::uintptr_t>& addresses) {
    if (addresses.empty()) return {};
    require(addresses.size() == 3, "blas must be the addresses of gemm, gemv and ger");
    return {reinterpret_cast<typename Blas<T>::Gemm>(addresses[0]),
            reinterpret_cast<typename Blas<T>::Gemv>(addresses[1]),
            reinterpret_cast<typename Blas<T>::Ger>(addresses[2])};
  }
  void check_slot(int slot) const {
    require(slot >= 0 && slot < slots(),
            "slot must be below " + std::to_string(slots()) + ", got " + std::to_string(slot));
  }

  InterruptCheck check_;
  double scale_ = 1.0;
  double shift_ = 0.0;
  Engine<T> engine_;
};

template <class T>
void bind_engine(nb::module_& m, const char* name) {
  using E = PyEngine<T>;
  nb::class_<E>(m, name)
      .def(nb::init<const std::vector<index>&, const std::vector<int>&, const Loss_&, const std::vector<double>&,
                    std::uint64_t, const Plan_&, const std::string&, const std::vector<std::uintptr_t>&,
                    const Optimizer_&>(),
           "layer_sizes"_a, "activations"_a, "loss"_a, "dropout"_a, "seed"_a, "plan"_a, "isa"_a, "blas"_a,
           "optimizer"_a)
      .def("load", &E::load, "slot"_a, "flat"_a)
      .def("store", &E::store, "slot"_a, nb::arg("flat").noconvert())
      .def("set_input", &E::set_input, "scale"_a, "shift"_a)
      .def("forget_interrupts", &E::forget_interrupts)
      .def_prop_ro("slots", &E::slots)
      .def("present", &E::present)
      .def_prop_ro("settling", &E::settling)
      .def("records", &E::records, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_rw("steps_taken", &E::steps_taken, &E::set_steps_taken)
      .def("run", &E::run, "x"_a, "y"_a, "order"_a, "batch_size"_a, "rates"_a, nb::arg("losses").noconvert(),
           "weights"_a.none() = nb::none())
      .def("step", &E::step, "x"_a, "y"_a, "rate"_a, "weights"_a.none() = nb::none())
      .def("forward", &E::forward, "x"_a, "y"_a.none(), nb::arg("out").noconvert(),
           nb::arg("losses").noconvert().none() = nb::none())
      .def("gradient", &E::gradient, "x"_a, "y"_a, nb::arg("flat").noconvert(), nb::arg("losses").noconvert(),
           "on_layer"_a.none() = nb::none(), "weights"_a.none() = nb::none())
      .def("bytes", &E::bytes, "batch_size"_a)
      .def("apply", &E::apply, "flat"_a, "rate"_a, "batch_size"_a);
}

template <class T>
void elementary(const std::string& isa, int which, ConstVector<T> x, Vector<T> out) {
  require_length(out, static_cast<index>(x.shape(0)), "out");
  select_isa(isa).table<T>().elementary(static_cast<Elementary>(which), static_cast<index>(x.shape(0)), x.data(),
                                        out.data());
}

}  // namespace
}  // namespace schuss

NB_MODULE(_core, m) {
  using namespace schuss;
  nb::set_leak_warnings(false);  // a daemon thread may hold an engine when the interpreter ends
  bind_engine<float>(m, "EngineF32");
  bind_engine<double>(m, "EngineF64");
  m.def("isas", [] {
    std::vector<std::tuple<std::string, std::string, bool, bool>> all;
    for (const Isa& isa : isas())
      all.emplace_back(std::string(isa.name), std::string(isa.needs), isa.fused, isa.available());
    return all;
  });
  m.def("select_isa", [](const std::string& name) { return std::string(select_isa(name).name); }, "name"_a);
  m.def(
      "kernel_shape",
      [](const std::string& isa, bool float64) {  // lanes, vectors of a panel, rows of a tile
        const auto shape = [](const auto& table) {
          return std::tuple(table.lanes, table.panel_vectors, table.tile_rows);
        };
        return float64 ? shape(*select_isa(isa).float64) : shape(*select_isa(isa).float32);
      },
      "isa"_a, "float64"_a = false);
  m.def("allowed_cores", &allowed_cores);
  m.def("physical_cores", &physical_cores);
  m.def("thread_limit", &thread_limit);
  bind_measures(m);
  m.def("elementary", &elementary<float>, "isa"_a, "which"_a, "x"_a, nb::arg("out").noconvert());
  m.def("elementary", &elementary<double>, "isa"_a, "which"_a, "x"_a, nb::arg("out").noconvert());
}
