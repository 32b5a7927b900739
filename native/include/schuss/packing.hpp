// How a (depth x columns) matrix lies in memory as panels: `panel` columns at a time, each panel row by row, the
// last one narrower, its rows padded with zeros to whole vectors. Row-major is the case of one unpadded panel.
#pragma once

#include <algorithm>

#include "schuss/types.hpp"

namespace schuss {

struct Packing {
  index depth = 0;
  index columns = 0;
  index panel = 1;
  index lanes = 1;

  static Packing row_major(index depth, index columns) { return {depth, columns, columns, 1}; }

  SCHUSS_ALWAYS_INLINE index panels() const { return ceil_div(columns, panel); }
  SCHUSS_ALWAYS_INLINE index filled(index p) const { return columns - p * panel < panel ? columns - p * panel : panel; }
  SCHUSS_ALWAYS_INLINE index width(index p) const { return round_up(filled(p), lanes); }
  SCHUSS_ALWAYS_INLINE index offset(index p, index k = 0) const { return p * panel * depth + k * width(p); }
  index size() const { return depth * round_up(columns, lanes); }
};

// A block of rows to another place, each row `columns` long. Padding is left as it is: zero, and kept zero by every
// kernel.
template <class T>
void copy_block(index rows, index columns, const T* from, index from_row, T* to, index to_row) {
  for (index r = 0; r < rows; ++r) std::copy_n(from + r * from_row, columns, to + r * to_row);
}

}  // namespace schuss
