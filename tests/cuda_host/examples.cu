// Kernels that try each thing an emulated GPU can do. Tests take a barrier or a fence out.
using namespace schuss::gpu;
struct Arguments {
  const float* a;
  const float* b;
  float* c;
  int m, n, k;
};
template <typename T>
T* out(const Arguments& p) {
  return reinterpret_cast<T*>(p.c);
}
template <typename T>
const T* in(const float* p) {
  return reinterpret_cast<const T*>(p);
}

SCHUSS_KERNEL(gemm, Arguments, 64, 2 * 16 * 16 * sizeof(float), 16, 16) {
  float* a = shared_memory<float>();
  float* b = a + 16 * 16;
  const int row0 = blockIdx.y * 16, column0 = blockIdx.x * 16, row = threadIdx.x / 4, column = threadIdx.x % 4 * 4;
  float sum[4] = {};
  for (int k0 = 0; k0 < p.k; k0 += 16) {
    for (int i = threadIdx.x; i < 256; i += 64) {
      const int r = i / 16, c = i % 16;
      a[i] = row0 + r < p.m && k0 + c < p.k ? p.a[(row0 + r) * p.k + k0 + c] : 0;
      b[i] = k0 + r < p.k && column0 + c < p.n ? p.b[(k0 + r) * p.n + column0 + c] : 0;
    }
    barrier();  // 1
    for (int k = 0; k < 16; ++k)
      for (int j = 0; j < 4; ++j) sum[j] = fma(a[row * 16 + k], b[k * 16 + column + j], sum[j]);
    barrier();  // 2
  }
  for (int j = 0; j < 4; ++j)
    if (row0 + row < p.m && column0 + column + j < p.n) p.c[(row0 + row) * p.n + column0 + column + j] = sum[j];
}

// A (16 x 8) row-major, B (8 x 8) row-major, C (16 x 8); fragments as the PTX manual prints them.
SCHUSS_KERNEL(tf32, Arguments, 32, 0, 0, 0) {
  const int group = threadIdx.x >> 2, member = threadIdx.x & 3;
  const auto bits = [&](float x) { return p.m ? to_tf32(x) : __builtin_bit_cast(unsigned, x); };
  unsigned a[4], b[2];
  for (int i = 0; i < 4; ++i) a[i] = bits(p.a[(group + 8 * (i & 1)) * 8 + member + 4 * (i >> 1)]);
  for (int i = 0; i < 2; ++i) b[i] = bits(p.b[(member + 4 * i) * 8 + group]);
  float c[4];
  for (int i = 0; i < 4; ++i) c[i] = p.c[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)];
  mma_tf32(c, a, b);
  for (int i = 0; i < 4; ++i) p.c[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = c[i];
}

// A (16 x 16) and B (16 x 8) of 16-bit numbers, gathered one by one.
SCHUSS_KERNEL(bf16, Arguments, 32, 0, 0, 0) {
  const unsigned short *A = in<unsigned short>(p.a), *B = in<unsigned short>(p.b);
  const int group = threadIdx.x >> 2, member = threadIdx.x & 3;
  unsigned a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    const int row = group + 8 * (i & 1), k = 2 * member + 8 * (i >> 1);
    a[i] = A[row * 16 + k] | static_cast<unsigned>(A[row * 16 + k + 1]) << 16;
  }
  for (int i = 0; i < 2; ++i) {
    const int k = 2 * member + 8 * i;
    b[i] = B[k * 8 + group] | static_cast<unsigned>(B[(k + 1) * 8 + group]) << 16;
  }
  float c[4] = {};
  mma_bf16(c, a, b);
  for (int i = 0; i < 4; ++i) p.c[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = c[i];
}

// The same through shared memory: A as it lies, B by transposed loads.
SCHUSS_KERNEL(bf16_loaded, Arguments, 32, 2 * (256 + 128), 0, 0) {
  unsigned short* A = shared_memory<unsigned short>();
  unsigned short* B = A + 256;
  for (int i = threadIdx.x; i < 256; i += 32) A[i] = in<unsigned short>(p.a)[i];
  for (int i = threadIdx.x; i < 128; i += 32) B[i] = in<unsigned short>(p.b)[i];
  warp_barrier();
  const int matrix = threadIdx.x / 8, line = threadIdx.x % 8;
  unsigned a[4], b[4];
  load_matrices(a, A + (matrix % 2 * 8 + line) * 16 + matrix / 2 * 8);
  load_matrices_transposed(b, B + (matrix % 2 * 8 + line) * 8);
  const unsigned first[2] = {b[0], b[1]};
  float c[4] = {};
  mma_bf16(c, a, first);
  const int group = threadIdx.x >> 2, member = threadIdx.x & 3;
  for (int i = 0; i < 4; ++i) p.c[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = c[i];
}

// Four 8 x 8 matrices; what each lane gets of them, plain and transposed.
SCHUSS_KERNEL(matrices, Arguments, 32, 512, 0, 0) {
  unsigned short* m = shared_memory<unsigned short>();
  for (int i = threadIdx.x; i < 256; i += 32) m[i] = in<unsigned short>(p.a)[i];
  barrier();
  unsigned r[4];
  if (p.m) load_matrices_transposed(r, m + threadIdx.x * 8);
  else load_matrices(r, m + threadIdx.x * 8);
  for (int i = 0; i < 4; ++i) out<unsigned>(p)[threadIdx.x * 4 + i] = r[i];
}

SCHUSS_KERNEL(shuffles, Arguments, 64, 0, 0, 0) {
  const double x = static_cast<double>(p.a[threadIdx.x]);
  double* c = out<double>(p) + threadIdx.x;
  c[0] = shuffle(x, p.k, p.n);
  c[64] = shuffle_down(x, p.k, p.n);
  c[128] = shuffle_xor(x, p.k, p.n);
  c[192] = shuffle(static_cast<int>(threadIdx.x), threadIdx.x + 1, 32);
}

SCHUSS_KERNEL(rounded, Arguments, 32, 0, 0, 0) {
  for (int i = threadIdx.x; i < p.n; i += 32) out<unsigned>(p)[i] = to_tf32(p.a[i]);
}

// Rows of four floats, two groups of copies under way; rows from m on are not valid.
SCHUSS_KERNEL(copies, Arguments, 32, 32 * 3 * 16, 0, 0) {
  float* mine = shared_memory<float>() + threadIdx.x * 12;
  const auto load = [&](int i) {
    if (i < p.n) copy_async_16(mine + i % 3 * 4, p.a + (i < p.m ? i : 0) * 4, i < p.m);
    copy_async_commit();
  };
  load(0);
  load(1);
  for (int i = 0; i < p.n; ++i) {
    load(i + 2);
    copy_async_wait<2>();
    for (int j = 0; j < 4; ++j) p.c[(threadIdx.x * p.n + i) * 4 + j] = mine[i % 3 * 4 + j];
  }
}

// Parts of a sum by several blocks; the last to come adds them. `b` holds the ticket.
SCHUSS_KERNEL(parts, Arguments, 32, 4, 0, 0) {
  unsigned* ticket = const_cast<unsigned*>(in<unsigned>(p.b));
  unsigned* last = shared_memory<unsigned>();
  p.c[blockIdx.x * 32 + threadIdx.x] = p.a[blockIdx.x * 32 + threadIdx.x];
  fence();
  barrier();  // all parts are written
  if (threadIdx.x == 0) *last = atomic_add(ticket, 1) == gridDim.x - 1;
  barrier();
  if (!*last) return;
  for (unsigned i = 1; i < gridDim.x; ++i) p.c[threadIdx.x] += p.c[i * 32 + threadIdx.x];
  if (threadIdx.x == 0) *ticket = 0;
}

// A copy whose place is read while it is under way.
SCHUSS_KERNEL(copy_not_waited_for, Arguments, 32, 512, 0, 0) {
  float* mine = shared_memory<float>() + threadIdx.x * 4;
  mine[0] = 1;
  copy_async_16(mine, p.a, true);
  copy_async_commit();
  copy_async_wait<1>();
  p.c[threadIdx.x] = mine[0];
}

SCHUSS_KERNEL(blocks, Arguments, 1, 0, 0, 0) {
  if (blockDim.x == 1) p.c[blockIdx.y * gridDim.x + blockIdx.x] = static_cast<float>(blockIdx.x + 10 * blockIdx.y);
}

// Any thread may say so, any thread may look.
SCHUSS_KERNEL(flag, Arguments, 64, 0, 0, 0) {
  volatile float* told = p.c;
  if (*told == 0 || threadIdx.x == 7) *told = 1;
}

SCHUSS_KERNEL(twice, Arguments, 32, 0, 0, 0) { p.c[threadIdx.x] = 2 * p.a[threadIdx.x]; }
SCHUSS_KERNEL(subnormal, Arguments, 1, 0, 0, 0) { p.c[0] = p.a[0] * 0.5f; }
