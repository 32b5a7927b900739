// The end of the forward pass: output activation, loss and first delta; for few outputs with the last layer's product
// before it and the delta of the last hidden layer after it, in one node.
#pragma once

#include "arguments.cuh"
#include "layers.cuh"
#include "rows.cuh"

namespace schuss::gpu {

// What the two kernels below share: the outputs of one row, in `z`, and where it learns its loss, and delta in `y`.
// All lanes of a warp call it; a half-warp without a row has 0 columns.
template <class Arguments>
SCHUSS_DEVICE void finish_outputs(const Arguments& p, int row, HalfWarp z, HalfWarp y) {
  const auto f = static_cast<Activation>(p.output);
  const StepNumbers& step = p.at.step();
  if (!p.y) return activate_row(f, z);
  const bool present = z.columns > 0;
  const double weight = present ? p.example_weights[p.at.half() * p.capacity + row] : 0;
  const T factor = static_cast<T>(weight / step.total);
  const LossFormula<T> loss{static_cast<Loss>(p.loss), static_cast<T>(p.parameter), static_cast<T>(p.cap),
                            static_cast<const T*>(p.levels)};
  double own = 0;
  output_rows(loss, f, z, y, &factor, present ? 1 : 0, &own);
  if (!present || HalfWarp::lane() > 0) return;
  p.losses[p.at.half() * p.capacity + row] = own;
  const double weighted = weight > 0 ? weight * own : 0;  // not 0 times infinity
  if (!finite(weighted)) p.at.stop(p.at.number());
}

constexpr int kOutputThreads = 256;

// A half-warp a row, in global memory.
SCHUSS_DEVICE void output_rows_of(const OutputArguments& p) {
  if (p.at.over()) return;
  const int row = static_cast<int>(blockIdx.x) * (kOutputThreads / 16) + static_cast<int>(threadIdx.x) / 16;
  const bool present = row < p.at.step().count;
  const long long at = static_cast<long long>(present ? row : 0) * p.y_stride;
  T* targets =
      p.y ? static_cast<T*>(p.y) + static_cast<long long>(p.at.half()) * p.capacity * p.y_stride + at : nullptr;
  const HalfWarp z{present ? p.outputs : 0, static_cast<T*>(p.z) + at}, y{z.columns, targets};
  finish_outputs(p, row, z, y);
  if (!p.delta) return;
  for (index j = HalfWarp::lane(); j < z.columns; j += HalfWarp::step)
    static_cast<S*>(p.delta)[at + j] = convert<S>(targets[j]);
}

// Few outputs. Each of 16 lanes sums one output of a row, one chain of its terms, or with Number::parts several that
// are added in order; weights and activations pass through shared memory.
template <int rows_>
struct HeadOf {
  static constexpr int rows = rows_, outputs = 16, threads = 256, terms = 128, stages = 2;
  static constexpr int parts = rows * outputs * Number::parts <= threads ? Number::parts : 1;
  static constexpr int chunk = 16 / static_cast<int>(sizeof(S));
  static constexpr int w_size = terms * outputs * static_cast<int>(sizeof(T)),
                       a_size = rows * terms * static_cast<int>(sizeof(S));
  static constexpr int sums_size = parts * rows * outputs * static_cast<int>(sizeof(T));
  static constexpr int rows_size = 2 * rows * outputs * static_cast<int>(sizeof(T));
  static constexpr int shared = stages * (w_size + a_size) + sums_size + rows_size;
  static_assert(parts * rows * outputs <= threads && terms % parts == 0);

  struct Memory {
    unsigned char* at;
    SCHUSS_DEVICE T* w(int i) const { return reinterpret_cast<T*>(at + i % stages * (w_size + a_size)); }
    SCHUSS_DEVICE S* a(int i) const { return reinterpret_cast<S*>(at + i % stages * (w_size + a_size) + w_size); }
    SCHUSS_DEVICE T* sums() const { return reinterpret_cast<T*>(at + stages * (w_size + a_size)); }
    SCHUSS_DEVICE T* z(int row) const { return sums() + parts * rows * outputs + row * outputs; }
    SCHUSS_DEVICE T* y(int row) const { return z(rows + row); }
  };

  // Terms [i * terms, ...) of the weights and of the block's rows.
  SCHUSS_DEVICE static void load(const HeadArguments& p, const Memory& memory, int i, int row0, int examples) {
    constexpr int w_chunk = 16 / static_cast<int>(sizeof(T));
    for (int c = static_cast<int>(threadIdx.x) * w_chunk; c < terms * outputs; c += threads * w_chunk) {
      const bool valid = i * terms + c / outputs < p.inputs;
      copy_async_16(memory.w(i) + c,
                    static_cast<const T*>(p.w) + (valid ? static_cast<long long>(i) * terms * outputs + c : 0), valid);
    }
    const S* a = static_cast<const S*>(p.a) + p.at.half() * p.a_half;
    for (int c = static_cast<int>(threadIdx.x) * chunk; c < rows * terms; c += threads * chunk) {
      const int r = c / terms, k = i * terms + c % terms;
      const bool valid = row0 + r < examples && k < p.a_stride;
      copy_async_16(memory.a(i) + c, a + (valid ? static_cast<long long>(row0 + r) * p.a_stride + k : 0), valid);
    }
  }

  SCHUSS_DEVICE static void logits(const HeadArguments& p, const Memory& memory, int row0, int examples) {
    const int thread = static_cast<int>(threadIdx.x), c = thread % outputs, r = thread / outputs % rows;
    const int part = thread / (outputs * rows);
    const bool works = part < parts;
    T sum = works && part == 0 && c < p.outputs ? static_cast<const T*>(p.bias)[c] : T(0);
    const int chunks = (p.inputs + terms - 1) / terms;
    load(p, memory, 0, row0, examples);
    copy_async_commit();
    for (int i = 0; i < chunks; ++i) {
      if (i + 1 < chunks) load(p, memory, i + 1, row0, examples);
      copy_async_commit();
      copy_async_wait<1>();
      barrier();
      if (works) {
        const T* w = memory.w(i) + c;
        const S* a = memory.a(i) + r * terms;
        SCHUSS_UNROLL_8
        for (int k = part * (terms / parts); k < (part + 1) * (terms / parts); ++k)
          sum = fma(convert<T>(a[k]), w[k * outputs], sum);
      }
      barrier();
    }
    if (works) memory.sums()[thread] = sum;
    barrier();
    if (thread < rows * outputs) {
      T whole = memory.sums()[thread];
      for (int q = 1; q < parts; ++q) whole += memory.sums()[q * rows * outputs + thread];
      memory.z(r)[c] = whole;
      const bool known = p.y && row0 + r < examples;
      const long long at = (static_cast<long long>(p.at.half()) * p.capacity + row0 + r) * p.y_stride + c;
      memory.y(r)[c] = known ? static_cast<const T*>(p.y)[at] : T(0);
    }
    barrier();
  }

  // Deltas of the last hidden layer: a chain over the outputs, times f'. The weights serve all rows of the block.
  SCHUSS_DEVICE static void below(const HeadArguments& p, const Memory& memory, int row0, int n) {
    for (int k = static_cast<int>(threadIdx.x) * 4; k < p.inputs; k += threads * 4) {
      Quad<T> w[4][outputs / 4];
      SCHUSS_UNROLL
      for (int i = 0; i < 4; ++i) SCHUSS_UNROLL
      for (int q = 0; q < outputs / 4; ++q)
        w[i][q] = k + i < p.inputs ? quad(static_cast<const T*>(p.w) + static_cast<long long>(k + i) * outputs + q * 4)
                                   : Quad<T>{};
      SCHUSS_LOOP
      for (int r = 0; r < n; ++r) {
        const T* d = memory.y(r);
        const long long at = static_cast<long long>(row0 + r) * p.below_stride + k;
        const Known known = read_known(p.slope, p.a, at);
        T sum[4] = {};
        SCHUSS_UNROLL
        for (int c = 0; c < outputs; ++c)
          if (c < p.outputs) {
            SCHUSS_UNROLL
            for (int i = 0; i < 4; ++i) sum[i] = fma(d[c], w[i][c / 4].value[c % 4], sum[i]);
          }
        quad(static_cast<S*>(p.below) + at) =
            deltas(static_cast<Activation>(p.activation), p.slope, known, sum, k, p.inputs);
      }
    }
  }

  SCHUSS_DEVICE static void run(const HeadArguments& p) {
    if (p.at.over()) return;
    const int examples = static_cast<int>(p.at.step().count);
    const int row0 = static_cast<int>(blockIdx.x) * rows, thread = static_cast<int>(threadIdx.x);
    if (row0 >= examples) return;
    const Memory memory{shared_memory<unsigned char>()};
    logits(p, memory, row0, examples);
    const int r = thread / outputs, c = thread % outputs;
    const bool present = r < rows && row0 + r < examples;
    if (thread < rows * 16) {  // whole warps, a half-warp a row
      const HalfWarp z{present ? p.outputs : 0, memory.z(r)}, y{z.columns, memory.y(r)};
      finish_outputs(p, row0 + r, z, y);
    }
    barrier();
    if (present && c < p.outputs) {
      const long long at = static_cast<long long>(row0 + r) * p.y_stride + c;
      if (p.out) static_cast<T*>(p.out)[at] = memory.z(r)[c];
      if (p.delta) static_cast<S*>(p.delta)[at] = convert<S>(memory.y(r)[c]);
    }
    if (p.below) below(p, memory, row0, rows < examples - row0 ? rows : examples - row0);
  }
};

using Head = HeadOf<2>;
using TallHead = HeadOf<16>;  // fetches the weights once for 16 rows

}  // namespace schuss::gpu
