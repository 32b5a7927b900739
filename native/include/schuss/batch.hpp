// The examples of one step, still where the user keeps them.
#pragma once

#include "schuss/types.hpp"

namespace schuss {

enum class Element { float32, float64, uint8 };

// Where a matrix of compressed rows (CSR) keeps its values: those of row r are data[offsets[r]] to
// data[offsets[r + 1] - 1], in the columns named at the same places, ascending; values of one column add up.
struct Sparse {
  const void* columns = nullptr;  // null: the matrix is dense
  const void* offsets = nullptr;
  bool wide = false;  // columns and offsets are of 64 bits, else of 32
};

// X: `rows` x `features`, dense rows `stride` elements apart; the network sees x * scale + shift.
struct Examples {
  const void* data = nullptr;
  Element type = Element::float32;
  index rows = 0;
  index features = 0;
  index stride = 0;
  double scale = 1.0;
  double shift = 0.0;
  Sparse sparse = {};
};

// y: class numbers, or a dense (rows x outputs) matrix; both null when there is nothing to learn from.
template <class T>
struct Targets {
  const std::int32_t* labels = nullptr;
  const T* dense = nullptr;
};

// Example b of the batch is row order[b], or row first + b where there is no order.
template <class T>
struct Batch {
  Examples x;
  Targets<T> y;
  const std::int64_t* order = nullptr;
  index first = 0;
  index count = 0;
  const double* weights = nullptr;  // one a row of X; null: all 1
  double total = 0;                 // of the batch's weights: `count` where all are 1
  double unit = 1;                  // their mean, so that `total / unit` examples of it weigh as much
  std::int64_t step = 0;            // number of the step, which dropout draws by

  index row(index b) const { return order ? static_cast<index>(order[b]) : first + b; }
  double weight(index b) const { return weights ? weights[row(b)] : 1.0; }
  T mean() const { return static_cast<T>(unit / total); }  // with `total`, the only place where 1/B comes from
};

}  // namespace schuss
