// Sums along a row, and softmax, which is made of one. They go through 16 virtual lanes (column j to lane
// j mod 16, ascending), then one fixed tree, so that they do not depend on the width of a vector.
//
// A formula over rows is written once and sees them in one of two ways: Along, one row whose columns fill vectors, or
// Across, as many rows as a vector has lanes, each column a vector. One is a number of a row: a scalar along, a vector
// across. What it computes for a row is the same, bit by bit.

constexpr index kVirtualLanes = 16;

template <class One>
SCHUSS_INLINE One add_lanes(One (&lane)[kVirtualLanes]) {
  for (index half = kVirtualLanes / 2; half > 0; half /= 2)
    for (index i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

template <class P>
struct RowSum {
  static constexpr index vectors = kVirtualLanes / P::lanes;
  typename P::V lane[vectors] = {};

  SCHUSS_INLINE void add(index j, typename P::V v) { lane[(j / P::lanes) % vectors] += v; }
  SCHUSS_INLINE typename P::T total() const {
    typename P::T s[kVirtualLanes];
    for (index v = 0; v < vectors; ++v) P::store(s + v * P::lanes, lane[v]);
    return add_lanes(s);
  }
};

template <class Pack>
struct Along {
  using P = Pack;
  using One = typename P::T;
  using V = typename P::V;
  using I = typename P::I;
  static constexpr index step = P::lanes;  // from one vector's first column to the next's
  using Sum = RowSum<P>;

  index columns;
  One* data;

  SCHUSS_INLINE V load(index j) const { return P::load(data + j); }
  SCHUSS_INLINE void store(index j, V v) const { P::store(data + j, v); }
  // true in the lanes that hold columns, false in the padding
  SCHUSS_INLINE I inside(index j) const { return P::ascending(j) < (static_cast<typename P::Integer>(columns) - I{}); }
  SCHUSS_INLINE One maximum() const {
    One top = data[0];
    for (index j = 1; j < columns; ++j) top = data[j] > top ? data[j] : top;
    return top;
  }
  SCHUSS_INLINE static V spread(One x) { return P::set(x); }
  // a number of the row, of an array that starts at the view's first; and one of each column
  SCHUSS_INLINE static V factor(const One* rows) { return P::set(rows[0]); }
  SCHUSS_INLINE static V column(const One* columns, index j) { return P::load(columns + j); }
  SCHUSS_INLINE static One logarithm(One x) { return log<P>(P::set(x))[0]; }
  SCHUSS_INLINE static One row(One x, index) { return x; }
};

template <class Pack>
struct Across {
  using P = Pack;
  using V = typename P::V;
  using One = V;
  using I = typename P::I;
  static constexpr index step = 1;
  struct Sum {
    V lane[kVirtualLanes] = {};
    SCHUSS_INLINE void add(index j, V v) { lane[j % kVirtualLanes] += v; }
    SCHUSS_INLINE V total() { return add_lanes(lane); }
  };

  index columns;
  typename P::T* data;  // column j at data + j * lanes

  SCHUSS_INLINE V load(index j) const { return P::load(data + j * P::lanes); }
  SCHUSS_INLINE void store(index j, V v) const { P::store(data + j * P::lanes, v); }
  SCHUSS_INLINE static I inside(index) { return I{} == I{}; }
  SCHUSS_INLINE V maximum() const {
    V top = load(0);
    for (index j = 1; j < columns; ++j) top = P::select(load(j) > top, load(j), top);
    return top;
  }
  SCHUSS_INLINE static V spread(V x) { return x; }
  SCHUSS_INLINE static V factor(const typename P::T* rows) { return P::load(rows); }
  SCHUSS_INLINE static V column(const typename P::T* columns, index j) { return P::set(columns[j]); }
  SCHUSS_INLINE static V logarithm(V x) { return log<P>(x); }
  SCHUSS_INLINE static typename P::T row(V x, index r) { return x[r]; }
};

// Rows of so few columns are taken across: along, most of a vector would be padding.
constexpr index kFewColumns = kVirtualLanes;

// work(view of rows of z, view of the same rows of y, number of the first) for all rows; y may be no block at all.
template <class P, class Work>
SCHUSS_INLINE void each_view(Block<typename P::T> z, Block<typename P::T> y, Work work) {
  using T = typename P::T;
  if (z.columns > kFewColumns) {
    for (index r = 0; r < z.rows; ++r)
      work(Along<P>{z.columns, z.data + r * z.stride}, Along<P>{z.columns, y.data + r * y.stride}, r, index{1});
    return;
  }
  const index padded = round_up(z.columns, P::lanes);
  alignas(64) T zs[kFewColumns * P::lanes], ys[kFewColumns * P::lanes];
  for (index r = 0; r < z.rows; r += P::lanes) {
    const index rows = z.rows - r < P::lanes ? z.rows - r : P::lanes;
    transpose<P>(rows, padded, z.data + r * z.stride, z.stride, zs, P::lanes);
    if (y.data) transpose<P>(rows, padded, y.data + r * y.stride, y.stride, ys, P::lanes);
    work(Across<P>{z.columns, zs}, Across<P>{z.columns, ys}, r, rows);
    for (index j = z.columns; j < padded; ++j) {
      P::store(zs + j * P::lanes, typename P::V{});
      P::store(ys + j * P::lanes, typename P::V{});
    }
    transpose<P>(padded, rows, zs, P::lanes, z.data + r * z.stride, z.stride);
    if (y.data) transpose<P>(padded, rows, ys, P::lanes, y.data + r * y.stride, y.stride);
  }
}
