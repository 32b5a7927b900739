// Activations, their derivatives and the losses, a row at a time: near the formulas in wider arithmetic, the same
// bits on every instruction set with fused multiply-add, padding kept out of sums and out of delta.
#include "check.hpp"
#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/table.hpp"

namespace schuss::test {
namespace {

constexpr Activation every_activation[] = {
    Activation::identity, Activation::logistic,   Activation::tanh,    Activation::relu, Activation::softmax,
    Activation::exp,      Activation::leaky_relu, Activation::elu,     Activation::selu, Activation::gelu,
    Activation::silu,     Activation::softplus,   Activation::hardtanh};

// With the output activation that each takes, beside those of the squared error.
constexpr std::pair<Loss, Activation> every_loss[] = {
    {Loss::log_loss, Activation::softmax},  {Loss::log_loss, Activation::logistic},
    {Loss::focal, Activation::softmax},     {Loss::focal, Activation::logistic},
    {Loss::poisson, Activation::exp},       {Loss::gamma, Activation::exp},
    {Loss::huber, Activation::identity},    {Loss::absolute_error, Activation::identity},
    {Loss::quantile, Activation::identity}, {Loss::hinge, Activation::identity}};

constexpr double kGamma = 1.5, kDelta = 0.6, kLevel = 0.3;

double gelu_inner(double z) { return std::sqrt(2 / std::acos(-1)) * (z + 0.044715 * z * z * z); }

double value(Activation f, double z) {
  switch (f) {
    case Activation::logistic: return 1 / (1 + std::exp(-z));
    case Activation::tanh: return std::tanh(z);
    case Activation::relu: return z > 0 ? z : 0;
    case Activation::exp: return std::exp(z);
    case Activation::leaky_relu: return z > 0 ? z : z / 100;
    case Activation::elu: return z > 0 ? z : std::expm1(z);
    case Activation::selu: return 1.0507009873554805 * (z > 0 ? z : 1.6732632423543772 * std::expm1(z));
    case Activation::gelu: return z / 2 * (1 + std::tanh(gelu_inner(z)));
    case Activation::silu: return z / (1 + std::exp(-z));
    case Activation::softplus: return std::log1p(std::exp(z));
    case Activation::hardtanh: return std::clamp(z, -1.0, 1.0);
    default: return z;
  }
}

// f'(z); the middle of a difference where the formula is long
double slope(Activation f, double z) {
  const double a = value(f, z), s = 1 / (1 + std::exp(-z));
  switch (f) {
    case Activation::logistic: return a * (1 - a);
    case Activation::tanh: return 1 - a * a;
    case Activation::relu: return z > 0 ? 1 : 0;
    case Activation::exp: return a;
    case Activation::leaky_relu: return z > 0 ? 1 : 0.01;
    case Activation::elu: return z > 0 ? 1 : std::exp(z);
    case Activation::selu: return 1.0507009873554805 * (z > 0 ? 1 : 1.6732632423543772 * std::exp(z));
    case Activation::gelu: {
      const double t = std::tanh(gelu_inner(z)), du = std::sqrt(2 / std::acos(-1)) * (1 + 3 * 0.044715 * z * z);
      return (1 + t) / 2 + z / 2 * (1 - t * t) * du;
    }
    case Activation::silu: return s * (1 + z * (1 - s));
    case Activation::softplus: return s;
    case Activation::hardtanh: return std::abs(z) < 1 ? 1 : 0;
    default: return 1;
  }
}

// Loss of one output, and its slope by a.
std::pair<double, double> term(Loss loss, bool shared, double a, double y) {
  const double e = a - y, t = 2 * y - 1;
  const auto entropy = [&](double p) -> std::pair<double, double> {
    const double gamma = loss == Loss::focal ? kGamma : 0, rest = std::pow(1 - p, gamma);
    const double turn = gamma > 0 && p < 1 ? gamma * std::pow(1 - p, gamma - 1) * std::log(p) : 0;
    return {-rest * std::log(p), turn - rest / p};
  };
  switch (loss) {
    case Loss::log_loss:
    case Loss::focal: {
      const auto [one, slope_one] = entropy(a);
      if (shared) return {y * one, y * slope_one};
      const auto [other, slope_other] = entropy(1 - a);
      return {y * one + (1 - y) * other, y * slope_one - (1 - y) * slope_other};
    }
    case Loss::poisson: return {(y > 0 ? y * std::log(y / a) : 0) - y + a, 1 - y / a};
    case Loss::gamma: return {y / a - std::log(y / a) - 1, 1 / a - y / (a * a)};
    case Loss::absolute_error: return {std::abs(e), e > 0 ? 1 : -1};
    case Loss::huber:
      return {std::abs(e) > kDelta ? kDelta * (std::abs(e) - kDelta / 2) : e * e / 2, std::clamp(e, -kDelta, kDelta)};
    case Loss::quantile: return {std::max(-kLevel * e, (1 - kLevel) * e), e < 0 ? -kLevel : 1 - kLevel};
    case Loss::hinge: return {std::max(0.0, 1 - t * a), t * a < 1 ? -t : 0};
    case Loss::squared_error: break;
  }
  return {e * e / 2, e};
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
    if (loss == Loss::gamma)
      for (T& v : y) v = std::abs(v) + T(0.1);
    if (loss != Loss::log_loss && loss != Loss::focal && loss != Loss::hinge && loss != Loss::poisson) return;
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

// The numbers of a loss, and the weight of every row.
template <class T>
struct Numbers {
  std::vector<T> levels, weights;
  Numbers(index columns, index rows, T weight)
      : levels(static_cast<std::size_t>(round_up(columns, 16)), T(kLevel)),
        weights(static_cast<std::size_t>(round_up(rows, 16)), weight) {}
  LossFormula<T> of(Loss loss) const {
    LossFormula<T> formula{loss};
    formula.parameter = static_cast<T>(loss == Loss::focal ? kGamma : kDelta);
    formula.levels = levels.data();
    return formula;
  }
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
  const bool shared = f == Activation::softmax;
  double turn = 0;
  for (std::size_t j = 0; j < z.size(); ++j) {
    const double a = shared ? std::exp(z[j] - top) / sum : value(f, z[j]);
    const auto [more, by_a] = term(loss, shared, a, y[j]);
    total += more;
    turn += by_a * a;
    y[j] = shared ? by_a : by_a * slope(f, z[j]);
    z[j] = a;
  }
  for (std::size_t j = 0; shared && j < z.size(); ++j) y[j] = z[j] * (y[j] - turn);
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
      CHECK(near(after.z[at], z[column], 3 + std::abs(z[column])));
      CHECK(near(after.y[at], y[column] * weight, (3 + std::abs(y[column])) * weight));
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
    const Numbers<T> numbers(before.columns, 1, weight);
    isa.table<T>().output(numbers.of(loss), f, {1, before.columns, apart.z.data() + at, before.stride},
                          {1, before.columns, apart.y.data() + at, before.stride}, numbers.weights.data(),
                          apart.losses.data() + r);
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
  const Numbers<T> numbers(columns, rows, weight);
  isa.table<T>().output(numbers.of(loss), f, after.block(after.z), after.block(after.y), numbers.weights.data(),
                        after.losses.data());
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
  Rows<T> rise = before;
  isa.table<T>().activate(f, rise.block(rise.z), rise.block(rise.y));
  isa.table<T>().activate(f, after.block(after.z), {});
  if (needs_slope(f)) isa.table<T>().multiply(after.block(after.y), rise.constant(rise.y));
  else isa.table<T>().derivative(f, after.block(after.y), after.constant(after.z));
  for (index r = 0; r < rows; ++r)
    for (index j = 0; j < columns && f != Activation::softmax; ++j) {
      const std::size_t at = static_cast<std::size_t>(r * before.stride + j);
      const double a = value(f, before.z[at]), da = slope(f, before.z[at]);
      CHECK(near(after.z[at], a, 3 + std::abs(a)));
      CHECK(near(after.y[at], before.y[at] * da, 3 + std::abs(da)));
      CHECK(rise.z[at] == after.z[at]);
      CHECK(near(rise.y[at], da, 3 + std::abs(da)));
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
    for (index rows : {1, 5, 16, 37}) {
      for (Activation f : {Activation::identity, Activation::logistic, Activation::tanh, Activation::relu})
        on_every_isa([&](const Isa& isa) { return output<T>(isa, rows, columns, Loss::squared_error, f); });
      for (const auto& [loss, f] : every_loss)
        on_every_isa([&](const Isa& isa) { return output<T>(isa, rows, columns, loss, f); });
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
