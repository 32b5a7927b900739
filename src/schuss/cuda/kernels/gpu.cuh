// The GPU as the kernels see it: everything that is not plain C++, behind one-line names.
//
// Compiled for the host instead, the same names come from host_gpu.hpp, whose threads are fibres (tests/cuda_host).
#pragma once

#ifndef __CUDACC__

#include "host_gpu.hpp"

#else

#define SCHUSS_DEVICE __device__ __forceinline__
#define SCHUSS_NOINLINE __device__ __noinline__

// A kernel with one argument `p`, and beside it what its caller must know: threads of a block, bytes of shared memory,
// rows and columns of the part of a matrix that a block computes.
#define SCHUSS_KERNEL(name, Arguments, threads, shared, rows, columns)               \
  extern "C" __device__ unsigned name##_shape[4] = {threads, shared, rows, columns}; \
  extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Arguments p)

namespace schuss::gpu {

template <class T>
SCHUSS_DEVICE T* shared_memory() {
  extern __shared__ __align__(16) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
}

SCHUSS_DEVICE void barrier() { __syncthreads(); }
SCHUSS_DEVICE void warp_barrier() { __syncwarp(); }
SCHUSS_DEVICE void fence() { __threadfence(); }
SCHUSS_DEVICE unsigned atomic_add(unsigned* counter, unsigned n) { return atomicAdd(counter, n); }

constexpr unsigned kAllLanes = 0xffffffffu;
template <class T>
SCHUSS_DEVICE T shuffle(T v, int lane, int width) {
  return __shfl_sync(kAllLanes, v, lane, width);
}
template <class T>
SCHUSS_DEVICE T shuffle_down(T v, int delta, int width) {
  return __shfl_down_sync(kAllLanes, v, delta, width);
}
template <class T>
SCHUSS_DEVICE T shuffle_xor(T v, int mask, int width) {
  return __shfl_xor_sync(kAllLanes, v, mask, width);
}

SCHUSS_DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
SCHUSS_DEVICE double fma(double a, double b, double c) { return __fma_rn(a, b, c); }
SCHUSS_DEVICE float square_root(float a) { return __fsqrt_rn(a); }
SCHUSS_DEVICE double square_root(double a) { return __dsqrt_rn(a); }

SCHUSS_DEVICE unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

// 16 bytes from global to shared memory, beside the computing; zeros where not valid. Both addresses are aligned to 16.
SCHUSS_DEVICE void copy_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
SCHUSS_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most n groups of this thread's copies are under way.
template <int n>
SCHUSS_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

// The bits of x rounded to the 10 bits of mantissa that the matrix units read.
SCHUSS_DEVICE unsigned to_tf32(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// d += a b by a warp: 16 x 8 sums over 8 (tf32) or 16 (bfloat16) terms, fragments as the PTX manual lays them out.
SCHUSS_DEVICE void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
SCHUSS_DEVICE void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8 x 8 matrices of 16-bit numbers out of shared memory; lanes 8 i to 8 i + 7 say where the rows of matrix i lie.
SCHUSS_DEVICE void load_matrices(unsigned (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}
SCHUSS_DEVICE void load_matrices_transposed(unsigned (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}

}  // namespace schuss::gpu

#endif
