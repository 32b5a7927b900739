#include "order.hpp"

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace host_gpu {

Clock present;

namespace {

// Launches of the present graph so far: when each began, and whether the present one was told to come after it.
std::vector<Tick> node_begins;
std::vector<bool> node_before;
int next_node = -1;

// What a thread of another block published by an atomic operation: accesses before its last barrier, if it or whoever
// made them passed a fence in between, and its own before its last fence.
struct Published {
  unsigned thread;
  Tick barrier;
  std::vector<Tick> fences;  // each thread's last

  bool covers(Tick at, std::uint16_t who) const {
    if (who == thread) return at < fences[thread];
    return at < barrier && (fences[thread] > barrier || who >= kMaxThreads || at < fences[who]);
  }
};

// Blocks of the present launch: when each began, and what they published, by their number.
using Blocks = std::unordered_map<std::size_t, Published>;
std::vector<Tick> block_begins;
Blocks known;  // to the present block, by what it read of the same place in memory
std::unordered_map<const void*, Blocks> published;
Tick fences[kMaxThreads];  // of the present block

std::size_t index_of(const std::vector<Tick>& begins, Tick at) {
  return std::upper_bound(begins.begin(), begins.end(), at) - begins.begin() - 1;
}

}  // namespace

bool ordered_elsewhere(Tick at, std::uint16_t who, bool atomic) {
  if (at < present.graph_begin) return true;
  if (at < present.launch_begin) return node_before[index_of(node_begins, at)];
  const auto block = known.find(index_of(block_begins, at));
  return block != known.end() && (atomic || block->second.covers(at, who));
}

bool ordered(Tick at, std::uint16_t who, bool atomic) {
  if (at < present.block_begin) return ordered_elsewhere(at, who, atomic);
  if (at < present.barrier || who == present.thread) return true;
  const unsigned warp = present.thread / kWarp;
  if (who == kSeveral || (who & kLanesOf ? who - kLanesOf : who / kWarp) != warp) return false;
  return at < present.warp_barrier[warp];
}

void order_launch() {
  present.launch_begin = ++present.now;
  if (next_node <= 0) present.graph_begin = present.launch_begin;
  node_begins.push_back(present.launch_begin);
  block_begins.clear();
  known.clear();
  published.clear();
}

void order_block() {
  present.block_begin = present.barrier = ++present.now;
  block_begins.push_back(present.block_begin);
  known.clear();
  std::fill_n(fences, kMaxThreads, 0);
}

void released() { fences[present.thread] = ++present.now; }

void publish(const void* at) {
  Blocks& here = published[at];
  for (const auto& [block, what] : here) known.insert_or_assign(block, what);
  ++present.now;
  here[block_begins.size() - 1] = {present.thread, present.barrier, {fences, fences + kMaxThreads}};
}

}  // namespace host_gpu

// The next launch is one of a graph: number 0 begins it; before[i] where it comes after the i-th so far. Outside of
// graphs `count` is -1: a launch comes after all before it.
extern "C" void host_gpu_node(int count, const unsigned char* before) {
  using namespace host_gpu;
  next_node = count;
  if (count <= 0) node_begins.clear();
  node_before.assign(before, before + std::max(count, 0));
}
