// Transposition, a square of vectors at a time.

// In registers: log2(lanes) rounds of interleaving the first half of the rows with the second.
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
