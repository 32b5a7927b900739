// Sums along a row, and softmax, which is made of one. They go through 16 virtual lanes (column j to lane
// j mod 16, ascending), then one fixed tree, so that they do not depend on the width of a vector.

constexpr index kVirtualLanes = 16;

template <class P>
struct RowSum {
  static constexpr index vectors = kVirtualLanes / P::lanes;
  typename P::V lane[vectors] = {};

  SCHUSS_INLINE void add(index j, typename P::V v) { lane[(j / P::lanes) % vectors] += v; }
  SCHUSS_INLINE typename P::T total() const {
    typename P::T s[kVirtualLanes];
    for (index v = 0; v < vectors; ++v) P::store(s + v * P::lanes, lane[v]);
    for (index half = kVirtualLanes / 2; half > 0; half /= 2)
      for (index i = 0; i < half; ++i) s[i] += s[i + half];
    return s[0];
  }
};

// True in the lanes that hold columns below `columns`, false in the padding.
template <class P>
SCHUSS_INLINE typename P::I in_row(index j, index columns) {
  return P::ascending(j) < (static_cast<typename P::Integer>(columns) - typename P::I{});
}

template <class T>
SCHUSS_INLINE T row_maximum(const T* z, index columns) {
  T top = z[0];
  for (index j = 1; j < columns; ++j) top = z[j] > top ? z[j] : top;
  return top;
}

// e^(z - top) in place, top the row's maximum; returns the sum. Padding becomes 0.
template <class P>
SCHUSS_INLINE typename P::T exponentials(typename P::T* z, index columns, typename P::T top) {
  RowSum<P> sum;
  for (index j = 0; j < columns; j += P::lanes) {
    const auto e = P::select(in_row<P>(j, columns), exp<P>(P::load(z + j) - P::set(top)), P::set(0));
    P::store(z + j, e);
    sum.add(j, e);
  }
  return sum.total();
}

template <class P>
SCHUSS_INLINE void divide_row(typename P::T* row, index columns, typename P::T by) {
  for (index j = 0; j < columns; j += P::lanes) P::store(row + j, P::load(row + j) / P::set(by));
}

template <class P>
void softmax_block(Block<typename P::T> z) {
  for (index r = 0; r < z.rows; ++r) {
    typename P::T* row = z.data + r * z.stride;
    divide_row<P>(row, z.columns, exponentials<P>(row, z.columns, row_maximum(row, z.columns)));
  }
}
