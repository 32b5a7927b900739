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

// Row-major to panels, and back. Padding is left as it is: zero, and kept zero by every kernel.
template <class T>
void pack(const Packing& to, const T* rows, T* packed) {
  for (index p = 0; p < to.panels(); ++p) {
    for (index k = 0; k < to.depth; ++k)
      std::copy_n(rows + k * to.columns + p * to.panel, to.filled(p), packed + to.offset(p, k));
  }
}

template <class T>
void unpack(const Packing& from, const T* packed, T* rows) {
  for (index p = 0; p < from.panels(); ++p) {
    for (index k = 0; k < from.depth; ++k)
      std::copy_n(packed + from.offset(p, k), from.filled(p), rows + k * from.columns + p * from.panel);
  }
}

}  // namespace schuss
