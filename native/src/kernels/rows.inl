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

// work(values, columns, n) of a compressed row, whatever the types of its numbers
template <class Work>
SCHUSS_INLINE void with_sparse_row(const Examples& x, index row, Work work) {
  const auto read = [&]<class Source, class Number>(const Source* values, const Number* columns) {
    const Number* offsets = static_cast<const Number*>(x.sparse.offsets);
    work(values + offsets[row], columns + offsets[row], static_cast<index>(offsets[row + 1] - offsets[row]));
  };
  const auto index_type = [&]<class Source>(const Source* values) {
    if (x.sparse.wide) read(values, static_cast<const std::int64_t*>(x.sparse.columns));
    else read(values, static_cast<const std::int32_t*>(x.sparse.columns));
  };
  if (x.type == Element::float64) index_type(static_cast<const double*>(x.data));
  else index_type(static_cast<const float*>(x.data));
}

template <class T>
void gather_sparse(const Examples& x, index row, T* out) {
  for (index i = 0; i < x.features; ++i) out[i] = 0;
  with_sparse_row(x, row, [&](const auto* values, const auto* columns, index n) {
    for (index i = 0; i < n; ++i) out[columns[i]] += static_cast<T>(values[i]);
  });
}

template <class P, index vectors>
SCHUSS_INLINE void sparse_chain(const Examples& x, index row, const Panel<typename P::T>& panel,
                                const typename P::T* start, typename P::T* out) {
  using T = typename P::T;
  typename P::V sum[vectors];
#pragma GCC unroll 8
  for (index v = 0; v < vectors; ++v) sum[v] = P::load(start + v * P::lanes);
  with_sparse_row(x, row, [&](const auto* values, const auto* columns, index n) {
    for (index i = 0; i < n; ++i) {
      const T* weights = panel.data + columns[i] * panel.row;
      const auto value = P::set(static_cast<T>(values[i]));
#pragma GCC unroll 8
      for (index v = 0; v < vectors; ++v) sum[v] = P::fma(value, P::load(weights + v * P::lanes), sum[v]);
    }
  });
#pragma GCC unroll 8
  for (index v = 0; v < vectors; ++v) P::store(out + v * P::lanes, sum[v]);
}

template <class P>
void sparse_forward(const Examples& x, index row, const Panel<typename P::T>& panel, const typename P::T* start,
                    typename P::T* out) {
  static_assert(kPanelVectors <= 4);
  switch (panel.vectors) {
    case 1: return sparse_chain<P, 1>(x, row, panel, start, out);
    case 2: return sparse_chain<P, 2>(x, row, panel, start, out);
    case 3: return sparse_chain<P, 3>(x, row, panel, start, out);
    default: return sparse_chain<P, 4>(x, row, panel, start, out);
  }
}

template <class P>
void sparse_outer(const Examples& x, index row, index begin, index end, const typename P::T* delta,
                  const Panel<typename P::T>& out) {
  using T = typename P::T;
  with_sparse_row(x, row, [&](const auto* values, const auto* columns, index n) {
    index low = 0;  // first value of a column from `begin` on
    for (index high = n; low < high;) {
      const index middle = (low + high) / 2;
      if (columns[middle] < begin) low = middle + 1;
      else high = middle;
    }
    for (index i = low; i < n && columns[i] < end; ++i) {
      const auto value = P::set(static_cast<T>(values[i]));
      T* sums = out.data + (columns[i] - begin) * out.row;
      for (index j = 0; j < out.vectors * P::lanes; j += P::lanes)
        P::store(sums + j, P::fma(value, P::load(delta + j), P::load(sums + j)));
    }
  });
}

template <class T>
void gather(const Examples& x, index row, T* out) {
  if (x.sparse.columns) return gather_sparse(x, row, out);  // not scaled, not shifted: its zeros are not there to be
  const index at = row * x.stride;
  switch (x.type) {
    case Element::float32: return gather_row(static_cast<const float*>(x.data) + at, x.features, x.scale, x.shift, out);
    case Element::float64:
      return gather_row(static_cast<const double*>(x.data) + at, x.features, x.scale, x.shift, out);
    case Element::uint8:
      return gather_row(static_cast<const std::uint8_t*>(x.data) + at, x.features, x.scale, x.shift, out);
  }
}

// Several vectors at once: each is a chain of additions, which alone would wait for its own last one.
template <class P, index vectors>
SCHUSS_INLINE void sum_columns(Block<const typename P::T> block, typename P::T* out, bool resume) {
  typename P::V sum[vectors];
  for (index v = 0; v < vectors; ++v) sum[v] = resume ? P::load(out + v * P::lanes) : typename P::V{};
  for (index r = 0; r < block.rows; ++r)
    for (index v = 0; v < vectors; ++v) sum[v] += P::load(block.data + r * block.stride + v * P::lanes);
  for (index v = 0; v < vectors; ++v) P::store(out + v * P::lanes, sum[v]);
}

template <class P>
void column_sums(Block<const typename P::T> block, typename P::T* out, bool resume) {
  constexpr index most = 4;
  const index vectors = ceil_div(block.columns, P::lanes);
  index v = 0;
  const auto rest = [&] { return Block<const typename P::T>{block.rows, 0, block.data + v * P::lanes, block.stride}; };
  for (; v + most <= vectors; v += most) sum_columns<P, most>(rest(), out + v * P::lanes, resume);
  for (; v < vectors; ++v) sum_columns<P, 1>(rest(), out + v * P::lanes, resume);
}

// Column c of a group of kSquareColumns goes to lane c, rows ascending; then lanes i and i + 4 are added, i + 2, i + 1.
template <class P>
void tile_squares(Block<const typename P::T> tile, double* out) {
  using T = typename P::T;
  constexpr index most = kPanelVectors;
  typename P::V sum[most] = {};
  const index vectors = ceil_div(tile.columns, P::lanes);
  for (index r = 0; r < tile.rows; ++r)
    for (index v = 0; v < vectors; ++v) {
      const auto w = P::load(tile.data + r * tile.stride + v * P::lanes);
      sum[v] += w * w;
    }
  T lane[most * P::lanes + kSquareColumns] = {};
  for (index v = 0; v < vectors; ++v) P::store(lane + v * P::lanes, sum[v]);
  for (index first = 0; first < tile.columns; first += kSquareColumns) {
    T* s = lane + first;
    for (index half = kSquareColumns / 2; half > 0; half /= 2)
      for (index i = 0; i < half; ++i) s[i] += s[i + half];
    out[first / kSquareColumns] = static_cast<double>(s[0]);
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
