// Any processor: 16-byte vectors, which every compiler turns into SSE2, NEON or plain code. Where the target has
// no fused multiply-add (x86-64 without FMA), product and sum round apart, and the last bits differ from the
// other tables'.
#include "headers.hpp"

namespace schuss::portable {

constexpr int kVectorBytes = 16;
constexpr int kPanelVectors = 4;
#if defined(__aarch64__)
constexpr int kTileRows = 5;  // 32 registers
#else
constexpr int kTileRows = 2;  // 16 registers
#endif

typedef float Floats __attribute__((vector_size(kVectorBytes)));
typedef double Doubles __attribute__((vector_size(kVectorBytes)));

// GCC's names, then those that Clang defines too
#if (defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)) || defined(__ARM_FEATURE_FMA) || defined(__FMA__)
inline Floats fused(Floats a, Floats b, Floats c) {
  for (int i = 0; i < 4; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
}
inline Doubles fused(Doubles a, Doubles b, Doubles c) {
  for (int i = 0; i < 2; ++i) c[i] = __builtin_fma(a[i], b[i], c[i]);
  return c;
}
extern const bool has_fused = true;
#else
inline Floats fused(Floats a, Floats b, Floats c) { return a * b + c; }
inline Doubles fused(Doubles a, Doubles b, Doubles c) { return a * b + c; }
extern const bool has_fused = false;
#endif

inline Floats root(Floats a) {
  for (int i = 0; i < 4; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
inline Doubles root(Doubles a) {
  for (int i = 0; i < 2; ++i) a[i] = __builtin_sqrt(a[i]);
  return a;
}

#include "kernels.inl"

}  // namespace schuss::portable
