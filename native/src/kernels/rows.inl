// Moving and summing rows: gather, column sums, squared norms, transposition.

template <class T, class Source>
void gather_row(const Source* row, index n, double scale, double shift, T* out) {
  if (scale == 1.0 && shift == 0.0) {
    for (index i = 0; i < n; ++i) out[i] = static_cast<T>(row[i]);
    return;
  }
  const T s = static_cast<T>(scale), t = static_cast<T>(shift);
  for (index i = 0; i < n; ++i) out[i] = static_cast<T>(row[i]) * s + t;  // two roundings on every ISA
}

template <class T>
void gather(const Examples& x, index row, T* out) {
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

// Transposes a square of vectors in registers: log2(lanes) rounds of interleaving the first half of the rows with
// the second.
template <class P, std::size_t... I>
SCHUSS_INLINE void transpose_square(typename P::V (&row)[P::lanes], std::index_sequence<I...>) {
  constexpr int n = static_cast<int>(P::lanes);
  for (int round = 1; round < n; round *= 2) {
    typename P::V next[P::lanes];
#pragma GCC unroll 16
    for (int i = 0; i < n / 2; ++i) {
      next[2 * i] = __builtin_shufflevector(row[i], row[i + n / 2], (static_cast<int>(I) / 2 + (I % 2 ? n : 0))...);
      next[2 * i + 1] =
          __builtin_shufflevector(row[i], row[i + n / 2], (n / 2 + static_cast<int>(I) / 2 + (I % 2 ? n : 0))...);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) row[i] = next[i];
  }
}

// Rows past the source's last are taken as zero, so that the destination's padding stays zero.
template <class P>
void transpose(index rows, index columns, const typename P::T* source, index source_row, typename P::T* destination,
               index destination_row) {
  for (index r = 0; r < rows; r += P::lanes)
    for (index c = 0; c < columns; c += P::lanes) {
      typename P::V square[P::lanes];
      for (index i = 0; i < P::lanes; ++i)
        square[i] = r + i < rows ? P::load(source + (r + i) * source_row + c) : typename P::V{};
      transpose_square<P>(square, std::make_index_sequence<static_cast<std::size_t>(P::lanes)>());
      for (index i = 0; i < P::lanes && c + i < columns; ++i)
        P::store(destination + (c + i) * destination_row + r, square[i]);
    }
}
