// Every instruction set's product, updates, sums and moves against plain loops: the same bits, at odd sizes and
// strides, with nothing written outside the output.
#include "check.hpp"
#include "kernels/table.hpp"
#include "panels.hpp"

namespace schuss::test {
namespace {

template <class T>
struct Subject {
  const Isa& isa;
  const KernelTable<T>& kernels;
  index lanes;

  explicit Subject(const Isa& which) : isa(which), kernels(which.table<T>()), lanes(kernels.lanes) {}
  T fma(T a, T b, T c) const { return isa.fused ? std::fma(a, b, c) : a * b + c; }
};

template <class T>
using Values = std::vector<T>;

constexpr int guard = 77;  // where nothing may be written

template <class T>
Values<T> guarded(index n) {
  return Values<T>(static_cast<std::size_t>(n), T(guard));
}

// A product of `rows` x `vectors`, by kernel and by one plain chain per element; `turned` reads a by columns.
template <class T>
void check_product(const Subject<T>& s, index rows, index depth, index vectors, bool turned, bool with_start) {
  about = std::string(s.isa.name) + (sizeof(T) == 4 ? " float32 " : " float64 ") + std::to_string(rows) + " x " +
          std::to_string(depth) + " x " + std::to_string(vectors) + " vectors" + (turned ? ", a by columns" : "") +
          (with_start ? ", start" : "");
  Random random(static_cast<std::uint64_t>(rows * 31 + depth));
  const index width = vectors * s.lanes;
  Product<T> p;
  p.rows = rows;
  p.depth = depth;
  p.vectors = vectors;
  p.a_row = turned ? 1 : depth + 3;
  p.a_depth = turned ? rows + 5 : 1;
  p.panel_row = width + (turned ? 7 : 0);
  p.out_row = width + 5;
  const auto a = random.vector<T>((rows - 1) * p.a_row + (depth - 1) * p.a_depth + 1);
  const auto panel = random.vector<T>((depth - 1) * p.panel_row + width);
  const auto start = random.vector<T>(width);
  auto out = guarded<T>((rows - 1) * p.out_row + width);
  auto expected = out;
  p.a = a.data();
  p.panel = panel.data();
  p.start = with_start ? start.data() : nullptr;
  p.out = out.data();
  s.kernels.product(p);
  for (index r = 0; r < rows; ++r)
    for (index j = 0; j < width; ++j) {
      T sum = with_start ? start[static_cast<std::size_t>(j)] : T(0);
      for (index k = 0; k < depth; ++k)
        sum = s.fma(a.data()[r * p.a_row + k * p.a_depth], panel.data()[k * p.panel_row + j], sum);
      expected[static_cast<std::size_t>(r * p.out_row + j)] = sum;
    }
  CHECK(same_bits(out, expected));
}

template <class T>
void product(const Subject<T>& s) {
  for (index rows = 1; rows <= 2 * s.kernels.tile_rows + 1; ++rows)
    for (index vectors = 1; vectors <= s.kernels.panel_vectors; ++vectors)
      for (index depth : {1, 2, 3, 17}) {
        check_product(s, rows, depth, vectors, false, rows % 2 == 0);
        check_product(s, rows, depth, vectors, true, rows % 2 == 1);
      }
  // more than one block of the summed axis: the running sum is stored and read again
  for (index depth : {1023, 1024, 1025, 2047, 2100, 3073})
    for (index rows : {index{1}, s.kernels.tile_rows, s.kernels.tile_rows + 1}) {
      check_product(s, rows, depth, 1, rows == 1, true);
      check_product(s, rows, depth, s.kernels.panel_vectors, rows != 1, false);
    }
}

template <class T>
void transpose(const Subject<T>& s) {
  Random random(5);
  for (index rows = 1; rows <= 2 * s.lanes + 1; ++rows)
    for (index columns = 1; columns <= 2 * s.lanes + 3; columns += columns < 4 ? 1 : 3) {
      about = std::string(s.isa.name) + " " + std::to_string(rows) + " x " + std::to_string(columns);
      const index from_row = round_up(columns, s.lanes) + 3, padded = round_up(rows, s.lanes), to_row = padded + 5;
      const auto source = random.vector<T>((rows - 1) * from_row + round_up(columns, s.lanes));
      auto out = guarded<T>((columns - 1) * to_row + padded);
      auto expected = out;
      s.kernels.transpose(rows, columns, source.data(), from_row, out.data(), to_row);
      for (index c = 0; c < columns; ++c)
        for (index r = 0; r < padded; ++r)
          expected[static_cast<std::size_t>(c * to_row + r)] = r < rows ? source.data()[r * from_row + c] : T(0);
      CHECK(same_bits(out, expected));
    }
}

template <class T>
void column_sums(const Subject<T>& s) {
  Random random(6);
  for (index rows : {1, 2, 7, 100})
    for (index columns : {index{1}, s.lanes - 1, s.lanes, 3 * s.lanes + 1}) {
      about = std::string(s.isa.name) + " " + std::to_string(rows) + " x " + std::to_string(columns);
      const index padded = round_up(columns, s.lanes), stride = padded + 3;
      const auto block = random.vector<T>((rows - 1) * stride + padded);
      auto out = guarded<T>(padded);
      Values<T> expected(static_cast<std::size_t>(padded));
      s.kernels.column_sums({rows, columns, block.data(), stride}, out.data(), false);
      for (index r = 0; r < rows; ++r)
        for (index j = 0; j < padded; ++j) expected[static_cast<std::size_t>(j)] += block.data()[r * stride + j];
      CHECK(same_bits(out, expected));
    }
}

// 16 virtual lanes, then halves added: the order that docs/mathematics.md gives for sums along a row.
template <class T>
T sum_of_squares(const T* row, index n) {
  T lane[16] = {};
  for (index j = 0; j < n; ++j) lane[j % 16] += row[j] * row[j];
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

template <class T>
void row_squares(const Subject<T>& s) {
  Random random(7);
  constexpr index depth = 5;
  for (index columns = 1; columns <= 3 * s.kernels.panel() + 2; columns += columns < 20 ? 1 : 7) {
    about = std::string(s.isa.name) + " " + std::to_string(columns) + " columns";
    const auto rows = random.vector<T>(depth * columns);
    const Packing packing{depth, columns, s.kernels.panel(), s.lanes}, plain = Packing::row_major(depth, columns);
    auto packed = guarded<T>(packing.size());
    pack(packing, rows.data(), packed.data());
    Values<double> out = guarded<double>(depth), again = out, expected = out;
    s.kernels.row_squares(packing, packed.data(), 1, 4, out.data());
    s.kernels.row_squares(plain, rows.data(), 1, 4, again.data());
    for (index k = 1; k < 4; ++k)
      expected[static_cast<std::size_t>(k)] = static_cast<double>(sum_of_squares(rows.data() + k * columns, columns));
    CHECK(same_bits(out, expected));
    CHECK(same_bits(again, expected));
  }
}

// The four formulas of kernels/optimizer.inl for one parameter.
template <class T>
void plain_update(const Subject<T>& s, const Update<T>& u, T g, T& w, T& s0, T& s1) {
  g = s.fma(u.penalty, w, u.scale * g);
  w *= u.keep;
  const T step = -(u.rate * g);
  switch (u.kind) {
    case Optimizer::sgd: w = s.fma(-u.rate, g, w); break;
    case Optimizer::momentum:
      s0 = s.fma(u.momentum, s0, step);
      w += s0;
      break;
    case Optimizer::nesterov:
      s0 = s.fma(u.momentum, s0, step);
      w += s.fma(u.momentum, s0, step);
      break;
    case Optimizer::adam:
      s0 = s.fma(u.momentum, s0, (1 - u.momentum) * g);
      s1 = s.fma(u.beta2, s1, (1 - u.beta2) * (g * g));
      w -= (u.rate * s0) / (std::sqrt(s1) + u.epsilon);
  }
}

template <class T>
void updates(const Subject<T>& s) {
  Random random(8);
  for (Optimizer kind : {Optimizer::sgd, Optimizer::momentum, Optimizer::nesterov, Optimizer::adam})
    for (index n = 1; n <= 4 * s.lanes + 1; ++n) {
      about =
          std::string(s.isa.name) + " optimizer " + std::to_string(static_cast<int>(kind)) + " n=" + std::to_string(n);
      const Update<T> u{kind, T(0.1), T(0.9), T(0.99), T(1e-8), T(0.7), T(0.01)};
      const int slots = state_slots(kind);
      const auto g = random.vector<T>(n);
      auto w = random.vector<T>(n), s0 = random.vector<T>(slots > 0 ? n : 0), s1 = random.vector<T>(slots > 1 ? n : 0);
      for (T& x : s1) x *= x;
      auto w_plain = w, s0_plain = s0, s1_plain = s1;
      s.kernels.update(u, n, g.data(), w.data(), slots > 0 ? s0.data() : nullptr, slots > 1 ? s1.data() : nullptr);
      for (std::size_t i = 0; i < w.size(); ++i) {
        T none = 0;
        plain_update(s, u, g[i], w_plain[i], slots > 0 ? s0_plain[i] : none, slots > 1 ? s1_plain[i] : none);
      }
      CHECK(same_bits(w, w_plain) && same_bits(s0, s0_plain) && same_bits(s1, s1_plain));
    }
}

template <class T, class Source>
void gather_from(const Subject<T>& s, Element type, double scale, double shift) {
  about = std::string(s.isa.name) + " element type " + std::to_string(static_cast<int>(type)) + " scale " +
          std::to_string(scale);
  Random random(9);
  for (index features : {1, 7, 16, 33, 100}) {
    const index stride = features + 3;
    Values<Source> x(static_cast<std::size_t>(4 * stride + features));
    for (Source& value : x) value = static_cast<Source>(type == Element::uint8 ? random.below(256) : random() * 100);
    for (index row : {0, 3, 4}) {
      auto out = guarded<T>(features), expected = out;
      s.kernels.gather({x.data(), type, 5, features, stride, scale, shift}, row, out.data());
      for (index i = 0; i < features; ++i) {
        const T value = static_cast<T>(x.data()[row * stride + i]);
        const T product = value * static_cast<T>(scale);
        expected[static_cast<std::size_t>(i)] = scale == 1 && shift == 0 ? value : product + static_cast<T>(shift);
      }
      CHECK(same_bits(out, expected));
    }
  }
}

template <class T>
void gather(const Subject<T>& s) {
  for (const auto& [scale, shift] : {std::pair{1.0, 0.0}, {1.0 / 255, 0.0}, {0.3, -0.7}}) {
    gather_from<T, float>(s, Element::float32, scale, shift);
    gather_from<T, double>(s, Element::float64, scale, shift);
    gather_from<T, std::uint8_t>(s, Element::uint8, scale, shift);
  }
}

template <template <class> class Function>
void on_every_isa() {
  for (const Isa& isa : isas()) {
    if (!isa.available()) {
      not_run(std::string(isa.name) + " needs " + std::string(isa.needs));
      continue;
    }
    Function<float>()(Subject<float>(isa));
    Function<double>()(Subject<double>(isa));
  }
}

// A function template as a case's argument.
#define SCHUSS_CASE(name)                                      \
  template <class T>                                           \
  struct name##_case {                                         \
    void operator()(const Subject<T>& s) const { name<T>(s); } \
  }
SCHUSS_CASE(product);
SCHUSS_CASE(transpose);
SCHUSS_CASE(column_sums);
SCHUSS_CASE(row_squares);
SCHUSS_CASE(updates);
SCHUSS_CASE(gather);

void selection() {
  CHECK(select_isa("portable").name == "portable");
  CHECK(select_isa("auto").available());
  CHECK_THROWS(std::invalid_argument, "got 'sse9'", select_isa("sse9"));
  for (const Isa& isa : isas())
    if (!isa.available()) CHECK_THROWS(std::invalid_argument, std::string(isa.needs), select_isa(isa.name));
}

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases({{"selection", selection},
                    {"product", on_every_isa<product_case>},
                    {"transpose", on_every_isa<transpose_case>},
                    {"column sums", on_every_isa<column_sums_case>},
                    {"row squares", on_every_isa<row_squares_case>},
                    {"updates", on_every_isa<updates_case>},
                    {"gather", on_every_isa<gather_case>}});
}
