// AVX-512: 32 registers of 64 bytes. A tile of 6 x 4 vectors keeps 24 sums, 4 panel values and a broadcast.
#include <immintrin.h>

#include "headers.hpp"

namespace schuss::avx512 {

constexpr int kVectorBytes = 64;
constexpr int kTileRows = 6;
constexpr int kPanelVectors = 4;

inline __m512 fused(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
inline __m512d fused(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }
inline __m512 root(__m512 a) { return _mm512_sqrt_ps(a); }
inline __m512d root(__m512d a) { return _mm512_sqrt_pd(a); }

#include "kernels.inl"

}  // namespace schuss::avx512
