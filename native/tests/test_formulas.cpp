// Activations, their derivatives and the losses, a row at a time: near the formulas in wider arithmetic, the same
// bits on every instruction set with fused multiply-add, padding kept out of sums and out of delta.
#include "check.hpp"
#include <algorithm>
#include <limits>

#include "kernels/table.hpp"

namespace schuss::test {
namespace {

constexpr Activation every_activation[] = {Activation::identity, Activation::logistic, Activation::tanh,
                                           Activation::relu, Activation::softmax};

double value(Activation f, double z) {
  switch (f) {
    case Activation::logistic: return 1 / (1 + std::exp(-z));
    case Activation::tanh: return std::tanh(z);
    case Activation::relu: return z > 0 ? z : 0;
    default: return z;
  }
}

double slope(Activation f, double a) {
  switch (f) {
    case Activation::logistic: return a * (1 - a);
    case Activation::tanh: return 1 - a * a;
    case Activation::relu: return a > 0 ? 1 : 0;
    default: return 1;
  }
}

// Rows of z and targets as an output layer has them, and what the kernels make of them.
template <class T>
struct Rows {
  index rows, columns, stride;
  std::vector<T> z, y;
  std::vector<double> losses;

  Rows(index rows_, index columns_, Loss loss)
      : rows(rows_),
        columns(columns_),
        stride(round_up(columns_, 16) + 3),
        losses(static_cast<std::size_t>(rows_), -1) {
    Random random(static_cast<std::uint64_t>(columns * 7 + rows));
    z = random.vector<T>(rows * stride, 3);
    y = random.vector<T>(rows * stride);
    if (loss == Loss::squared_error) return;
    for (index r = 0; r < rows; ++r) {  // shares of the outputs that sum to 1
      T* row = y.data() + r * stride;
      std::fill_n(row, columns, T(0));
      row[random.below(columns)] += T(0.75);
      row[random.below(columns)] += T(0.25);
    }
  }
  Block<T> block(std::vector<T>& of) { return {rows, columns, of.data(), stride}; }
  Block<const T> constant(const std::vector<T>& of) const { return {rows, columns, of.data(), stride}; }
};

template <class T>
bool near(T got, double wanted, double scale) {
  constexpr double ulps = 64;  // of sums of at most 100 terms through 16 lanes, and of functions within 2
  return std::abs(static_cast<double>(got) - wanted) <= ulps * std::numeric_limits<T>::epsilon() * scale;
}

// Row r of z and y through the formulas in float64: activations and deltas in place, returns the loss.
double plain_output(Loss loss, Activation f, std::vector<double>& z, std::vector<double>& y) {
  double total = 0, sum = 0;
  const double top = *std::max_element(z.begin(), z.end());
  for (double v : z) sum += std::exp(v - top);
  for (std::size_t j = 0; j < z.size(); ++j) {
    const double t = y[j];
    const double a = f == Activation::softmax ? std::exp(z[j] - top) / sum : value(f, z[j]);
    if (loss == Loss::squared_error) total += 0.5 * (a - t) * (a - t);
    else if (f == Activation::softmax) total -= t * (z[j] - top - std::log(sum));
    else total -= t * std::log(a) + (1 - t) * std::log(1 - a);
    y[j] = loss == Loss::squared_error ? (a - t) * slope(f, a) : a - t;
    z[j] = a;
  }
  return total;
}

template <class T>
void check_against_formulas(const Rows<T>& before, const Rows<T>& after, Loss loss, Activation f, T weight) {
  for (index r = 0; r < before.rows; ++r) {
    const T* z_row = before.z.data() + r * before.stride;
    const T* y_row = before.y.data() + r * before.stride;
    std::vector<double> z(z_row, z_row + before.columns), y(y_row, y_row + before.columns);
    const double total = plain_output(loss, f, z, y);
    CHECK(near(T(after.losses[static_cast<std::size_t>(r)]), total, 1 + total));
    for (index j = 0; j < before.columns; ++j) {
      const std::size_t at = static_cast<std::size_t>(r * before.stride + j), column = static_cast<std::size_t>(j);
      CHECK(near(after.z[at], z[column], 3));
      CHECK(near(after.y[at], y[column] * weight, 3 * weight));
    }
  }
}

// Delta's padding becomes zero up to whole vectors; nothing changes beyond them.
template <class T>
void check_padding(const Rows<T>& before, const Rows<T>& after, index lanes) {
  const index padded = round_up(before.columns, lanes);
  for (index r = 0; r < before.rows; ++r)
    for (index j = before.columns; j < before.stride; ++j) {
      const std::size_t at = static_cast<std::size_t>(r * before.stride + j);
      CHECK(j < padded ? after.y[at] == 0 : after.y[at] == before.y[at] && after.z[at] == before.z[at]);
    }
}

// A row's results do not hang on the rows that are computed with it.
template <class T>
void check_rows_apart(const Isa& isa, const Rows<T>& before, const Rows<T>& after, Loss loss, Activation f, T weight) {
  Rows<T> apart = before;
  for (index r = 0; r < before.rows; ++r) {
    const index at = r * before.stride;
    isa.table<T>().output(loss, f, {1, before.columns, apart.z.data() + at, before.stride},
                          {1, before.columns, apart.y.data() + at, before.stride}, weight, apart.losses.data() + r);
    CHECK(same_bits(apart.z.data() + at, after.z.data() + at, before.columns));
    CHECK(same_bits(apart.y.data() + at, after.y.data() + at, before.columns));
  }
  CHECK(same_bits(apart.losses, after.losses));
}

template <class T>
Rows<T> output(const Isa& isa, index rows, index columns, Loss loss, Activation f) {
  about = std::string(isa.name) + " " + std::to_string(rows) + " x " + std::to_string(columns) + " loss " +
          std::to_string(static_cast<int>(loss)) + " activation " + std::to_string(static_cast<int>(f));
  const T weight = T(1) / 7;
  const Rows<T> before(rows, columns, loss);
  Rows<T> after = before;
  isa.table<T>().output(loss, f, after.block(after.z), after.block(after.y), weight, after.losses.data());
  check_against_formulas(before, after, loss, f, weight);
  check_padding(before, after, isa.table<T>().lanes);
  check_rows_apart(isa, before, after, loss, f, weight);
  return after;
}

template <class T>
Rows<T> hidden(const Isa& isa, index rows, index columns, Activation f) {
  about = std::string(isa.name) + " " + std::to_string(rows) + " x " + std::to_string(columns) + " activation " +
          std::to_string(static_cast<int>(f));
  const Rows<T> before(rows, columns, Loss::squared_error);
  Rows<T> after = before;
  isa.table<T>().activate(f, after.block(after.z));
  isa.table<T>().derivative(f, after.block(after.y), after.constant(after.z));
  for (index r = 0; r < rows; ++r)
    for (index j = 0; j < columns && f != Activation::softmax; ++j) {
      const std::size_t at = static_cast<std::size_t>(r * before.stride + j);
      CHECK(near(after.z[at], value(f, before.z[at]), 3));
      CHECK(near(after.y[at], before.y[at] * slope(f, value(f, before.z[at])), 3));
    }
  return after;
}

// The same columns, whatever the width of the padding.
template <class T>
void check_same(const Rows<T>& a, const Rows<T>& b) {
  CHECK(same_bits(a.losses, b.losses));
  for (index r = 0; r < a.rows; ++r) {
    CHECK(same_bits(a.z.data() + r * a.stride, b.z.data() + r * a.stride, a.columns));
    CHECK(same_bits(a.y.data() + r * a.stride, b.y.data() + r * a.stride, a.columns));
  }
}

template <class Results>
void on_every_isa(Results results) {
  const Isa* first = nullptr;
  for (const Isa& isa : isas()) {
    if (!isa.available()) continue;
    const auto own = results(isa);
    if (!isa.fused) continue;
    if (first) check_same(results(*first), own);
    else first = &isa;
  }
}

template <class T>
void outputs() {
  for (index columns : {1, 2, 3, 7, 8, 10, 16, 17, 31, 33, 100})
    for (index rows : {1, 5, 16, 37})
      for (Activation f : every_activation) {
        if (f != Activation::softmax)
          on_every_isa([&](const Isa& isa) { return output<T>(isa, rows, columns, Loss::squared_error, f); });
        if (f == Activation::softmax || f == Activation::logistic)
          on_every_isa([&](const Isa& isa) { return output<T>(isa, rows, columns, Loss::log_loss, f); });
      }
}

template <class T>
void hidden_layers() {
  for (index columns : {1, 2, 3, 7, 8, 10, 16, 17, 31, 33, 100})
    for (Activation f : every_activation) on_every_isa([&](const Isa& isa) { return hidden<T>(isa, 3, columns, f); });
}

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases({{"output layers, float32", outputs<float>},
                    {"output layers, float64", outputs<double>},
                    {"hidden layers, float32", hidden_layers<float>},
                    {"hidden layers, float64", hidden_layers<double>}});
}
