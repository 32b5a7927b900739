// The matrix product of the core: forward, delta and weight gradient are this one text with other strides.
//
// A register tile of MR rows x NV vectors holds its sums in registers while k runs; each sum is one chain of
// fused multiply-adds in ascending k. Long sums are cut into blocks that fit the second-level cache, and a block
// goes on from the stored running sum, so cutting changes no bit.

constexpr index kDepthBlock = 1024;

template <class P, int MR, int NV>
SCHUSS_NOINLINE void tile(const Product<typename P::T>& p, index row, index k0, index k1) {
  using T = typename P::T;
  using V = typename P::V;
  T* out = p.out + row * p.out_row;
  V sum[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v)
      sum[r][v] = k0 > 0 || p.resume ? P::load(out + r * p.out_row + v * P::lanes)
                  : p.start          ? P::load(p.start + v * P::lanes)
                                     : V{};
  const T* a = p.a + row * p.a_row + k0 * p.a_depth;
  const T* b = p.panel + k0 * p.panel_row;
  for (index k = k0; k < k1; ++k, a += p.a_depth, b += p.panel_row) {
    V bv[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) bv[v] = P::load(b + v * P::lanes);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      const V av = P::set(a[r * p.a_row]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[r][v] = P::fma(av, bv[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) P::store(out + r * p.out_row + v * P::lanes, sum[r][v]);
}

template <class T>
using TileFunction = void (*)(const Product<T>&, index, index, index);

// of[v - 1][r - 1] computes r rows of v vectors. Plain arrays: operator[] of std::array is a function that the linker
// could share between instruction sets.
template <class T>
struct Tiles {
  TileFunction<T> of[kPanelVectors][kTileRows];
};

template <class P, int NV, int... R>
constexpr void fill_tiles(Tiles<typename P::T>& tiles, std::integer_sequence<int, R...>) {
  ((tiles.of[NV - 1][R] = &tile<P, R + 1, NV>), ...);
}
template <class P, int... C>
constexpr Tiles<typename P::T> make_tiles(std::integer_sequence<int, C...>) {
  Tiles<typename P::T> tiles{};
  (fill_tiles<P, C + 1>(tiles, std::make_integer_sequence<int, kTileRows>()), ...);
  return tiles;
}

template <class P>
void product(const Product<typename P::T>& p) {
  static constexpr auto tiles = make_tiles<P>(std::make_integer_sequence<int, kPanelVectors>());
  const index block = ceil_div(p.depth, ceil_div(p.depth, kDepthBlock));
  for (index k0 = 0; k0 < p.depth; k0 += block) {
    const index k1 = k0 + block < p.depth ? k0 + block : p.depth;
    for (index row = 0; row < p.rows; row += kTileRows) {
      const index rows = p.rows - row < kTileRows ? p.rows - row : kTileRows;
      tiles.of[p.vectors - 1][rows - 1](p, row, k0, k1);
    }
  }
}
