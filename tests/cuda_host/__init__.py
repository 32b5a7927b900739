"""A GPU for tests, on the host: the kernels' own source, compiled by the C++ compiler, with fibres for threads.

block.cpp runs a grid: its blocks one after another, the threads of a block until each must wait, in an order that the
seed draws, warps and lanes apart. memory.cpp is told of every access (by the calls that -fsanitize=thread makes; the
sanitizer's own library takes no part) and knows who wrote and who read each byte, and when. So these are
errors, with the place in the source, whatever the order was:

- accesses of two threads, blocks or nodes of a graph, one of them a write, that no barrier, no warp barrier, no counter
  behind a fence and no edge of the graph orders
- an access outside of all buffers, or a read of what nobody wrote
- barriers and warp operations that not all threads reach; a launch that does not end
- misalignment, and indexes beyond a local array

Memory begins as NaN, and an asynchronous copy leaves NaN until it is waited for. Volatile accesses may meet each other,
as atomic ones: that is how a kernel says that a race is meant.

What it cannot show: how a GPU orders sums within its matrix units (here in float64, rounded once), what caches and weak
ordering do beyond the rules above, blocks that truly run at once, and every kind of speed.
"""
