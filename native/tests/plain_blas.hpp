// The three BLAS routines as plain loops, so that the steps that use BLAS run where there is none, and can be checked
// by a sanitizer.
#pragma once

#include "schuss/blas.hpp"
#include "schuss/types.hpp"

namespace schuss::test {

// C = alpha op(A) op(B) + beta C, by columns; C is not read where beta is zero.
template <class T>
void plain_gemm(char* trans_a, char* trans_b, int* m, int* n, int* k, T* alpha, T* a, int* lda, T* b, int* ldb, T* beta,
                T* c, int* ldc) {
  const auto at_a = [&](index i, index p) { return *trans_a == 'N' ? a[i + p * *lda] : a[p + i * *lda]; };
  const auto at_b = [&](index p, index j) { return *trans_b == 'N' ? b[p + j * *ldb] : b[j + p * *ldb]; };
  for (index j = 0; j < *n; ++j)
    for (index i = 0; i < *m; ++i) {
      T sum = 0;
      for (index p = 0; p < *k; ++p) sum += at_a(i, p) * at_b(p, j);
      T& out = c[i + j * *ldc];
      out = *alpha * sum + (*beta == 0 ? T(0) : *beta * out);
    }
}

// y = alpha op(A) x + beta y
template <class T>
void plain_gemv(char* trans, int* m, int* n, T* alpha, T* a, int* lda, T* x, int* incx, T* beta, T* y, int* incy) {
  const index rows = *trans == 'N' ? *m : *n, columns = *trans == 'N' ? *n : *m;
  for (index i = 0; i < rows; ++i) {
    T sum = 0;
    for (index j = 0; j < columns; ++j) sum += (*trans == 'N' ? a[i + j * *lda] : a[j + i * *lda]) * x[j * *incx];
    T& out = y[i * *incy];
    out = *alpha * sum + (*beta == 0 ? T(0) : *beta * out);
  }
}

// A += alpha x y^T
template <class T>
void plain_ger(int* m, int* n, T* alpha, T* x, int* incx, T* y, int* incy, T* a, int* lda) {
  for (index j = 0; j < *n; ++j)
    for (index i = 0; i < *m; ++i) a[i + j * *lda] += *alpha * x[i * *incx] * y[j * *incy];
}

template <class T>
Blas<T> plain_blas() {
  return {plain_gemm<T>, plain_gemv<T>, plain_ger<T>};
}

}  // namespace schuss::test
