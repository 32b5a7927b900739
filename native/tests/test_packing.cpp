// Panels: every element has one place, packing and unpacking return the same matrix, padding stays as it was.
#include "check.hpp"
#include "schuss/buffer.hpp"
#include "panels.hpp"

namespace schuss::test {
namespace {

constexpr float padding = -7;

void check_round_trip(const Packing& packing) {
  about = std::to_string(packing.depth) + " x " + std::to_string(packing.columns) + ", panel " +
          std::to_string(packing.panel) + ", lanes " + std::to_string(packing.lanes);
  const index n = packing.depth * packing.columns;
  std::vector<float> rows(static_cast<std::size_t>(n)), back(rows.size());
  for (index i = 0; i < n; ++i) rows[static_cast<std::size_t>(i)] = static_cast<float>(i + 1);
  std::vector<float> packed(static_cast<std::size_t>(packing.size()), padding);
  pack(packing, rows.data(), packed.data());
  unpack(packing, packed.data(), back.data());
  CHECK(same_bits(rows, back));

  index untouched = 0;
  for (float x : packed) untouched += x == padding;
  CHECK(untouched == packing.size() - n);
  for (index k = 0; k < packing.depth; ++k)
    for (index j = 0; j < packing.columns; ++j) {
      const index p = j / packing.panel;
      CHECK(packed[static_cast<std::size_t>(packing.offset(p, k) + j % packing.panel)] ==
            rows[static_cast<std::size_t>(k * packing.columns + j)]);
    }
}

void round_trips() {
  for (index lanes : {1, 2, 4, 8, 16})
    for (index vectors : {1, 2, 4})
      for (index depth : {1, 2, 7, 17})
        for (index columns : {1, 3, 4, 15, 16, 17, 31, 64, 65, 100, 129})
          check_round_trip({depth, columns, lanes * vectors, lanes});
}

void row_major_is_one_panel() {
  for (index columns : {1, 5, 16, 33}) {
    const Packing packing = Packing::row_major(3, columns);
    check_round_trip(packing);
    CHECK(packing.panels() == 1 && packing.size() == 3 * columns && packing.offset(0, 2) == 2 * columns);
  }
}

void last_panel() {
  const Packing packing{5, 70, 32, 8};
  CHECK(packing.panels() == 3);
  CHECK(packing.filled(0) == 32 && packing.filled(2) == 6);
  CHECK(packing.width(0) == 32 && packing.width(2) == 8);
  CHECK(packing.offset(2) == 2 * 32 * 5);
  CHECK(packing.size() == packing.offset(2, 5));
}

void leading_dimensions_are_odd_lines() {
  for (index columns = 1; columns < 300; ++columns)
    for (index lanes : {2, 4, 8, 16}) {
      const index floats = leading_dimension<float>(columns, lanes);
      const index doubles = leading_dimension<double>(columns, lanes);
      CHECK(floats >= round_up(columns, lanes) && floats % 16 == 0 && floats / 16 % 2 == 1);
      CHECK(doubles >= round_up(columns, lanes) && doubles % 8 == 0 && doubles / 8 % 2 == 1);
    }
}

void buffers_are_aligned_zeros() {
  for (index n : {0, 1, 15, 16, 1000}) {
    const Buffer<double> buffer(n);
    CHECK(buffer.size() == n && reinterpret_cast<std::uintptr_t>(buffer.data()) % cache_line == 0);
    for (index i = 0; i < n; ++i) CHECK(buffer[i] == 0);
  }
}

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases({{"round trips at odd sizes", round_trips},
                    {"row-major is one panel", row_major_is_one_panel},
                    {"the last panel is narrower", last_panel},
                    {"leading dimensions are odd numbers of cache lines", leading_dimensions_are_odd_lines},
                    {"buffers are aligned and zero", buffers_are_aligned_zeros}});
}
