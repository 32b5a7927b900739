// Moving and summing rows: gather, column sums, squared norms.

template <class T, class Source>
void gather_row(const Source* row, index n, double scale, double shift, T* out) {
  if (scale == 1.0 && shift == 0.0) {
    for (index i = 0; i < n; ++i) out[i] = static_cast<T>(row[i]);
    return;
  }
  const T s = static_cast<T>(scale), t = static_cast<T>(shift);
  for (index i = 0; i < n; ++i) out[i] = static_cast<T>(row[i]) * s + t;  // two roundings on every ISA
}

template <class T, class Source, class Number>
void gather_sparse_row(const Source* values, const Number* columns, const Number* offsets, index row, index n, T* out) {
  for (index i = 0; i < n; ++i) out[i] = 0;
  for (Number i = offsets[row]; i < offsets[row + 1]; ++i) out[columns[i]] += static_cast<T>(values[i]);
}

template <class T, class Source>
void gather_sparse(const Examples& x, index row, T* out) {
  const Source* values = static_cast<const Source*>(x.data);
  const auto from = [&]<class Number>(const Number*) {
    gather_sparse_row(values, static_cast<const Number*>(x.sparse.columns),
                      static_cast<const Number*>(x.sparse.offsets), row, x.features, out);
  };
  if (x.sparse.wide) from(static_cast<const std::int64_t*>(nullptr));
  else from(static_cast<const std::int32_t*>(nullptr));
}

template <class T>
void gather(const Examples& x, index row, T* out) {
  if (x.sparse.columns) {  // neither scaled nor shifted: its zeros are not there to be
    if (x.type == Element::float64) return gather_sparse<T, double>(x, row, out);
    return gather_sparse<T, float>(x, row, out);
  }
  const index at = row * x.stride;
  switch (x.type) {
    case Element::float32: return gather_row(static_cast<const float*>(x.data) + at, x.features, x.scale, x.shift, out);
    case Element::float64:
      return gather_row(static_cast<const double*>(x.data) + at, x.features, x.scale, x.shift, out);
    case Element::uint8:
      return gather_row(static_cast<const std::uint8_t*>(x.data) + at, x.features, x.scale, x.shift, out);
  }
}

template <class P>
void column_sums(Block<const typename P::T> block, typename P::T* out, bool resume) {
  for (index j = 0; j < block.columns; j += P::lanes) {
    typename P::V sum = resume ? P::load(out + j) : typename P::V{};
    for (index r = 0; r < block.rows; ++r) sum += P::load(block.data + r * block.stride + j);
    P::store(out + j, sum);
  }
}

template <class P>
void row_squares(const Packing& packing, const typename P::T* matrix, index begin, index end, double* out) {
  using T = typename P::T;
  for (index k = begin; k < end; ++k) {
    RowSum<P> sum;
    for (index p = 0; p < packing.panels(); ++p) {
      const index first = p * packing.panel;
      const index n = packing.filled(p);
      const T* row = matrix + packing.offset(p, k);
      index j = 0;
      for (; j + P::lanes <= n; j += P::lanes) {
        const auto v = P::load(row + j);
        sum.add(first + j, v * v);
      }
      if (j < n) {
        T rest[P::lanes] = {};
        __builtin_memcpy(rest, row + j, static_cast<std::size_t>(n - j) * sizeof(T));
        const auto v = P::load(rest);
        sum.add(first + j, v * v);
      }
    }
    out[k] = static_cast<double>(sum.total());
  }
}
