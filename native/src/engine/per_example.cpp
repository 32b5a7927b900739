#include "per_example.hpp"

namespace schuss {

template <class T>
void NaiveProducts<T>::forward(const T* w, const T* b, const T* a, T* z, index inputs, index outputs,
                               Range mine) const {
  for (index j = mine.begin; j < mine.end; ++j) z[j] = b[j];
  for (index k = 0; k < inputs; ++k)
    for (index j = mine.begin; j < mine.end; ++j) z[j] += a[k] * w[k * outputs + j];
}

template <class T>
void NaiveProducts<T>::backward(const T* w, const T* delta, T* d, index, index outputs, Range mine) const {
  for (index k = mine.begin; k < mine.end; ++k) {
    T sum = 0;
    for (index j = 0; j < outputs; ++j) sum += w[k * outputs + j] * delta[j];
    d[k] = sum;
  }
}

template <class T>
void NaiveProducts<T>::outer(const T* a, const T* delta, T* g, index inputs, index outputs, Range mine) const {
  for (index k = 0; k < inputs; ++k)
    for (index j = mine.begin; j < mine.end; ++j) g[k * outputs + j] += a[k] * delta[j];
}

// To BLAS, which counts by columns, W is an (outputs x inputs) matrix. Its arguments are not const, but it
// changes none of its inputs.
template <class T>
void GemvProducts<T>::forward(const T* w, const T* b, const T* a, T* z, index inputs, index outputs, Range) const {
  std::copy_n(b, outputs, z);
  char as_is = 'N';
  int m = static_cast<int>(outputs), n = static_cast<int>(inputs), one = 1;
  T scale = 1, keep = 1;
  blas.gemv(&as_is, &m, &n, &scale, const_cast<T*>(w), &m, const_cast<T*>(a), &one, &keep, z, &one);
}

template <class T>
void GemvProducts<T>::backward(const T* w, const T* delta, T* d, index inputs, index outputs, Range) const {
  char transposed = 'T';
  int m = static_cast<int>(outputs), n = static_cast<int>(inputs), one = 1;
  T scale = 1, keep = 0;
  blas.gemv(&transposed, &m, &n, &scale, const_cast<T*>(w), &m, const_cast<T*>(delta), &one, &keep, d, &one);
}

template <class T>
void GemvProducts<T>::outer(const T* a, const T* delta, T* g, index inputs, index outputs, Range) const {
  int m = static_cast<int>(outputs), n = static_cast<int>(inputs), one = 1;
  T scale = 1;
  blas.ger(&m, &n, &scale, const_cast<T*>(delta), &one, const_cast<T*>(a), &one, g, &m);
}

template <class T, class Products>
PerExampleStep<T, Products>::PerExampleStep(const Network& network, const KernelTable<T>& kernels, index groups,
                                            Optimizer optimizer, Products products)
    : FlatStep<T>(network, kernels, groups, optimizer), products_(products) {
  for (index g = 0; g < groups; ++g) {
    Scratch& scratch = scratch_.emplace_back();
    for (index l = 0; l <= network.layers(); ++l) {
      scratch.a.emplace_back(round_up(network.width(l), kernels.lanes));
      scratch.delta.emplace_back(round_up(network.width(l), kernels.lanes));
      scratch.slope.emplace_back(formulas_.keeps_slope(l) ? round_up(network.width(l), kernels.lanes) : 0);
    }
  }
}

template <class T, class Products>
index PerExampleStep<T, Products>::bytes(index rows) const {
  index sum = FlatStep<T>::bytes(rows);
  for (const Scratch& scratch : scratch_)
    for (const auto* buffers : {&scratch.a, &scratch.delta, &scratch.slope})
      for (const Buffer<T>& buffer : *buffers) sum += buffer.bytes();
  return sum;
}

template <class T, class Products>
template <class Work>
void PerExampleStep<T, Products>::each_example(const Place& me, const Batch<T>& batch, Work work) {
  Scratch& scratch = scratch_[static_cast<std::size_t>(me.group)];
  const Range mine = split(batch.count, me.groups, me.group);
  for (index b = mine.begin; b < mine.end; ++b) {
    if (me.member == 0) {
      scratch.stop = me.stopped();  // decided once, so that all the members leave together
      formulas_.gather(batch, b, scratch.a[0].data(), scratch.delta.back().data());
    }
    me.sync();
    if (scratch.stop) return me.sync();  // all have read it before the next call writes it
    work(b, scratch);
  }
}

template <class T, class Products>
void PerExampleStep<T, Products>::forward_layers(const Place& me, const Batch<T>& batch, index b, Scratch& s,
                                                 bool learn) {
  for (index l = 1; l <= network_.layers(); ++l) {
    const std::size_t i = static_cast<std::size_t>(l);
    const Range mine = split(network_.outputs(l), me.members, me.member, kernels_.lanes);
    products_.forward(this->w(l), this->b(l), s.a[i - 1].data(), s.a[i].data(), network_.inputs(l), network_.outputs(l),
                      mine);
    if (l < network_.layers() && !mine.empty()) {
      T* slope = learn && formulas_.keeps_slope(l) ? s.slope[i].data() + mine.begin : nullptr;
      formulas_.activate(l, batch, b, mine.begin, {1, mine.size(), s.a[i].data() + mine.begin, 0},
                         {1, mine.size(), slope, 0});
    }
    me.sync();
  }
}

template <class T, class Products>
void PerExampleStep<T, Products>::output_layer(const Place& me, const Batch<T>& batch, index b, Scratch& s, T* out,
                                               double* loss) {
  if (me.member == 0) {
    const index n = network_.targets();
    if (loss) formulas_.output(batch, b, row(s.a.back(), n), row(s.delta.back(), n), batch.unit, loss);
    else formulas_.output(row(s.a.back(), n));
    if (out) std::copy_n(s.a.back().data(), n, out);
  }
  me.sync();
}

template <class T, class Products>
void PerExampleStep<T, Products>::backward_layers(const Place& me, Scratch& s) {
  T* partial = this->partial(me.group);
  for (index l = network_.layers(); l >= 1; --l) {
    const std::size_t i = static_cast<std::size_t>(l);
    const index inputs = network_.inputs(l), outputs = network_.outputs(l);
    const Range out = split(outputs, me.members, me.member);
    products_.outer(s.a[i - 1].data(), s.delta[i].data(), partial + network_.weights(l), inputs, outputs, out);
    for (index j = out.begin; j < out.end; ++j) partial[network_.bias(l) + j] += s.delta[i][j];
    if (l == 1) break;
    const Range in = split(inputs, me.members, me.member, kernels_.lanes);
    products_.backward(this->w(l), s.delta[i].data(), s.delta[i - 1].data(), inputs, outputs, in);
    const Buffer<T>& from = formulas_.keeps_slope(l - 1) ? s.slope[i - 1] : s.a[i - 1];
    if (!in.empty())
      formulas_.derive(l - 1, {1, in.size(), s.delta[i - 1].data() + in.begin, 0},
                       {1, in.size(), from.data() + in.begin, 0});
    me.sync();
  }
  me.sync();
}

template <class T, class Products>
void PerExampleStep<T, Products>::forward(const Place& me, const Batch<T>& batch, T* out, double* losses) {
  each_example(me, batch, [&](index b, Scratch& s) {
    forward_layers(me, batch, b, s, false);
    output_layer(me, batch, b, s, out ? out + b * network_.targets() : nullptr, losses ? losses + b : nullptr);
  });
}

template <class T, class Products>
void PerExampleStep<T, Products>::propagate(const Place& me, const Batch<T>& batch, double* losses) {
  const Range mine = split(network_.parameters(), me.members, me.member);
  std::fill_n(this->partial(me.group) + mine.begin, mine.size(), T(0));
  me.sync();
  each_example(me, batch, [&](index b, Scratch& s) {
    forward_layers(me, batch, b, s, true);
    output_layer(me, batch, b, s, nullptr, losses + b);
    backward_layers(me, s);
  });
}

template class PerExampleStep<float, NaiveProducts<float>>;
template class PerExampleStep<double, NaiveProducts<double>>;
template class PerExampleStep<float, GemvProducts<float>>;
template class PerExampleStep<double, GemvProducts<double>>;

}  // namespace schuss
