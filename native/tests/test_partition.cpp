// split(): contiguous parts that cover the items once, in order, cut at multiples of the grain, whose numbers of grains
// differ by at most one.
#include <atomic>
#include <thread>

#include "check.hpp"
#include "partition/claims.hpp"

namespace schuss::test {
namespace {

void check_parts(index n, index parts, index grain) {
  about = "n=" + std::to_string(n) + " parts=" + std::to_string(parts) + " grain=" + std::to_string(grain);
  index next = 0, fewest = n, most = 0;
  for (index part = 0; part < parts; ++part) {
    const Range range = split(n, parts, part, grain);
    CHECK(range.begin == next);  // covers, without overlap, in order
    CHECK(range.end >= range.begin && range.end <= n);
    CHECK(range.begin % grain == 0 || range.begin == n);
    CHECK(range.empty() == (range.size() == 0));
    fewest = std::min(fewest, ceil_div(range.size(), grain));
    most = std::max(most, ceil_div(range.size(), grain));
    next = range.end;
  }
  CHECK(next == n);
  CHECK(most - fewest <= 1);
}

void all_small_sizes() {
  for (index n = 0; n <= 70; ++n)
    for (index parts = 1; parts <= 9; ++parts)
      for (index grain : {1, 2, 3, 4, 8, 16}) check_parts(n, parts, grain);
}

void large_sizes() {
  for (index n : {index{1000}, index{65537}, index{50000}, index{123456789}})
    for (index parts : {1, 2, 3, 7, 64, 1000})
      for (index grain : {1, 6, 16, 64}) check_parts(n, parts, grain);
}

void parts_beyond_the_work_are_empty() {
  for (index part = 0; part < 8; ++part) {
    CHECK(split(0, 8, part).empty());
    CHECK(split(3, 8, part).size() == (part < 3 ? 1 : 0));
    CHECK(split(16, 8, part, 16).size() == (part == 0 ? 16 : 0));
  }
}

void known_parts() {
  const auto is = [](Range r, index begin, index end) { return r.begin == begin && r.end == end; };
  CHECK(is(split(10, 3, 0), 0, 4));
  CHECK(is(split(10, 3, 1), 4, 7));
  CHECK(is(split(10, 3, 2), 7, 10));
  CHECK(is(split(20, 2, 0, 8), 0, 16));
  CHECK(is(split(20, 2, 1, 8), 16, 20));
}

// Each item is claimed once, whoever comes first; a thread takes its own share before those of others.
void claims() {
  for (index threads : {1, 2, 5}) {
    constexpr index items = 1000;
    Claims claims(threads);
    for (index t = 0; t < threads; ++t) claims.offer(t, threads, items);
    std::vector<std::atomic<int>> taken(items);
    std::atomic<int> strange{0};
    std::vector<std::thread> team;
    for (index t = 0; t < threads; ++t)
      team.emplace_back([&, t] {
        const Range own = split(items, threads, t);
        bool others = false;
        for (Range range; !(range = claims.claim(t, 1 + t)).empty();) {
          const bool mine = range.begin >= own.begin && range.end <= own.end;
          strange += range.size() > 1 + t || (mine && others);
          others = others || !mine;
          for (index i = range.begin; i < range.end; ++i) ++taken[static_cast<std::size_t>(i)];
        }
      });
    for (std::thread& thread : team) thread.join();
    about = std::to_string(threads) + " threads";
    for (const auto& count : taken) CHECK(count == 1);
    CHECK(strange == 0);
  }
}

void one_thread_claims_all() {
  Claims claims(3);
  for (index t = 0; t < 3; ++t) claims.offer(t, 3, 10);
  index items = 0;
  for (Range range; !(range = claims.claim(1, 4)).empty();) items += range.size();
  CHECK(items == 10);
  for (index t = 0; t < 3; ++t) CHECK(claims.claim(t).empty());
  for (index t = 0; t < 3; ++t) claims.offer(t, 3, 10);
  claims.offer(0, 1, 7);  // one thread works: what was left to the others is theirs no more
  const Range all = claims.claim(0, 100);
  CHECK(all.begin == 0 && all.end == 7 && claims.claim(0).empty() && claims.claim(2).empty());
}

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases({{"every small size", all_small_sizes},
                    {"large sizes", large_sizes},
                    {"parts beyond the work are empty", parts_beyond_the_work_are_empty},
                    {"known parts", known_parts},
                    {"items are claimed once", claims},
                    {"one thread claims all", one_thread_claims_all}});
}
