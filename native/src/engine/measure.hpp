// What this machine can do: the rate of fused multiply-adds that never leave the registers, of the kernels' products,
// and of reading memory; the time of a barrier.
#pragma once

#include "../kernels/table.hpp"

namespace schuss {

// Peak in FLOP/s of `threads` threads running the table's arithmetic loop for about `seconds`.
template <class T>
double measure_peak(const KernelTable<T>& kernels, int threads, double seconds);

// FLOP/s of one thread at a layer's product as the native step does it: forward with `rows` examples, `depth` inputs
// and `columns` outputs, or the weight gradient of `rows` inputs and `columns` outputs over `depth` examples.
enum class ProductKind { forward, gradient };
template <class T>
double measure_product(const KernelTable<T>& kernels, ProductKind kind, index rows, index depth, index columns,
                       double seconds);

// Seconds that `threads` threads, all awake, need to meet at a barrier.
double measure_barrier(int threads, double seconds);

// Bytes a second read by `threads` threads, each from its own `bytes` of memory.
double measure_bandwidth(int threads, index bytes, double seconds);

}  // namespace schuss
