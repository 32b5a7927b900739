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

double elapsed(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }

// The best rate of rounds of about 10 ms; work(thread) returns what it did. All threads start each round together.
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

// Numbers between 1/2 and 1, so that the arithmetic is ordinary.
template <class T>
Buffer<T> filled(index n) {
  Buffer<T> numbers(n);
  for (index i = 0; i < n; ++i) numbers[i] = T(1) / static_cast<T>(1 + (i % 13) / T(13));
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

double measure_barrier(int threads, double seconds) {
  constexpr int meetings = 1000;
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

double measure_bandwidth(int threads, index bytes, double seconds) {
  const index words = bytes / static_cast<index>(sizeof(std::uint64_t));
  std::vector<Buffer<std::uint64_t>> memory(static_cast<std::size_t>(threads));
  std::vector<std::uint64_t> sink(static_cast<std::size_t>(threads));
  Team first_touch(threads);
  first_touch.run([&](int t) {
    Buffer<std::uint64_t>& own = memory[static_cast<std::size_t>(t)] = Buffer<std::uint64_t>(words);
    for (index i = 0; i < words; ++i) own[i] = static_cast<std::uint64_t>(i);  // what nobody wrote takes no memory
  });
  return best_rate(threads, seconds, [&](int t) {
    const std::uint64_t* p = memory[static_cast<std::size_t>(t)].data();
    std::uint64_t bits = 0;
    for (index i = 0; i < words; ++i) bits ^= p[i];
    sink[static_cast<std::size_t>(t)] = bits;
    return static_cast<double>(words) * sizeof(std::uint64_t);
  });
}

template double measure_product<float>(const KernelTable<float>&, ProductKind, index, index, index, double);
template double measure_product<double>(const KernelTable<double>&, ProductKind, index, index, index, double);
template double measure_peak<float>(const KernelTable<float>&, int, double);
template double measure_peak<double>(const KernelTable<double>&, int, double);

}  // namespace schuss
