// One instruction set's kernels, assembled. Included inside the ISA's own namespace, after kVectorBytes,
// kTileRows, kPanelVectors, fused() and root(): every function here is a copy of that namespace, so that code
// built for one instruction set is never linked into another.

#define SCHUSS_INLINE inline __attribute__((always_inline))
#define SCHUSS_NOINLINE __attribute__((noinline))
#define SCHUSS_UNROLL _Pragma("GCC unroll 16")

#include "pack.inl"
// then the formulas, each file using those above it
#include "formulas/math.inl"
#include "formulas/activation.inl"
#include "formulas/hash.inl"
#include "formulas/loss.inl"
#include "formulas/optimizer.inl"
// and what applies them to vectors, rows and blocks
#include "transpose.inl"
#include "row_sum.inl"
#include "product.inl"
#include "output.inl"
#include "activate.inl"
#include "mask.inl"
#include "update.inl"
#include "rows.inl"
#include "peak.inl"

template <class T>
constexpr KernelTable<T> make_table() {
  using P = Pack<T>;
  return {P::lanes,  kPanelVectors,     kTileRows,       product<P>,     activate<P>,    derivative<P>,   multiply<P>,
          mask<P>,   output<P>,         update<P>,       column_sums<P>, row_squares<P>, tile_squares<P>, transpose<P>,
          gather<T>, sparse_forward<P>, sparse_outer<P>, arithmetic<P>,  read<P>,        elementary<P>};
}

extern constinit const KernelTable<float> float32_table = make_table<float>();
extern constinit const KernelTable<double> float64_table = make_table<double>();
