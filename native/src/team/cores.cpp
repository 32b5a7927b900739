#include "cores.hpp"

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace schuss {
namespace {

#if defined(__linux__)
// Room for the largest machines: sched_getaffinity fails where the system knows more processors than the mask holds.
class Mask {
 public:
  static constexpr int kMost = 1 << 16;
  Mask() : set_(CPU_ALLOC(kMost)) { CPU_ZERO_S(size(), set_); }
  ~Mask() { CPU_FREE(set_); }
  Mask(const Mask&) = delete;
  Mask& operator=(const Mask&) = delete;

  std::vector<int> read() const {
    std::vector<int> found;
    if (sched_getaffinity(0, size(), set_) == 0)
      for (int i = 0; i < kMost; ++i)
        if (CPU_ISSET_S(i, size(), set_)) found.push_back(i);
    return found;
  }
  bool write(const std::vector<int>& allowed) const {
    CPU_ZERO_S(size(), set_);
    for (int i : allowed) CPU_SET_S(i, size(), set_);
    return sched_setaffinity(0, size(), set_) == 0;
  }

 private:
  static std::size_t size() { return CPU_ALLOC_SIZE(kMost); }
  cpu_set_t* set_;
};

std::string siblings(int processor) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/thread_siblings_list");
  std::string list;
  std::getline(file, list);
  return list.empty() ? std::to_string(processor) : list;
}
#endif

// Allowed processors in order, and how many of them are the first of their core.
std::pair<std::vector<int>, int> in_order() {
  std::vector<int> first, others;
#if defined(__linux__)
  std::set<std::string> cores;
  for (int i : Mask().read()) (cores.insert(siblings(i)).second ? first : others).push_back(i);
#endif
  const int physical = static_cast<int>(first.size());
  first.insert(first.end(), others.begin(), others.end());
  return {first, physical};
}

}  // namespace

std::vector<int> processors() { return in_order().first; }

int allowed_cores() {
#if defined(__linux__)
  if (const auto allowed = Mask().read(); !allowed.empty()) return static_cast<int>(allowed.size());
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int physical_cores() {
  const int cores = in_order().second;
  return cores > 0 ? cores : allowed_cores();
}

Pinned::Pinned([[maybe_unused]] int processor) {
#if defined(__linux__)
  const Mask mask;
  before_ = mask.read();
  if (!mask.write({processor})) before_.clear();
#endif
}

Pinned::~Pinned() {
#if defined(__linux__)
  if (!before_.empty()) Mask().write(before_);
#endif
}

}  // namespace schuss
