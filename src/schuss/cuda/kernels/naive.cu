// The kernels of plan `cuda-naive`: the GPU implementation of the 2016 study, in the version without bank conflicts.
//
// The whole minibatch takes each layer in one product of matrices. A product is cut into square tiles of its result, a
// block of threads a tile, a thread a number of it. Along the terms of its sums a block fetches a square of each
// operand into shared memory, a number of each a thread; the threads wait for one another, and each adds its 32
// products. So a number comes from global memory once a tile, not 32 times. The gradient goes to memory, and a kernel
// of its own updates the parameters. step.cu is what becomes of this with larger tiles, sums in registers, copies
// beside the computing, the matrix units, and the update where the gradient comes to be.
//
// Fetching the minibatch, what follows a product, losses, norms and the update are shared with step.cu.
#include "common.cuh"
#include "layers.cuh"
#include "weights.cuh"

namespace schuss::gpu::naive {

static_assert(!Number::matrix_units, "for float32 and float64");

constexpr int kSide = 32;  // a warp is a row of a tile: it fetches 32 neighbours at once
constexpr int kThreads = kSide * kSide;

// Shared memory has 32 banks, and numbers side by side lie in different ones. A warp that reads along a row of a square
// takes one from each bank at once; down a column all 32 would lie in one bank, and the reads would take turns. A
// column more than is needed moves each row on by a bank.
struct Square {
  T at[kSide][kSide + 1];
};
constexpr int kSquares = 2 * sizeof(Square);

struct Matrix {
  const T* data;
  int rows, columns, stride;

  // Outside are zeros, which add nothing: sizes need not be multiples of the tile's.
  SCHUSS_DEVICE T operator()(int row, int column) const {
    return row < rows && column < columns ? data[static_cast<long long>(row) * stride + column] : T(0);
  }
};

SCHUSS_DEVICE int own_row() { return static_cast<int>(threadIdx.x) / kSide; }
SCHUSS_DEVICE int own_column() { return static_cast<int>(threadIdx.x) % kSide; }

// Adds to `sum` the thread's number of A B, of A B^T (b_turned) or of A^T B (a_turned), in the tile that begins at row
// and column; terms ascending. Operands are fetched along their rows, and turned when the squares are read.
// beside(square of B) is called on each.
template <bool a_turned, bool b_turned, class Beside>
SCHUSS_DEVICE void add_product(T& sum, const Matrix& a, const Matrix& b, int row, int column, int terms,
                               Beside beside) {
  Square* squares = shared_memory<Square>();
  auto &left = squares[0].at, &right = squares[1].at;
  const int y = own_row(), x = own_column();
  for (int first = 0; first < terms; first += kSide) {
    left[y][x] = a_turned ? a(first + y, row + x) : a(row + y, first + x);
    right[y][x] = b_turned ? b(column + y, first + x) : b(first + y, column + x);
    barrier();  // both squares are there
    SCHUSS_UNROLL
    for (int k = 0; k < kSide; ++k)
      sum = fma(a_turned ? left[k][y] : left[y][k], b_turned ? right[x][k] : right[k][x], sum);
    beside(right);
    barrier();  // nobody reads them any more
  }
}

// The tile's sums in shared memory, for what follows.
SCHUSS_DEVICE Finished finished(T sum, int row, int rows_end, int column, int columns_end) {
  shared_memory<T>()[own_row() * Finished::stride(kSide) + own_column()] = sum;
  barrier();
  return {kSide, kSide, kThreads, row, rows_end, column, columns_end};
}
static_assert(kSide * Finished::stride(kSide) * sizeof(T) <= kSquares);

// Forward and delta: the block's tile of A W or of A W^T; follow(finished tile).
template <bool w_turned, class Follow>
SCHUSS_DEVICE void layer_product(const ProductArguments& p, const T* bias, Follow follow) {
  if (p.at.over()) return;
  const int examples = static_cast<int>(p.at.step().count);
  const int tiles = (p.columns + kSide - 1) / kSide, tile = static_cast<int>(blockIdx.x);
  const int row = tile / tiles * kSide, column = tile % tiles * kSide;
  if (row >= examples) return;
  const Matrix a{static_cast<const T*>(p.a) + p.at.half() * p.a_half, examples, p.depth, p.a_stride};
  const T* weights = static_cast<const T*>(p.w);
  const Matrix w =
      w_turned ? Matrix{weights, p.columns, p.depth, p.w_stride} : Matrix{weights, p.depth, p.columns, p.w_stride};
  T sum = bias && column + own_column() < p.columns ? bias[column + own_column()] : T(0);
  add_product<false, w_turned>(sum, a, w, row, column, p.depth, [](const auto&) {});
  follow(finished(sum, row, examples, column, p.out_stride));
}

// The block's tile of dW = A^T D; the tiles of the first inputs sum the columns of D too, which is db.
SCHUSS_DEVICE void gradient_tile(const UpdateArguments& p) {
  if (!p.at.taken()) return;
  int l = 0;
  while (l + 1 < p.n_layers && static_cast<int>(blockIdx.x) >= p.layers[l + 1].first_block) ++l;
  const LayerArguments& layer = p.layers[l];
  const int tile = static_cast<int>(blockIdx.x) - layer.first_block, examples = static_cast<int>(p.at.step().count);
  const int row = tile / layer.tiles_across * kSide, column = tile % layer.tiles_across * kSide;
  const Matrix a{static_cast<const T*>(layer.a) + p.at.half() * layer.a_half, examples, layer.inputs, layer.a_stride};
  const Matrix d{static_cast<const T*>(layer.delta), examples, layer.outputs, layer.stride};
  const bool sums_columns = row == 0 && own_row() == 0;
  T sum = 0, column_sum = 0;
  if (p.go_on) {  // each sum goes on where it stopped
    if (row + own_row() < layer.inputs) sum = kept(layer, row + own_row(), column + own_column());
    if (sums_columns) column_sum = kept(layer, layer.inputs, column + own_column());
  }
  add_product<true, false>(sum, a, d, row, column, examples, [&](const auto& right) {
    if (sums_columns)
      for (int k = 0; k < kSide; ++k) column_sum += right[k][own_column()];
  });
  finish_weights(p, layer, finished(sum, row, layer.inputs, column, layer.stride));
  if (row > 0) return;
  barrier();
  T* line = shared_memory<T>();
  if (sums_columns) line[own_column()] = column_sum;
  barrier();
  finish_bias(p, layer, line, column, kSide);
}

}  // namespace schuss::gpu::naive

SCHUSS_KERNEL(forward, ProductArguments, naive::kThreads, naive::kSquares, naive::kSide, naive::kSide) {
  naive::layer_product<false>(p, static_cast<const T*>(p.bias), [&](const Finished& tile) { finish_forward(p, tile); });
}
SCHUSS_KERNEL(delta, ProductArguments, naive::kThreads, naive::kSquares, naive::kSide, naive::kSide) {
  naive::layer_product<true>(p, nullptr, [&](const Finished& tile) { finish_delta(p, tile); });
}
SCHUSS_KERNEL(weights, UpdateArguments, naive::kThreads, naive::kSquares, naive::kSide, naive::kSide) {
  naive::gradient_tile(p);
}
