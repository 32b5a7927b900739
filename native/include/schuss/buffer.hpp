// Owned memory aligned to a cache line, zeroed.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>

#include "schuss/types.hpp"

namespace schuss {

constexpr index cache_line = 64;

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(index n) : size_(n) {
    if (n == 0) return;
    const index bytes = round_up(n * static_cast<index>(sizeof(T)), cache_line);
    data_.reset(static_cast<T*>(std::aligned_alloc(cache_line, static_cast<std::size_t>(bytes))));
    if (!data_) throw std::bad_alloc();
    for (index i = 0; i < n; ++i) data_.get()[i] = T(0);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  index size() const { return size_; }
  T& operator[](index i) { return data_.get()[i]; }
  const T& operator[](index i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  index size_ = 0;
};

// Rows that must be walked down a column are kept an odd number of cache lines apart: a power of two would put
// them all into the same few sets of the cache.
template <class T>
constexpr index leading_dimension(index columns, index lanes) {
  const index line = cache_line / static_cast<index>(sizeof(T));
  return (round_up(round_up(columns, lanes), line) / line | 1) * line;
}

}  // namespace schuss
