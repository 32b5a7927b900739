// split(): contiguous parts that cover the items once, in order, cut at multiples of the grain, whose numbers of grains
// differ by at most one.
#include "check.hpp"
#include "partition/range.hpp"

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

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases({{"every small size", all_small_sizes},
                    {"large sizes", large_sizes},
                    {"parts beyond the work are empty", parts_beyond_the_work_are_empty},
                    {"known parts", known_parts}});
}
