// AVX2 with FMA: 16 registers of 32 bytes. A tile of 6 x 2 vectors keeps 12 sums, 2 panel values and a broadcast.
#include <immintrin.h>

#include "headers.hpp"

namespace schuss::avx2 {

constexpr int kVectorBytes = 32;
constexpr int kTileRows = 6;
constexpr int kPanelVectors = 2;

inline __m256 fused(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
inline __m256d fused(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
inline __m256 root(__m256 a) { return _mm256_sqrt_ps(a); }
inline __m256d root(__m256d a) { return _mm256_sqrt_pd(a); }

#include "kernels.inl"

}  // namespace schuss::avx2
