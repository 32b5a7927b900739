// The sum of n values in memory, as fast as they come: n is a multiple of 8 vectors.
template <class P>
double read(index n, const typename P::T* x) {
  typename P::V sum[8] = {};
  for (index i = 0; i < n; i += 8 * P::lanes)
#pragma GCC unroll 8
    for (index v = 0; v < 8; ++v) sum[v] += P::load(x + i + v * P::lanes);
  double total = 0;
  for (const auto& s : sum)
    for (index l = 0; l < P::lanes; ++l) total += static_cast<double>(s[l]);
  return total;
}

// The arithmetic a core can do at most: chains of fused multiply-adds in registers, enough of them to hide the
// latency. Returns the number of floating-point operations done.

template <class P>
double arithmetic(index rounds) {
  using V = typename P::V;
  constexpr int sums = kTileRows * kPanelVectors, chains = sums < 12 ? 12 : sums;
  V sum[chains];
  for (int c = 0; c < chains; ++c) sum[c] = P::set(static_cast<typename P::T>(c));
  V factor = P::set(static_cast<typename P::T>(0.5)), term = P::set(static_cast<typename P::T>(1));
  asm volatile("" : "+m"(factor), "+m"(term));  // unknown to the compiler
  for (index i = 0; i < rounds; ++i)
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) sum[c] = P::fma(sum[c], factor, term);
  for (int c = 0; c < chains; ++c) asm volatile("" : : "m"(sum[c]));
  return 2.0 * static_cast<double>(rounds) * chains * static_cast<double>(P::lanes);
}
