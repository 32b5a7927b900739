// One example at a time, as the 2016 programs did: Algorithms 3, 4 and 5. The arithmetic is a parameter:
// plain loops (naive) or BLAS matrix-vector calls (gemv).
#pragma once

#include "flat_step.hpp"
#include "schuss/blas.hpp"

namespace schuss {

// The three products of an example; W is (inputs x outputs), row-major. Each computes the part `mine` of its
// output that the calling member owns.
template <class T>
struct NaiveProducts {
  // z = W^T a + b, outputs `mine`
  void forward(const T* w, const T* b, const T* a, T* z, index inputs, index outputs, Range mine) const;
  // d = W delta, inputs `mine`
  void backward(const T* w, const T* delta, T* d, index inputs, index outputs, Range mine) const;
  // g += a delta^T, outputs `mine`
  void outer(const T* a, const T* delta, T* g, index inputs, index outputs, Range mine) const;
};

template <class T>
struct GemvProducts {
  Blas<T> blas;
  void forward(const T* w, const T* b, const T* a, T* z, index inputs, index outputs, Range mine) const;
  void backward(const T* w, const T* delta, T* d, index inputs, index outputs, Range mine) const;
  void outer(const T* a, const T* delta, T* g, index inputs, index outputs, Range mine) const;
};

template <class T, class Products>
class PerExampleStep final : public FlatStep<T> {
 public:
  PerExampleStep(const Network& network, const KernelTable<T>& kernels, index groups, Optimizer optimizer,
                 Products products);

  void reserve(index) override {}
  index bytes(index rows) const override;
  void forward(const Place&, const Batch<T>&, T* out, double* losses) override;
  void propagate(const Place&, const Batch<T>&, double* losses) override;

 private:
  // One example's activations and deltas, shared by the members of a group.
  struct Scratch {
    std::vector<Buffer<T>> a;
    std::vector<Buffer<T>> delta;
    std::vector<Buffer<T>> slope;  // of the layers that keep one
    bool stop = false;
  };

  template <class Work>
  void each_example(const Place&, const Batch<T>&, Work work);
  void forward_layers(const Place&, const Batch<T>&, index b, Scratch&, bool learn);
  void output_layer(const Place&, const Batch<T>&, index b, Scratch&, T* out, double* loss);
  void backward_layers(const Place&, Scratch&);
  Block<T> row(Buffer<T>& buffer, index columns) { return {1, columns, buffer.data(), buffer.size()}; }

  using FlatStep<T>::network_;
  using FlatStep<T>::kernels_;
  using FlatStep<T>::formulas_;
  Products products_;
  std::vector<Scratch> scratch_;
};

}  // namespace schuss
