#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "../team/team.hpp"
#include "native_step.hpp"
#include "schuss/buffer.hpp"
#include "schuss/packing.hpp"

namespace schuss {
namespace {

using Clock = std::chrono::steady_clock;

// Passes between two looks at the clock: a look takes as long as a small tile.
constexpr int kUntimed = 8;

double elapsed(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }

// The best rate of some rounds; work(thread) returns what it did. All threads start each round together.
template <class Work>
double best_rate(int threads, double seconds, Work work) {
  Team team(threads);
  std::vector<double> done(static_cast<std::size_t>(threads));
  double best = 0;
  const auto begin = Clock::now();
  do {
    const auto start = Clock::now();
    team.run([&](int t) { done[static_cast<std::size_t>(t)] = work(t); });
    const double took = elapsed(start);
    double sum = 0;
    for (double d : done) sum += d;
    best = std::max(best, sum / took);
  } while (elapsed(begin) < seconds);
  return best;
}

// How often `work` was done in about a millisecond.
template <class Work>
double passes(Work work) {
  double done = 0;
  for (const auto start = Clock::now(); elapsed(start) < 1e-3; done += kUntimed)
    for (int i = 0; i < kUntimed; ++i) work();
  return done;
}

// The compiler must not leave out what leads to it.
void keep(double result) { asm volatile("" : : "m"(result)); }

// Numbers between 1/2 and 1, so that the arithmetic is ordinary.
template <class T>
Buffer<T> filled(index n) {
  constexpr index period = 13 * 64;  // the rest is copied: a division takes longer than reading it later
  Buffer<T> numbers(n);
  for (index i = 0; i < std::min(n, period); ++i) numbers[i] = T(1) / static_cast<T>(1 + (i % 13) / T(13));
  for (index i = period; i < n; i += period) std::copy_n(numbers.data(), std::min(period, n - i), numbers.data() + i);
  return numbers;
}

}  // namespace

template <class T>
double measure_peak(const KernelTable<T>& kernels, int threads, double seconds) {
  constexpr index rounds = 1 << 20;
  return best_rate(threads, seconds, [&](int) { return kernels.arithmetic(rounds); });
}

template <class T>
double measure_product(const KernelTable<T>& kernels, ProductKind kind, index rows, index depth, index columns,
                       double seconds) {
  const bool forward = kind == ProductKind::forward;
  const Packing packing{depth, columns, kernels.panel(), kernels.lanes};
  const index inner = leading_dimension<T>(forward ? depth : rows, kernels.lanes);
  const index outer = leading_dimension<T>(columns, kernels.lanes);
  const Buffer<T> a = filled<T>((forward ? rows : depth) * inner);
  const Buffer<T> b = filled<T>(forward ? packing.size() : depth * outer);
  Buffer<T> out(rows * outer);
  const index grain = forward ? rows : kTileInputs;
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(depth) * static_cast<double>(columns);
  return best_rate(1, seconds, [&](int) {
    double done = 0;
    for (const auto start = Clock::now(); elapsed(start) < 0.01; done += flops)
      for (index j = 0; j < packing.panels(); ++j)
        for (index r = 0; r < rows; r += grain) {
          Product<T> p;
          p.rows = std::min(grain, rows - r);
          p.depth = depth;
          p.vectors = packing.width(j) / kernels.lanes;
          p.a = a.data() + (forward ? r * inner : r);
          p.a_row = forward ? inner : 1;
          p.a_depth = forward ? 1 : inner;
          p.panel = b.data() + (forward ? packing.offset(j) : j * packing.panel);
          p.panel_row = forward ? packing.width(j) : outer;
          p.out = out.data() + r * outer + j * packing.panel;
          p.out_row = outer;
          kernels.product(p);
        }
    return done;
  });
}

template <class T>
double measure_tile(const KernelTable<T>& kernels, index rows, index vectors, index depth, double seconds) {
  const index width = vectors * kernels.lanes;
  const Buffer<T> a = filled<T>(rows * depth), b = filled<T>(depth * width);
  Buffer<T> out(rows * width);
  Product<T> p;
  p.rows = rows;
  p.depth = p.a_row = depth;
  p.a_depth = 1;
  p.vectors = vectors;
  p.a = a.data();
  p.panel = b.data();
  p.panel_row = p.out_row = width;
  p.out = out.data();
  return 1 / best_rate(1, seconds, [&](int) { return passes([&] { kernels.product(p); }); });
}

double measure_barrier(int threads, double seconds) {
  constexpr int meetings = 100;  // few, so that a round is undisturbed on a busy machine too
  Team team(threads);
  Barrier& all = team.make_barrier(threads);
  double best = std::numeric_limits<double>::infinity();
  const auto begin = Clock::now();
  do {
    const auto start = Clock::now();
    team.run([&](int) {
      for (int i = 0; i < meetings; ++i) all.wait();
    });
    best = std::min(best, elapsed(start) / meetings);
  } while (elapsed(begin) < seconds);
  return best;
}

template <class T>
double measure_stream(const KernelTable<T>& kernels, Stream kind, int threads, index bytes, double seconds) {
  const index block = 64 * kernels.lanes;  // a gradient that stays in the first-level cache
  const index words = std::max(bytes / static_cast<index>(sizeof(T)) / block, index{1}) * block;
  const Buffer<T> gradient = filled<T>(block);
  std::vector<Buffer<T>> memory(static_cast<std::size_t>(threads));
  Team first_touch(threads);
  first_touch.run([&](int t) { memory[static_cast<std::size_t>(t)] = filled<T>(words); });
  const Update<T> step{Optimizer::sgd, T(0), T(0), T(0), T(0), T(1), T(0), T(1)};
  return best_rate(threads, seconds, [&](int t) {
    T* p = memory[static_cast<std::size_t>(t)].data();
    const auto pass = [&] {
      if (kind == Stream::read) keep(kernels.read(words, p));
      else
        for (index i = 0; i < words; i += block) kernels.update(step, block, gradient.data(), p + i, nullptr, nullptr);
    };
    return (kind == Stream::update ? 2.0 : 1.0) * sizeof(T) * static_cast<double>(words) * passes(pass);
  });
}

template <class T>
double measure_gather(const KernelTable<T>& kernels, index features, index bytes, double seconds) {
  const index rows = std::max(bytes / static_cast<index>(sizeof(float)) / features, index{1});
  const Buffer<float> x = filled<float>(rows * features);
  Buffer<T> out(round_up(features, kernels.lanes));
  Examples examples;
  examples.data = x.data();
  examples.rows = rows;
  examples.features = examples.stride = features;
  index row = 0;
  return 1 / best_rate(1, seconds, [&](int) {
           return passes([&] {
             row =
                 (row + 7919) % rows;  // far from the last, and nearer to no other than the order of training has them
             kernels.gather(examples, row, out.data());
           });
         });
}

template <class T>
double measure_activation(const KernelTable<T>& kernels, Activation function, double seconds) {
  const index n = 64 * kernels.lanes;
  Buffer<T> z = filled<T>(n);
  const double vectors = static_cast<double>(n / kernels.lanes);
  return 1 / best_rate(1, seconds, [&](int) {
           return vectors * passes([&] { kernels.activate(function, {1, n, z.data(), n}, {}); });
         });
}

template double measure_peak<float>(const KernelTable<float>&, int, double);
template double measure_peak<double>(const KernelTable<double>&, int, double);
template double measure_product<float>(const KernelTable<float>&, ProductKind, index, index, index, double);
template double measure_product<double>(const KernelTable<double>&, ProductKind, index, index, index, double);
template double measure_tile<float>(const KernelTable<float>&, index, index, index, double);
template double measure_stream<float>(const KernelTable<float>&, Stream, int, index, double);
template double measure_gather<float>(const KernelTable<float>&, index, index, double);
template double measure_activation<float>(const KernelTable<float>&, Activation, double);

}  // namespace schuss
