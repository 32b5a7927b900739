// What this machine can do: the rate of fused multiply-adds that never leave the registers, and of reading memory.
#pragma once

#include "../kernels/table.hpp"

namespace schuss {

// Peak in FLOP/s of `threads` threads running the table's arithmetic loop for about `seconds`.
template <class T>
double measure_peak(const KernelTable<T>& kernels, int threads, double seconds);

// Bytes a second read by `threads` threads, each from its own `bytes` of memory.
double measure_bandwidth(int threads, index bytes, double seconds);

}  // namespace schuss
