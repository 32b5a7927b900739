// Dropout's mask (Srivastava et al. 2014, scaled while learning). Its random numbers come from a counter, as in Salmon
// et al. 2011: a hash of seed, step, layer, row and column, so that nobody has to draw them in turn. Rows hash in 64
// bits (Steele et al. 2014, splitmix64), columns in 32 (Wellons 2018), in two rounds with a key of the row in each.

SCHUSS_INLINE std::uint64_t hash64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// A 32-bit hash in each lane, whatever the lane's width.
template <class P>
SCHUSS_INLINE typename P::U hash32(typename P::U x) {
  using N = typename P::Unsigned;
  constexpr N all = 0xffffffffu;
  x = (x ^ (x >> 16)) * N(0x7feb352du) & all;
  x = (x ^ (x >> 15)) * N(0x846ca68bu) & all;
  return x ^ (x >> 16);
}

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
