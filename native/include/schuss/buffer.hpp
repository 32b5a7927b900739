// Owned memory aligned to a cache line, zeroed.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "schuss/types.hpp"

namespace schuss {

constexpr index cache_line = 64;

// Large memory comes from the system as zero pages that nobody has touched: each page is placed near the thread that
// writes it first, and in huge pages where the system has them.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(index n) : size_(n) {
    if (n == 0) return;
    const auto bytes = static_cast<std::size_t>(round_up(n * static_cast<index>(sizeof(T)), cache_line));
    void* memory = bytes < kMapped ? std::aligned_alloc(cache_line, bytes) : map(bytes);
    if (!memory) throw std::bad_alloc();
    if (bytes < kMapped) std::memset(memory, 0, bytes);
    data_ = {static_cast<T*>(memory), Free{bytes}};
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  index size() const { return size_; }
  index bytes() const { return data_ ? static_cast<index>(data_.get_deleter().bytes) : 0; }
  T& operator[](index i) { return data_.get()[i]; }
  const T& operator[](index i) const { return data_.get()[i]; }

 private:
  static constexpr std::size_t kMapped = 1 << 20;

  struct Free {
    std::size_t bytes = 0;
    void operator()(T* p) const {
      if (bytes < kMapped) std::free(p);
      else munmap(p, bytes);
    }
  };

  static void* map(std::size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
#if defined(MADV_HUGEPAGE)
    madvise(memory, bytes, MADV_HUGEPAGE);  // a wish
#endif
    return memory;
  }

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
