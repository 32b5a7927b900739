// Dropout over blocks of rows.

template <class P>
void mask(const Mask<typename P::T>& m, Block<typename P::T> a, Block<typename P::T> slope) {
  using U = typename P::U;
  using N = typename P::Unsigned;
  const auto scale = P::set(m.scale), none = P::set(0);
  for (index r = 0; r < a.rows; ++r) {
    const std::uint64_t key = hash64(m.key + static_cast<std::uint64_t>(m.row + r));
    const N first = static_cast<std::uint32_t>(key), second = static_cast<std::uint32_t>(key >> 32);
    typename P::T* values = a.data + r * a.stride;
    typename P::T* slopes = slope.data + r * slope.stride;
    for (index j = 0; j < a.columns; j += P::lanes) {
      const U column = __builtin_bit_cast(U, P::ascending(m.column + j));
      const U drawn = hash32<P>(hash32<P>(column ^ first) ^ second);
      const auto factor = P::select(drawn < N(m.threshold), none, scale);
      P::store(values + j, P::load(values + j) * factor);
      P::store(slopes + j, P::load(slopes + j) * factor);
    }
  }
}
