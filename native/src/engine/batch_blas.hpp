// A group's whole slice of the minibatch through BLAS matrix-matrix products (gemm). With one group and plain
// gradient descent the update is the last product itself: W <- W - rate/B a^T delta.
#pragma once

#include "flat_step.hpp"
#include "schuss/blas.hpp"

namespace schuss {

template <class T>
class BatchBlasStep final : public FlatStep<T> {
 public:
  BatchBlasStep(const Network& network, const KernelTable<T>& kernels, index groups, Optimizer optimizer, Blas<T> blas);

  void reserve(index rows) override;
  index bytes(index rows) const override;
  void forward(const Place&, const Batch<T>&, T* out, double* losses) override;
  void propagate(const Place&, const Batch<T>&, double* losses) override;
  void update(const Place&, const Batch<T>&, const Update<T>&) override;
  void gradient(const Place&, const Batch<T>&, T* flat, LayersReady*, bool resume) override;

 private:
  void gather(const Place&, const Batch<T>&, Range);
  void pass(const Place&, const Batch<T>&, T* out, double* losses, bool learn);
  void forward_layers(const Place&, const Batch<T>&, Range, bool learn);
  void output_layer(const Batch<T>&, Range, T* out, double* losses);
  void backward_layers(const Place&, Range);
  // g = scale a^T delta + keep g over the group's slice, for one layer's weights; and for its biases
  void weight_gradient(index l, Range, T scale, T keep, T* g);
  void bias_gradient(index l, Range, T* g);
  void partial_gradients(const Place&, const Batch<T>&);
  void multiply(char trans_a, char trans_b, index m, index n, index k, T alpha, const T* a, index lda, const T* b,
                index ldb, T beta, T* c, index ldc) const;

  index stride(index l) const { return leading_dimension<T>(network_.width(l), kernels_.lanes); }
  Buffer<T>& at(std::vector<Buffer<T>>& buffers, index l) { return buffers[static_cast<std::size_t>(l)]; }
  T* a(index l, index b) { return at(a_, l).data() + b * stride(l); }
  T* delta(index l, index b) { return at(delta_, l).data() + b * stride(l); }
  // rows of a buffer of layer l; none where the layer has no such buffer
  Block<T> block(std::vector<Buffer<T>>& buffers, index l, Range rows) {
    Buffer<T>& all = at(buffers, l);
    return {rows.size(), network_.width(l), all.size() ? all.data() + rows.begin * stride(l) : nullptr, stride(l)};
  }

  using FlatStep<T>::network_;
  using FlatStep<T>::kernels_;
  using FlatStep<T>::formulas_;
  Blas<T> blas_;
  index capacity_ = 0;
  std::vector<Buffer<T>> a_;
  std::vector<Buffer<T>> delta_;
  std::vector<Buffer<T>> slope_;  // of the layers that keep one
};

}  // namespace schuss
