// A whole matrix into panels, and back.
#pragma once

#include "schuss/packing.hpp"

namespace schuss::test {

template <class T>
void pack(const Packing& to, const T* rows, T* packed) {
  for (index p = 0; p < to.panels(); ++p)
    copy_block(to.depth, to.filled(p), rows + p * to.panel, to.columns, packed + to.offset(p), to.width(p));
}

template <class T>
void unpack(const Packing& from, const T* packed, T* rows) {
  for (index p = 0; p < from.panels(); ++p)
    copy_block(from.depth, from.filled(p), packed + from.offset(p), from.width(p), rows + p * from.panel, from.columns);
}

}  // namespace schuss::test
