// The nodes beside the products: the next minibatch, sums of losses and squares, and the update by itself.
#pragma once

#include "arguments.cuh"
#include "rows.cuh"
#include "update.cuh"

namespace schuss::gpu {

constexpr int kGatherThreads = 128;

template <class X>
SCHUSS_DEVICE void convert_row(const Source& from, int features, const X* x, S* a) {
  const bool plain = from.scale == 1 && from.shift == 0;
  const T scale = static_cast<T>(from.scale), shift = static_cast<T>(from.shift);
  for (int i = static_cast<int>(threadIdx.x); i < features; i += kGatherThreads) {
    const T value = static_cast<T>(x[i]);
    a[i] = convert<S>(plain ? value : value * scale + shift);  // two roundings, as on the CPU
  }
}

// A block an example of the minibatch: its features converted, its targets, its weight.
SCHUSS_DEVICE void gather_row(const GatherArguments& p) {
  if (p.at.over()) return;
  const StepNumbers& step = p.at.step();
  const Source& from = *p.source;
  const int b = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  if (b >= step.count) return;
  const long long row = from.order ? from.order[step.first + b] : step.first + b - from.base;
  const long long slot = static_cast<long long>(p.at.half()) * p.capacity + b;
  const double weight = from.weights ? from.weights[row] : 1.0;
  if (thread == 0) p.example_weights[slot] = weight;
  S* a = static_cast<S*>(p.a) + slot * p.a_stride;
  const long long at = row * from.x_stride;
  const auto element = static_cast<Element>(from.element);
  if (!(weight > 0))  // whatever it holds must not count
    for (int i = thread; i < p.features; i += kGatherThreads) a[i] = S{};
  else if (element == Element::float32) convert_row(from, p.features, static_cast<const float*>(from.x) + at, a);
  else if (element == Element::float64) convert_row(from, p.features, static_cast<const double*>(from.x) + at, a);
  else convert_row(from, p.features, static_cast<const unsigned char*>(from.x) + at, a);
  T* y = static_cast<T*>(p.y) + slot * p.y_stride;
  const T on = static_cast<T>(p.on), off = static_cast<T>(p.off);
  for (int j = thread; j < p.outputs; j += kGatherThreads) {
    if (from.labels) {
      const int label = from.labels[row];
      y[j] = (p.outputs == 1 ? label != 0 : label == j) ? on : off;
    } else if (from.targets) {
      const T t = static_cast<const T*>(from.targets)[row * p.outputs + j];
      y[j] = off > 0 ? off + (on - off) * t : t;
    }
  }
}

constexpr int kLossesThreads = 128;

// Numbers added one after another by the first thread, the others fetching them; the sum is the first thread's.
template <class Fetch>
SCHUSS_DEVICE double ordered_sum(long long n, Fetch fetch) {
  double* batch = shared_memory<double>();
  const int thread = static_cast<int>(threadIdx.x);
  double sum = 0;
  for (long long first = 0; first < n; first += kLossesThreads) {
    batch[thread] = first + thread < n ? fetch(first + thread) : 0.0;
    barrier();
    if (thread == 0) SCHUSS_UNROLL_8
    for (int i = 0; i < kLossesThreads; ++i) sum += batch[i];
    barrier();
  }
  return sum;
}

// The mean loss of a step, examples ascending in float64.
SCHUSS_DEVICE void sum_losses(const LossesArguments& p) {
  const long long number = p.at.number();
  if (p.at.over()) return;
  const StepNumbers& step = p.at.steps[number];
  const long long half = static_cast<long long>(p.at.half()) * p.capacity;
  const double sum = ordered_sum(step.count, [&](long long b) {
    const double weight = p.example_weights[half + b];
    return weight > 0 ? weight * p.losses[half + b] : 0.0;  // not 0 times infinity
  });
  const double penalty = ordered_sum(p.squares ? p.n_squares : 0, [&](long long i) { return p.squares[i]; });
  if (threadIdx.x > 0) return;
  const double mean = step.total > 0 ? (p.scale * sum + 0.5 * p.alpha * penalty) / step.total : 0.0;
  p.out[number] = mean;
  if (p.decides && !finite(mean)) p.at.stop(number);
}

constexpr int kSquareThreads = 256;
constexpr int kSquareRows = 64;  // as native_step.hpp's tiles
constexpr int kSquareColumns = 8;

// Parts of ||W||^2: 64 inputs by 8 outputs each, a column a thread, then the columns' tree.
SCHUSS_DEVICE void weight_squares(const UpdateArguments& p) {
  int block = static_cast<int>(blockIdx.x), l = 0, across = 0;
  for (;; ++l) {
    if (l == p.n_layers) return;
    const LayerArguments& layer = p.layers[l];
    across = (layer.outputs + kSquareThreads - 1) / kSquareThreads;
    const int blocks = across * ((layer.inputs + kSquareRows - 1) / kSquareRows);
    if (block < blocks) break;
    block -= blocks;
  }
  const LayerArguments& layer = p.layers[l];
  const int column = block % across * kSquareThreads + static_cast<int>(threadIdx.x),
            first = block / across * kSquareRows;
  T sum = 0;
  for (int k = first; k < first + kSquareRows && k < layer.inputs && column < layer.outputs; ++k) {
    const T w = static_cast<const T*>(layer.w[0])[static_cast<long long>(k) * layer.stride + column];
    sum += w * w;
  }
  if (!finite(sum) && p.at.stopped() == 0) p.at.stop(p.at.number() + 1);  // whose loss they are part of
  for (int half = kSquareColumns / 2; half > 0; half /= 2) sum += shuffle_down(sum, half, kSquareColumns);
  const int groups = (layer.outputs + kSquareColumns - 1) / kSquareColumns;
  if (column % kSquareColumns == 0 && column < layer.outputs)
    layer.penalties[static_cast<long long>(first / kSquareRows) * groups + column / kSquareColumns] =
        static_cast<double>(sum);
}

// The half-warp's row among all layers' rows, a bias being the last of its layer; false beyond.
struct FlatRow {
  const LayerArguments* layer;
  int row;
  bool present;

  SCHUSS_DEVICE explicit FlatRow(const UpdateArguments& p) {
    long long number = static_cast<long long>(blockIdx.x) * (kOutputThreads / 16) + static_cast<int>(threadIdx.x) / 16;
    present = number < p.rows;
    if (!present) number = 0;
    int l = 0;
    while (l + 1 < p.n_layers && number >= p.layers[l + 1].first_row) ++l;
    layer = p.layers + l;
    row = static_cast<int>(number - layer->first_row);
  }
  SCHUSS_DEVICE bool is_bias() const { return row == layer->inputs; }
  SCHUSS_DEVICE T* gradient() const {
    return static_cast<T*>(layer->gradient) + static_cast<long long>(row) * layer->stride;
  }
};

SCHUSS_DEVICE void gradient_squares(const UpdateArguments& p) {
  const FlatRow at(p);
  const HalfWarp view{at.present ? at.layer->outputs : 0, at.gradient()};
  HalfWarp::Sum sum;
  for (index j = 0; j < view.columns; j += view.step) {
    const T g = view.load(j);
    sum.add(j, g * g);
  }
  const T total = sum.total();
  if (at.present && HalfWarp::lane() == 0) at.layer->squares[at.row] = static_cast<double>(total);
}

// Sets the norm to 1 where a weight or a bias is not finite.
SCHUSS_DEVICE void find_infinite_parameter(const UpdateArguments& p) {
  const FlatRow at(p);
  if (!at.present) return;
  const T* row = static_cast<const T*>(at.layer->w[0]) + static_cast<long long>(at.row) * at.layer->stride;
  for (index j = HalfWarp::lane(); j < at.layer->outputs; j += HalfWarp::step)
    if (!finite(row[j])) *static_cast<volatile double*>(p.norm) = 1;  // several may at once
}

// Of a gradient whose squares overflow: in parts of its largest element.
SCHUSS_DEVICE double large_norm(const UpdateArguments& p) {
  double* shared = shared_memory<double>();
  const int thread = static_cast<int>(threadIdx.x);
  const auto each = [&](auto work) {
    for (int l = 0; l < p.n_layers; ++l) {
      const LayerArguments& layer = p.layers[l];
      const long long n = static_cast<long long>(layer.inputs + 1) * layer.stride;
      SCHUSS_LOOP
      for (long long i = thread; i < n; i += kLossesThreads)
        work(static_cast<double>(static_cast<const T*>(layer.gradient)[i]));
    }
  };
  const auto gather_all = [&](double mine, auto join) {
    shared[thread] = mine;
    barrier();
    double all = shared[0];
    SCHUSS_LOOP
    for (int i = 1; i < kLossesThreads; ++i) all = join(all, shared[i]);
    barrier();
    return all;
  };
  double most = 0, sum = 0;
  each([&](double g) { most = (g < 0 ? -g : g) > most ? (g < 0 ? -g : g) : most; });
  most = gather_all(most, [](double a, double b) { return a > b ? a : b; });
  each([&](double g) { sum += g / most * (g / most); });
  return most * square_root(gather_all(sum, [](double a, double b) { return a + b; }));
}

SCHUSS_DEVICE void gradient_norm(const UpdateArguments& p) {
  double* sum = shared_memory<double>() + kLossesThreads;
  const double squares = ordered_sum(p.rows, [&](long long i) { return p.squares[i]; });
  if (threadIdx.x == 0) *sum = squares;
  barrier();
  const bool normal = finite(*sum);
  const double norm = normal ? square_root(*sum) : large_norm(p);
  if (threadIdx.x == 0) *p.norm = norm;
}

// The update from a gradient in memory, shortened where its norm is to be clipped.
SCHUSS_DEVICE void apply_gradient(const UpdateArguments& p) {
  if (!p.at.taken()) return;
  Update<T> u = update_of(p);
  if (p.norm && *p.norm > p.clip_norm) u.scale = static_cast<T>(p.clip_norm / *p.norm);
  const FlatRow at(p);
  if (!at.present) return;
  if (at.is_bias()) u = u.for_bias();
  with_optimizer(p, [&](auto kind) {
    constexpr Optimizer k = decltype(kind){}();
    for (int j = HalfWarp::lane() * 4; j < at.layer->outputs; j += 16 * 4)
      update_parameters<k>(u, *at.layer, at.row, j, quad(at.gradient() + j).value,
                           read_parameters<k>(*at.layer, at.row, j));
  });
}

}  // namespace schuss::gpu
