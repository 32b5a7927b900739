#include "batch_blas.hpp"

namespace schuss {

template <class T>
BatchBlasStep<T>::BatchBlasStep(const Network& network, const KernelTable<T>& kernels, index groups,
                                Optimizer optimizer, Blas<T> blas)
    : FlatStep<T>(network, kernels, groups, optimizer), blas_(blas) {}

template <class T>
void BatchBlasStep<T>::reserve(index rows) {
  if (rows <= capacity_) return;
  a_.clear();
  delta_.clear();
  slope_.clear();
  for (index l = 0; l <= network_.layers(); ++l) {
    a_.emplace_back(rows * stride(l));
    delta_.emplace_back(l > 0 ? rows * stride(l) : 0);
    slope_.emplace_back(formulas_.keeps_slope(l) ? rows * stride(l) : 0);
  }
  capacity_ = rows;
}

// C = alpha A B + beta C as BLAS counts, by columns; a row-major matrix is the transpose of what BLAS sees.
template <class T>
void BatchBlasStep<T>::multiply(char trans_a, char trans_b, index m, index n, index k, T alpha, const T* a, index lda,
                                const T* b, index ldb, T beta, T* c, index ldc) const {
  if (m == 0 || n == 0) return;
  int mi = static_cast<int>(m), ni = static_cast<int>(n), ki = static_cast<int>(k);
  int la = static_cast<int>(lda), lb = static_cast<int>(ldb), lc = static_cast<int>(ldc);
  blas_.gemm(&trans_a, &trans_b, &mi, &ni, &ki, &alpha, const_cast<T*>(a), &la, const_cast<T*>(b), &lb, &beta, c, &lc);
}

template <class T>
void BatchBlasStep<T>::gather(const Place& me, const Batch<T>& batch, Range mine) {
  if (me.stopped()) return;
  for (index b = mine.begin; b < mine.end; ++b) formulas_.gather(batch, b, a(0, b), delta(network_.layers(), b));
}

// Z = A W + b; to BLAS Z^T = W^T A^T
template <class T>
void BatchBlasStep<T>::forward_layers(const Place& me, const Batch<T>& batch, Range mine, bool learn) {
  for (index l = 1; l <= network_.layers() && !me.stopped(); ++l) {
    const index inputs = network_.inputs(l), outputs = network_.outputs(l);
    for (index b = mine.begin; b < mine.end; ++b) std::copy_n(this->b(l), outputs, a(l, b));
    multiply('N', 'N', outputs, mine.size(), inputs, T(1), this->w(l), outputs, a(l - 1, mine.begin), stride(l - 1),
             T(1), a(l, mine.begin), stride(l));
    if (l < network_.layers())
      formulas_.activate(l, batch, mine.begin, 0, block(a_, l, mine), learn ? block(slope_, l, mine) : Block<T>{});
  }
}

template <class T>
void BatchBlasStep<T>::output_layer(const Batch<T>& batch, Range mine, T* out, double* losses) {
  const index last = network_.layers(), n = network_.targets();
  const Block<T> z = block(a_, last, mine);
  if (losses) formulas_.output(batch, mine.begin, z, block(delta_, last, mine), batch.unit, losses + mine.begin);
  else formulas_.output(z);
  for (index b = mine.begin; out && b < mine.end; ++b) std::copy_n(a(last, b), n, out + b * n);
}

template <class T>
void BatchBlasStep<T>::backward_layers(const Place& me, Range mine) {
  for (index l = network_.layers() - 1; l >= 1 && !me.stopped(); --l) {
    const index outputs = network_.outputs(l + 1), inputs = network_.inputs(l + 1);
    multiply('T', 'N', inputs, mine.size(), outputs, T(1), this->w(l + 1), outputs, delta(l + 1, mine.begin),
             stride(l + 1), T(0), delta(l, mine.begin), stride(l));
    const Block<T> from = block(formulas_.keeps_slope(l) ? slope_ : a_, l, mine);
    formulas_.derive(l, block(delta_, l, mine), {from.rows, from.columns, from.data, from.stride});
  }
}

template <class T>
void BatchBlasStep<T>::weight_gradient(index l, Range mine, T scale, T keep, T* g) {
  const index inputs = network_.inputs(l), outputs = network_.outputs(l);
  multiply('N', 'T', outputs, inputs, mine.size(), scale, delta(l, mine.begin), stride(l), a(l - 1, mine.begin),
           stride(l - 1), keep, g, outputs);
}

template <class T>
void BatchBlasStep<T>::bias_gradient(index l, Range mine, T* g) {
  std::fill_n(g, network_.outputs(l), T(0));
  for (index b = mine.begin; b < mine.end; ++b)
    for (index j = 0; j < network_.outputs(l); ++j) g[j] += delta(l, b)[j];
}

template <class T>
void BatchBlasStep<T>::pass(const Place& me, const Batch<T>& batch, T* out, double* losses, bool learn) {
  const Range mine = split(batch.count, me.groups, me.group);
  gather(me, batch, mine);
  forward_layers(me, batch, mine, learn);
  output_layer(batch, mine, out, losses);
}

template <class T>
void BatchBlasStep<T>::forward(const Place& me, const Batch<T>& batch, T* out, double* losses) {
  pass(me, batch, out, losses, false);
}

template <class T>
void BatchBlasStep<T>::propagate(const Place& me, const Batch<T>& batch, double* losses) {
  pass(me, batch, nullptr, losses, true);
  backward_layers(me, split(batch.count, me.groups, me.group));
  if (me.groups > 1) partial_gradients(me, batch);
}

template <class T>
void BatchBlasStep<T>::partial_gradients(const Place& me, const Batch<T>& batch) {
  const Range mine = split(batch.count, me.groups, me.group);
  T* g = this->partial(me.group);
  for (index l = network_.layers(); l >= 1; --l) {
    weight_gradient(l, mine, T(1), T(0), g + network_.weights(l));
    bias_gradient(l, mine, g + network_.bias(l));
  }
}

template <class T>
void BatchBlasStep<T>::gradient(const Place& me, const Batch<T>& batch, T* flat, LayersReady* ready, bool resume) {
  if (me.groups == 1) partial_gradients(me, batch);
  FlatStep<T>::gradient(me, batch, flat, ready, resume);
}

template <class T>
index BatchBlasStep<T>::bytes(index rows) const {
  index row = stride(0);
  for (index l = 1; l <= network_.layers(); ++l) row += (formulas_.keeps_slope(l) ? 3 : 2) * stride(l);
  return FlatStep<T>::bytes(rows) + rows * row * static_cast<index>(sizeof(T));
}

template <class T>
void BatchBlasStep<T>::update(const Place& me, const Batch<T>& batch, const Update<T>& u) {
  if (me.groups > 1) return FlatStep<T>::update(me, batch, u);
  if (u.kind != Optimizer::sgd) {
    partial_gradients(me, batch);
    return FlatStep<T>::update(me, batch, u);
  }
  const Range all{0, batch.count};
  T* bias = this->partial(0);
  for (index l = network_.layers(); l >= 1; --l) {
    weight_gradient(l, all, -u.rate * batch.mean(), u.keep - u.rate * u.penalty, this->w(l));
    bias_gradient(l, all, bias);
    for (index j = 0; j < network_.outputs(l); ++j) bias[j] *= batch.mean();
    kernels_.update(u.for_bias(), network_.outputs(l), bias, this->b(l), nullptr, nullptr);
  }
}

template class BatchBlasStep<float>;
template class BatchBlasStep<double>;

}  // namespace schuss
