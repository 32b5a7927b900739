#include "measure.hpp"

#include <chrono>
#include <vector>

#include "../team/team.hpp"
#include "schuss/buffer.hpp"

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

}  // namespace

template <class T>
double measure_peak(const KernelTable<T>& kernels, int threads, double seconds) {
  constexpr index rounds = 1 << 20;
  return best_rate(threads, seconds, [&](int) { return kernels.arithmetic(rounds); });
}

double measure_bandwidth(int threads, index bytes, double seconds) {
  const index words = bytes / static_cast<index>(sizeof(std::uint64_t));
  std::vector<Buffer<std::uint64_t>> memory(static_cast<std::size_t>(threads));
  std::vector<std::uint64_t> sink(static_cast<std::size_t>(threads));
  Team first_touch(threads);
  first_touch.run([&](int t) { memory[static_cast<std::size_t>(t)] = Buffer<std::uint64_t>(words); });
  return best_rate(threads, seconds, [&](int t) {
    const std::uint64_t* p = memory[static_cast<std::size_t>(t)].data();
    std::uint64_t bits = 0;
    for (index i = 0; i < words; ++i) bits ^= p[i];
    sink[static_cast<std::size_t>(t)] = bits;
    return static_cast<double>(words) * sizeof(std::uint64_t);
  });
}

template double measure_peak<float>(const KernelTable<float>&, int, double);
template double measure_peak<double>(const KernelTable<double>&, int, double);

}  // namespace schuss
