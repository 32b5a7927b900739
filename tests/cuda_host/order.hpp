// Which accesses surely happen before which.
#pragma once

#include <cstdint>

namespace host_gpu {

using Tick = std::uint32_t;

constexpr unsigned kMaxThreads = 1024, kWarp = 32;

// Time passes at every meeting, block and launch. What happened before `since` is ordered before the present access.
struct Clock {
  std::uint32_t now = 3;
  std::uint32_t graph_begin = 3;   // before it: ordered before all that runs now
  std::uint32_t launch_begin = 3;  // from graph_begin to here: other nodes of the same graph
  std::uint32_t block_begin = 3;   // from launch_begin to here: other blocks of the same launch
  std::uint32_t barrier = 3;       // from block_begin to here: this block, before its last barrier
  std::uint32_t warp_barrier[kMaxThreads / kWarp] = {};
  unsigned thread = 0;
};

extern Clock present;

// Who: a thread, several lanes of a warp, or several warps.
constexpr std::uint16_t kLanesOf = 0x4000, kSeveral = 0x7fff;

// Did what `who` did at that time surely happen before what the present thread does now? Atomic operations of another
// block did where the present one has read one of them.
bool ordered(Tick at, std::uint16_t who, bool atomic);
bool ordered_elsewhere(Tick at, std::uint16_t who, bool atomic);  // of another block or node

void order_launch();
void order_block();
void released();               // a fence
void publish(const void* at);  // an atomic operation

}  // namespace host_gpu
