// The BLAS that the caller brought: Fortran calling convention, 32-bit integers, column-major.
#pragma once

namespace schuss {

template <class T>
struct Blas {
  using Gemm = void (*)(char* trans_a, char* trans_b, int* m, int* n, int* k, T* alpha, T* a, int* lda, T* b, int* ldb,
                        T* beta, T* c, int* ldc);
  using Gemv = void (*)(char* trans, int* m, int* n, T* alpha, T* a, int* lda, T* x, int* incx, T* beta, T* y,
                        int* incy);
  using Ger = void (*)(int* m, int* n, T* alpha, T* x, int* incx, T* y, int* incy, T* a, int* lda);
  Gemm gemm = nullptr;
  Gemv gemv = nullptr;
  Ger ger = nullptr;
};

}  // namespace schuss
