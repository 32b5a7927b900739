// The examples of one step, still where the user keeps them.
#pragma once

#include "schuss/types.hpp"

namespace schuss {

enum class Element { float32, float64, uint8 };

// X: `rows` x `features`, rows `stride` elements apart; the network sees x * scale + shift.
struct Examples {
  const void* data = nullptr;
  Element type = Element::float32;
  index rows = 0;
  index features = 0;
  index stride = 0;
  double scale = 1.0;
  double shift = 0.0;
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

  index row(index b) const { return order ? static_cast<index>(order[b]) : first + b; }
  T weight() const { return T(1) / static_cast<T>(count); }  // the only place where 1/B comes from
};

}  // namespace schuss
