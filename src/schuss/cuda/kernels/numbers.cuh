// The kinds of number that a program can be compiled for, SCHUSS_NUMBER one of them, and the formulas over scalars.
//
// T is what weights, sums and element-wise formulas are of; S is what the products read: activations, deltas, weights.
#pragma once

#include "formulas/names.hpp"
#include "gpu.cuh"

#define SCHUSS_INLINE SCHUSS_DEVICE
#ifdef __CUDACC__
#define SCHUSS_UNROLL _Pragma("unroll")
#define SCHUSS_UNROLL_8 _Pragma("unroll 8")
#define SCHUSS_LOOP _Pragma("unroll 1")  // so that long bodies are there once
#else
#define SCHUSS_UNROLL
#define SCHUSS_UNROLL_8
#define SCHUSS_LOOP
#endif

namespace schuss::gpu {

using index = int;

struct bfloat16 {
  unsigned short bits;
};

template <class To, class From>
SCHUSS_DEVICE To convert(From x) {
  return static_cast<To>(x);
}
template <>
SCHUSS_DEVICE float convert<float, bfloat16>(bfloat16 x) {
  return __builtin_bit_cast(float, static_cast<unsigned>(x.bits) << 16);
}
// Nearest, ties to even.
template <>
SCHUSS_DEVICE bfloat16 convert<bfloat16, float>(float x) {
  const unsigned bits = __builtin_bit_cast(unsigned, x);
  if (x != x) return {0x7fc0};
  return {static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

// Whether products go through the matrix units, and in how many parts, added in order, a sum may be taken: one where
// the bits must be those of the CPU's chain.
struct Float32 {
  using T = float;
  using S = float;
  static constexpr bool matrix_units = false;
  static constexpr int parts = 1;
};
struct Float64 {
  using T = double;
  using S = double;
  static constexpr bool matrix_units = false;
  static constexpr int parts = 1;
};
struct Tf32 {
  using T = float;
  using S = float;
  static constexpr bool matrix_units = true;
  static constexpr int parts = 8;
};
struct Bfloat16 {
  using T = float;
  using S = bfloat16;
  static constexpr bool matrix_units = true;
  static constexpr int parts = 8;
};

using Number = SCHUSS_NUMBER;
using T = Number::T;
using S = Number::S;
using uint64 = unsigned long long;

template <class Real>
struct Integers;
template <>
struct Integers<float> {
  using I = int;
  using U = unsigned;
};
template <>
struct Integers<double> {
  using I = long long;
  using U = unsigned long long;
};

// A vector of one element, for the formulas.
template <class Real>
struct Scalar {
  using T = Real;
  using V = Real;
  using I = typename Integers<Real>::I;
  using U = typename Integers<Real>::U;
  using Unsigned = U;
  static constexpr index lanes = 1;

  SCHUSS_DEVICE static V set(T x) { return x; }
  SCHUSS_DEVICE static V fma(V a, V b, V c) { return gpu::fma(a, b, c); }
  SCHUSS_DEVICE static V sqrt(V a) { return square_root(a); }
  SCHUSS_DEVICE static V select(bool mask, V a, V b) { return mask ? a : b; }
};

#include "formulas/math.inl"
// each file uses those above it
#include "formulas/activation.inl"
#include "formulas/hash.inl"
#include "formulas/loss.inl"
#include "formulas/optimizer.inl"

using P1 = Scalar<T>;

}  // namespace schuss::gpu
