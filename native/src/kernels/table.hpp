// One instruction set's kernels: function pointers, and what the processor must have.
//
// Kernels compute and never know of threads; whoever divides the work calls them on its part. All of them keep
// the summation orders that docs/mathematics.md writes down, so that no result depends on the table chosen
// (among tables with fused multiply-add) or on how the work was divided.
#pragma once

#include <string_view>
#include <vector>

#include "schuss/batch.hpp"
#include "schuss/network.hpp"
#include "formulas/names.hpp"
#include "schuss/packing.hpp"

namespace schuss {

enum class Elementary { exp = 0, log = 1, softplus = 2, logistic = 3, tanh = 4, expm1 = 5 };

// out(r, j) = start + sum over k ascending of a(r, k) * panel(k, j), one chain of fused multiply-adds.
// a(r, k) is a[r * a_row + k * a_depth]; row k of the panel is at panel + k * panel_row.
template <class T>
struct Product {
  index rows = 0;
  index depth = 0;
  index vectors = 0;  // width of the panel in vectors of the table's lanes, at most panel_vectors
  const T* a = nullptr;
  index a_row = 0;
  index a_depth = 0;
  const T* panel = nullptr;
  index panel_row = 0;
  const T* start = nullptr;  // one value a column (the bias), or null: zero
  bool resume = false;       // instead of the start: go on from the sums in out
  T* out = nullptr;
  index out_row = 0;
};

// A block of rows of activations: `columns` meaningful values in each, then padding up to whole vectors.
template <class T>
struct Block {
  index rows = 0;
  index columns = 0;
  T* data = nullptr;
  index stride = 0;
};

// Columns of a packed matrix that lie together.
template <class T>
struct Panel {
  T* data = nullptr;
  index row = 0;      // from one row to the next
  index vectors = 0;  // in a row, at most panel_vectors
};

// Which values of a layer a step leaves out: those whose random number, drawn by key, row and column, is below the
// threshold. The others are multiplied by `scale`.
template <class T>
struct Mask {
  std::uint64_t key = 0;  // of seed, step and layer
  index row = 0;          // number of the block's first row
  index column = 0;       // number in the layer of the block's first column
  std::uint32_t threshold = 0;
  T scale = 1;
};

// Columns whose squares are added together: a divisor of every table's panel.
constexpr index kSquareColumns = 8;

template <class T>
struct KernelTable {
  index lanes;          // values in a vector
  index panel_vectors;  // vectors in a full panel
  index tile_rows;      // rows of the register tile

  void (*product)(const Product<T>&);
  // z becomes a = f(z), and slope, unless it is none, f'(z)
  void (*activate)(Activation, Block<T> z, Block<T> slope);
  // delta *= f'(z), f' read off the activation a = f(z)
  void (*derivative)(Activation, Block<T> delta, Block<const T> a);
  // delta *= slope
  void (*multiply)(Block<T> delta, Block<const T> slope);
  void (*mask)(const Mask<T>&, Block<T> a, Block<T> slope);
  // z becomes a; targets become delta, row r times weights[r]; losses[r] is the example's loss without its weight.
  // weights are readable up to a whole vector
  void (*output)(const LossFormula<T>&, Activation, Block<T> z, Block<T> targets, const T* weights, double* losses);
  void (*update)(const Update<T>&, index n, const T* gradient, T* w, T* state0, T* state1);
  // out[j] = sum over rows ascending, or on top of out[j] where it is to resume
  void (*column_sums)(Block<const T>, T* out, bool resume);
  // out[k] = sum over the columns of row k of squares, for rows [begin, end)
  void (*row_squares)(const Packing&, const T* matrix, index begin, index end, double* out);
  // out[g] = sum over the rows and columns 8 g to 8 g + 7 of squares; rows are whole vectors, padded with zeros
  void (*tile_squares)(Block<const T>, double* out);
  // destination(c, r) = source(r, c)
  void (*transpose)(index rows, index columns, const T* source, index source_row, T* destination,
                    index destination_row);
  // one row of X, converted, scaled and shifted
  void (*gather)(const Examples&, index row, T* out);
  // of a compressed row x, what the product has without the zeros: out[j] = start[j] + sum over k of x(k) * panel(k, j)
  void (*sparse_forward)(const Examples&, index row, const Panel<T>&, const T* start, T* out);
  // and for inputs [begin, end): out(k - begin, j) += x(k) * delta[j], rows of out as those of `panel`
  void (*sparse_outer)(const Examples&, index row, index begin, index end, const T* delta, const Panel<T>& out);

  // fused multiply-adds in registers; returns the operations done
  double (*arithmetic)(index rounds);
  // reads n values, a multiple of 8 vectors; returns their sum
  double (*read)(index n, const T* x);
  // out[i] = f(x[i]), f one of the elementary functions, for tests of their accuracy
  void (*elementary)(Elementary, index n, const T* x, T* out);

  index panel() const { return lanes * panel_vectors; }
};

struct Isa {
  std::string_view name;
  std::string_view needs;
  bool fused;           // has fused multiply-add: shares its bits with every other such table
  bool (*available)();  // by this processor and this operating system
  const KernelTable<float>* float32;
  const KernelTable<double>* float64;

  template <class T>
  const KernelTable<T>& table() const;
};

template <>
inline const KernelTable<float>& Isa::table<float>() const {
  return *float32;
}
template <>
inline const KernelTable<double>& Isa::table<double>() const {
  return *float64;
}

// Every table of this build, best first.
const std::vector<Isa>& isas();
// The named one, or for "auto" the best available; throws std::invalid_argument for an unknown or missing one.
const Isa& select_isa(std::string_view name);

}  // namespace schuss
