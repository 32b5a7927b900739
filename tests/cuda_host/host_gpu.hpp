// The host twin of gpu.cuh: what a kernel may use of a GPU, for a C++ compiler. A CUDA thread is a fibre, a warp is 32
// of them, the blocks of a grid run one after another. The work behind it is in block.cpp and memory.cpp.
#pragma once

#define SCHUSS_DEVICE inline
#define SCHUSS_NOINLINE inline

namespace host_gpu {

struct Index {
  unsigned x, y, z;
};

struct Launch {
  const char* name;
  void (*body)(const void* arguments);
  const void* arguments;
  unsigned long long bytes;  // of the arguments
  unsigned threads, shared, grid_x, grid_y;
  unsigned long long seed;  // of the order of blocks, warps and lanes
};

// Runs all blocks; 0, or 1 where the kernel broke a rule (host_gpu_error() then says which).
int run(const Launch& launch);

enum class Meeting { barrier, warp_barrier, shuffle, mma_tf32, mma_bf16, load_matrices, load_matrices_transposed };

// What a thread hands to a meeting, and where it wants the result.
struct Part {
  Meeting meeting;
  int line;  // of the call: all threads that meet must have come by the same one
  void* out;
  const void* a;
  const void* b;
  int bytes, lane, width;  // of a shuffle: size of a value, lane that it comes from, lanes of a segment
};

void meet(const Part& part);  // returns when all threads of the warp (of the block, for a barrier) have met
void* shared_begin();
void copy_async(void* shared, const void* global, bool valid);
void commit_copies();
void wait_for_copies(int pending);
void memory_fence();
unsigned add_atomically(unsigned* at, unsigned value);

template <typename T>
T shuffled(T value, int lane, int width, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  T result = value;
  meet({Meeting::shuffle, line, &result, &value, nullptr, sizeof(T), lane, width});
  return result;
}

}  // namespace host_gpu

extern host_gpu::Index threadIdx, blockIdx, blockDim, gridDim;

#define SCHUSS_KERNEL(NAME, ARGUMENTS, THREADS, SHARED, ROWS, COLUMNS)                                            \
  static void NAME##_body(const ARGUMENTS& p);                                                                    \
  extern "C" {                                                                                                    \
  unsigned NAME##_shape[4] = {(THREADS), (SHARED), (ROWS), (COLUMNS)};                                            \
  __attribute__((no_sanitize("thread"))) int NAME##_run(const void* arguments, unsigned grid_x, unsigned grid_y,  \
                                                        unsigned long long seed) {                                \
    return host_gpu::run({#NAME, [](const void* each) { NAME##_body(*static_cast<const ARGUMENTS*>(each)); },     \
                          arguments, sizeof(ARGUMENTS), NAME##_shape[0], NAME##_shape[1], grid_x, grid_y, seed}); \
  }                                                                                                               \
  }                                                                                                               \
  static void NAME##_body(const ARGUMENTS& p)

namespace schuss::gpu {

template <typename T>
T* shared_memory() {
  return static_cast<T*>(host_gpu::shared_begin());
}

// `line` tells a call from another; the GPU's versions have no such argument.
inline void barrier(int line = __builtin_LINE()) {
  host_gpu::meet({host_gpu::Meeting::barrier, line, nullptr, nullptr, nullptr, 0, 0, 0});
}

inline void warp_barrier(int line = __builtin_LINE()) {
  host_gpu::meet({host_gpu::Meeting::warp_barrier, line, nullptr, nullptr, nullptr, 0, 0, 0});
}

// A lane outside the own segment of `width` lanes gives the own value back.
template <typename T>
T shuffle(T value, int lane, int width, int line = __builtin_LINE()) {
  const int own = threadIdx.x % 32;
  return host_gpu::shuffled(value, (own & -width) | (lane & (width - 1)), width, line);
}

template <typename T>
T shuffle_down(T value, int delta, int width, int line = __builtin_LINE()) {
  const int own = threadIdx.x % 32, last = own | (width - 1);
  return host_gpu::shuffled(value, own + delta <= last ? own + delta : own, width, line);
}

template <typename T>
T shuffle_xor(T value, int mask, int width, int line = __builtin_LINE()) {
  const int own = threadIdx.x % 32, last = own | (width - 1);
  return host_gpu::shuffled(value, (own ^ mask) <= last ? own ^ mask : own, width, line);
}

inline void fence() { host_gpu::memory_fence(); }

inline unsigned atomic_add(unsigned* at, unsigned value) { return host_gpu::add_atomically(at, value); }

inline void copy_async_16(void* shared, const void* global, bool valid) { host_gpu::copy_async(shared, global, valid); }

inline void copy_async_commit() { host_gpu::commit_copies(); }

template <int N>
void copy_async_wait() {
  host_gpu::wait_for_copies(N);
}

// Nearest, ties away from zero; what leaves the range becomes infinite, NaN stays NaN.
inline unsigned to_tf32(float value) {
  const unsigned bits = __builtin_bit_cast(unsigned, value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffe000u;
  return (bits + 0x1000u) & ~0x1fffu;
}

inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
  host_gpu::meet({host_gpu::Meeting::mma_tf32, line, d, a, b, 0, 0, 0});
}

inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
  host_gpu::meet({host_gpu::Meeting::mma_bf16, line, d, a, b, 0, 0, 0});
}

inline void load_matrices(unsigned (&r)[4], const void* shared, int line = __builtin_LINE()) {
  host_gpu::meet({host_gpu::Meeting::load_matrices, line, r, shared, nullptr, 0, 0, 0});
}

inline void load_matrices_transposed(unsigned (&r)[4], const void* shared, int line = __builtin_LINE()) {
  host_gpu::meet({host_gpu::Meeting::load_matrices_transposed, line, r, shared, nullptr, 0, 0, 0});
}

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

}  // namespace schuss::gpu
