// Dropout's mask (Srivastava et al. 2014, scaled while learning). Its random numbers come from a counter, as in Salmon
// et al. 2011: a hash of seed, step, layer, row and column, so that nobody has to draw them in turn. Rows hash in 64
// bits (Steele et al. 2014, splitmix64), columns in 32 (Wellons 2018), in two rounds with a key of the row in each.

SCHUSS_INLINE unsigned long long hash64(unsigned long long x) {
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
