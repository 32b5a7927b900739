// Accuracy of kernels/math.inl in ulp, and equal bits across vector widths.
// No argument: samples and special values. --exhaustive: every float. --speed: elements per nanosecond.
// Build: g++ -std=c++20 -O3 -march=native -ffp-contract=off -I native/src native/tests/test_math.cpp -pthread

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "formulas/names.hpp"

namespace schuss::test {

template <class Element, int Lanes, bool Fused>
struct Pack {
  using T = Element;
  using Int = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  typedef T V __attribute__((vector_size(sizeof(T) * Lanes)));
  typedef Int I __attribute__((vector_size(sizeof(T) * Lanes)));
  static constexpr int lanes = Lanes;

  static V set(T value) { return value - V{}; }  // keeps the sign of -0
  static V load(const T* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
  }
  static void store(T* to, V v) { std::memcpy(to, &v, sizeof v); }
  static V select(I mask, V a, V b) { return mask ? a : b; }
  static V fma(V a, V b, V c) {
    if constexpr (!Fused) return a * b + c;
    V result{};
    for (int i = 0; i < Lanes; ++i) result[i] = fma_one(a[i], b[i], c[i]);
    return result;
  }
  static float fma_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static double fma_one(double a, double b, double c) { return __builtin_fma(a, b, c); }
};

#define SCHUSS_INLINE inline __attribute__((always_inline))
#define SCHUSS_UNROLL _Pragma("GCC unroll 16")
#include "formulas/math.inl"

// One struct a function: its name, the largest error allowed, the vector form and the reference in a wider type.
// Promised are 2 ulp (softplus 4); allowed is what --exhaustive measured (1.05, 0.96, 1.77, 1.50, 2.05), rounded up,
// so that a worse coefficient shows.
struct Exp {
  static constexpr const char* name = "exp";
  static constexpr double bound = 1.1;
  template <class P>
  static typename P::V vector(typename P::V x) {
    return exp<P>(x);
  }
  template <class R>
  static R reference(R x) {
    return std::exp(x);
  }
};

struct Log {
  static constexpr const char* name = "log";
  static constexpr double bound = 1;
  template <class P>
  static typename P::V vector(typename P::V x) {
    return log<P>(x);
  }
  template <class R>
  static R reference(R x) {
    return std::log(x);
  }
};

struct Logistic {
  static constexpr const char* name = "logistic";
  static constexpr double bound = 1.8;
  template <class P>
  static typename P::V vector(typename P::V x) {
    return logistic<P>(x);
  }
  template <class R>
  static R reference(R x) {
    return 1 / (1 + std::exp(-x));
  }
};

struct Tanh {
  static constexpr const char* name = "tanh";
  static constexpr double bound = 1.6;
  template <class P>
  static typename P::V vector(typename P::V x) {
    return tanh<P>(x);
  }
  template <class R>
  static R reference(R x) {
    return std::tanh(x);
  }
};

struct Softplus {
  static constexpr const char* name = "softplus";
  static constexpr double bound = 2.1;
  template <class P>
  static typename P::V vector(typename P::V x) {
    return softplus<P>(x);
  }
  template <class R>
  static R reference(R x) {
    return std::log1p(std::exp(-std::abs(x))) + std::max(x, R(0));
  }
};

template <class T>
using Wider = std::conditional_t<sizeof(T) == 4, double, long double>;

int exponent(double x) { return static_cast<int>(std::bit_cast<std::uint64_t>(x) >> 52 & 0x7ff) - 1023; }
int exponent(long double x) { return std::ilogb(x); }

// |got - wanted| in units of T's last place at wanted; infinite where NaN, infinity or the sign of zero is wrong.
template <class T>
double ulps(T got, Wider<T> wanted) {
  using Limits = std::numeric_limits<T>;
  const double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(got) || std::isnan(wanted)) return std::isnan(got) && std::isnan(wanted) ? 0 : wrong;
  if (wanted == 0) return got == 0 && std::signbit(got) == std::signbit(wanted) ? 0 : wrong;
  // 2^max_exponent, nearly
  const Wider<T> overflow = Wider<T>(Limits::max()) * (1 + Wider<T>(Limits::epsilon()) / 2);
  const Wider<T> finite = std::clamp(wanted, -overflow, overflow);
  const int place = std::max(exponent(finite), Limits::min_exponent - 1) - (Limits::digits - 1);
  const Wider<T> difference = std::clamp(Wider<T>(got), -overflow, overflow) - finite;
  return static_cast<double>(std::abs(std::ldexp(difference, -place)));
}

template <class T>
struct Worst {
  double ulp = 0;
  T argument = 0;
  void add(double error, T x) {
    if (error > ulp) ulp = error, argument = x;
  }
  void add(const Worst& other) { add(other.ulp, other.argument); }
};

template <class T>
struct Outcome {
  Worst<T> fused, unfused;
  bool same_bits = true;
  T differs_at = 0;
  void add(const Outcome& other) {
    fused.add(other.fused), unfused.add(other.unfused);
    if (same_bits && !other.same_bits) same_bits = false, differs_at = other.differs_at;
  }
};

constexpr int block = 64;
template <class T>
constexpr int widest = 64 / sizeof(T);

template <class F, class P>
void apply(const typename P::T* x, typename P::T* y, int count = block) {
  for (int i = 0; i < count; i += P::lanes) P::store(y + i, F::template vector<P>(P::load(x + i)));
}

template <class F, class T, int Lanes>
void compare(const T* x, const T* wide, Outcome<T>& outcome) {
  T narrow[block];
  apply<F, Pack<T, Lanes, true>>(x, narrow);
  for (int i = 0; i < block; ++i) {
    if (std::isnan(narrow[i]) && std::isnan(wide[i])) continue;
    if (std::memcmp(narrow + i, wide + i, sizeof(T)) != 0) outcome.same_bits = false, outcome.differs_at = x[i];
  }
}

// `widths` compares narrower vectors with the widest bit for bit.
template <class F, class T>
void check_block(const T* x, bool widths, Outcome<T>& outcome) {
  T fused[block], unfused[block];
  apply<F, Pack<T, widest<T>, true>>(x, fused);
  apply<F, Pack<T, widest<T>, false>>(x, unfused);
  for (int i = 0; i < block; ++i) {
    const Wider<T> wanted = F::reference(Wider<T>(x[i]));
    outcome.fused.add(ulps(fused[i], wanted), x[i]);
    outcome.unfused.add(ulps(unfused[i], wanted), x[i]);
  }
  if (!widths) return;
  compare<F, T, widest<T> / 2>(x, fused, outcome);
  compare<F, T, widest<T> / 4>(x, fused, outcome);
  compare<F, T, 1>(x, fused, outcome);
}

template <class F, class T>
bool report(const Outcome<T>& outcome) {
  const bool good = outcome.fused.ulp <= F::bound && outcome.unfused.ulp <= F::bound && outcome.same_bits;
  std::printf("%-8s %-6s fused %.3f ulp at %a, unfused %.3f ulp at %a", F::name, sizeof(T) == 4 ? "float" : "double",
              outcome.fused.ulp, double(outcome.fused.argument), outcome.unfused.ulp, double(outcome.unfused.argument));
  if (!outcome.same_bits) std::printf(", bits depend on the width at %a", double(outcome.differs_at));
  std::printf("%s\n", good ? "" : "  FAILED");
  return good;
}

// Both signs of each value, and the neighbours that rounding may treat differently.
template <class T>
std::vector<T> special_values() {
  using Limits = std::numeric_limits<T>;
  const T infinity = Limits::infinity();
  std::vector<T> centres{0, Limits::denorm_min(), Limits::min(), Limits::epsilon(), T(0.5), 1, 2, Limits::max()};
  centres.insert(centres.end(), {std::sqrt(T(0.5)), std::sqrt(T(2)), Limits::epsilon() / 2, T(0.35), T(10), T(20)});
  // multiples of ln 2 / 2, where exp's n changes, past both its limits
  const int halves = sizeof(T) == 4 ? 310 : 2160;
  for (int k = 1; k <= halves; ++k) centres.push_back(T(k * 0.34657359027997264));
  const std::array<T, 2> exp_limits = sizeof(T) == 4 ? std::array<T, 2>{89, 104} : std::array<T, 2>{710, 746};
  centres.insert(centres.end(), exp_limits.begin(), exp_limits.end());
  std::vector<T> values{infinity, -infinity, Limits::quiet_NaN()};
  for (T centre : centres) {
    T below = centre, above = centre;
    for (int step = 0; step < 8; ++step) {
      values.insert(values.end(), {below, -below, above, -above});
      below = std::nextafter(below, -infinity), above = std::nextafter(above, infinity);
    }
  }
  return values;
}

template <class T>
std::vector<T> samples() {
  std::vector<T> values = special_values<T>();
  std::mt19937_64 random(1);
  if constexpr (sizeof(T) == 4)
    for (std::uint64_t pattern = 0; pattern < (1ull << 32); pattern += 4099)
      values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(pattern)));
  else
    for (int i = 0; i < 400'000; ++i) values.push_back(std::bit_cast<double>(random()));
  for (T radius : {T(800), T(40), T(3), T(0.7)})
    for (int i = 0; i < 200'000; ++i) values.push_back(std::uniform_real_distribution<T>(-radius, radius)(random));
  return values;
}

template <class F, class T>
bool check_samples() {
  std::vector<T> x = samples<T>();
  x.resize((x.size() + block - 1) / block * block, T(1));
  Outcome<T> outcome;
  for (std::size_t i = 0; i < x.size(); i += block) check_block<F, T>(&x[i], true, outcome);
  return report<F>(outcome);
}

template <class F>
bool check_every_float() {
  const unsigned n_threads = std::max(1u, std::thread::hardware_concurrency());
  std::vector<Outcome<float>> outcomes(n_threads);
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < n_threads; ++thread)
    threads.emplace_back([&outcomes, thread, n_threads] {
      Outcome<float> outcome;
      float x[block];
      for (std::uint64_t first = thread * block; first < (1ull << 32); first += n_threads * block) {
        for (unsigned i = 0; i < block; ++i) x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(first + i));
        check_block<F, float>(x, false, outcome);
      }
      outcomes[thread] = outcome;
    });
  Outcome<float> total;
  for (unsigned thread = 0; thread < n_threads; ++thread) {
    threads[thread].join();
    total.add(outcomes[thread]);
  }
  return report<F>(total);
}

// Elements per nanosecond in cache, best of 20.
template <class F, class P>
double speed() {
  using Clock = std::chrono::steady_clock;
  constexpr int count = 2048, repeats = 200;
  alignas(64) static typename P::T x[count], y[count];
  for (int i = 0; i < count; ++i) x[i] = typename P::T(10.0 * (i + 1) / count);
  double best = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const auto start = Clock::now();
    for (int repeat = 0; repeat < repeats; ++repeat) {
      apply<F, P>(x, y, count);
      asm volatile("" ::: "memory");
    }
    const std::chrono::duration<double, std::nano> elapsed = Clock::now() - start;
    best = std::max(best, count * repeats / elapsed.count());
  }
  return best;
}

template <class F>
void report_speed() {
  std::printf("%-8s float %.2f (16 lanes) %.2f (8), double %.2f (8 lanes) %.2f (4) elements/ns\n", F::name,
              speed<F, Pack<float, 16, true>>(), speed<F, Pack<float, 8, true>>(), speed<F, Pack<double, 8, true>>(),
              speed<F, Pack<double, 4, true>>());
}

template <class F>
bool run(const std::string& mode) {
  if (mode == "--exhaustive") return check_every_float<F>();
  if (mode == "--speed") return report_speed<F>(), true;
  const bool float_good = check_samples<F, float>();
  return check_samples<F, double>() && float_good;
}

template <class... F>
bool run_all(const std::string& mode) {
  return (run<F>(mode) & ...);
}

}  // namespace schuss::test

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (!mode.empty() && mode != "--exhaustive" && mode != "--speed") {
    std::fprintf(stderr, "test_math: unknown argument '%s'; known: --exhaustive, --speed\n", argv[1]);
    return 2;
  }
  using namespace schuss::test;
  const bool good = run_all<Exp, Log, Logistic, Tanh, Softplus>(mode);
  if (!good) std::fprintf(stderr, "test_math: an error bound or the equality of bits failed, see FAILED above\n");
  return good ? 0 : 1;
}
