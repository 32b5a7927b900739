// What this machine can do, for the planner and for `schuss info`. All rates are the best of several short rounds.
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

// Seconds of one register tile of `rows` rows and `vectors` vectors, its operands in the first-level cache.
template <class T>
double measure_tile(const KernelTable<T>& kernels, index rows, index vectors, index depth, double seconds);

// Seconds that `threads` threads, all awake, need to meet at a barrier.
double measure_barrier(int threads, double seconds);

// Bytes a second through `threads` threads, each with `bytes` of memory of its own: read, or read and written back by
// plain descent's update, both ways counted.
enum class Stream { read, update };
template <class T>
double measure_stream(const KernelTable<T>& kernels, Stream kind, int threads, index bytes, double seconds);

// Seconds to fetch a row of `features` float32 values, rows in random order from `bytes` of memory.
template <class T>
double measure_gather(const KernelTable<T>& kernels, index features, index bytes, double seconds);

// Seconds of the activation on one vector of values in the first-level cache.
template <class T>
double measure_activation(const KernelTable<T>& kernels, Activation function, double seconds);

}  // namespace schuss
