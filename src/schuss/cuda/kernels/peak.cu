// A chip's multiply-adds: a loop that never leaves the registers, beside which studies put what a training does.
#include "numbers.cuh"

using namespace schuss::gpu;

struct PeakArguments {
  T* out;  // one a thread, so that the loop is not for nothing
  T factor;
  int rounds;
};

constexpr int kPeakThreads = 256;
constexpr int kChains = 16;  // independent: one waits while the others are at work

SCHUSS_KERNEL(peak, PeakArguments, kPeakThreads, 0, 1, kChains) {
  T sum[kChains];
  const T start = static_cast<T>(threadIdx.x);
  SCHUSS_UNROLL
  for (int c = 0; c < kChains; ++c) sum[c] = start + static_cast<T>(c);
  for (int round = 0; round < p.rounds; ++round) {
    SCHUSS_UNROLL
    for (int c = 0; c < kChains; ++c) sum[c] = P1::fma(sum[c], p.factor, p.factor);
  }
  T total = 0;
  SCHUSS_UNROLL
  for (int c = 0; c < kChains; ++c) total += sum[c];
  p.out[blockIdx.x * kPeakThreads + threadIdx.x] = total;
}
