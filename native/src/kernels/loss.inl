// Output layer: activation, loss of each example and delta_L, a row at a time.
//   squared_error  1/2 sum_j (a_j - y_j)^2                     delta = (a - y) f'(z)
//   log_loss       softmax:  -sum_j y_j log a_j                delta = a - y   (targets that sum to 1)
//                  logistic: -sum_j y_j log a_j + (1 - y_j) log(1 - a_j)       delta = a - y

template <class P>
SCHUSS_INLINE double softmax_log_loss(typename P::T* z, typename P::T* y, index n, typename P::T weight) {
  using V = typename P::V;
  // -sum_j y_j log a_j = sum_j y_j ((max - z_j) + log sum e^(z - max)); every term is >= 0
  const typename P::T top = row_maximum(z, n);
  RowSum<P> distance, mass;
  for (index j = 0; j < n; j += P::lanes) {
    const V target = P::load(y + j);
    const auto counts = in_row<P>(j, n) & (target != V{});
    distance.add(j, P::select(counts, target * (P::set(top) - P::load(z + j)), V{}));
    mass.add(j, P::select(in_row<P>(j, n), target, V{}));
  }
  const typename P::T sum = exponentials<P>(z, n, top);
  divide_row<P>(z, n, sum);
  for (index j = 0; j < n; j += P::lanes)
    P::store(y + j, P::select(in_row<P>(j, n), (P::load(z + j) - P::load(y + j)) * P::set(weight), V{}));
  const typename P::T log_sum = log<P>(P::set(sum))[0];
  return static_cast<double>(distance.total()) + static_cast<double>(mass.total()) * static_cast<double>(log_sum);
}

template <class P>
SCHUSS_INLINE double logistic_log_loss(typename P::T* z, typename P::T* y, index n, typename P::T weight) {
  using V = typename P::V;
  RowSum<P> sum;
  for (index j = 0; j < n; j += P::lanes) {
    const V x = P::load(z + j), target = P::load(y + j);
    const V a = logistic<P>(x);
    // -y log a - (1 - y) log(1 - a) = y softplus(-x) + (1 - y) softplus(x)
    const V terms = target * softplus<P>(-x) + (P::set(1) - target) * softplus<P>(x);
    sum.add(j, P::select(in_row<P>(j, n), terms, V{}));
    P::store(z + j, a);
    P::store(y + j, P::select(in_row<P>(j, n), (a - target) * P::set(weight), V{}));
  }
  return static_cast<double>(sum.total());
}

template <class P, Activation f>
SCHUSS_INLINE double squared_error(typename P::T* z, typename P::T* y, index n, typename P::T weight) {
  using V = typename P::V;
  RowSum<P> sum;
  for (index j = 0; j < n; j += P::lanes) {
    const V a = activation_value<P, f>(P::load(z + j));
    const V error = P::select(in_row<P>(j, n), a - P::load(y + j), V{});
    sum.add(j, error * error);
    P::store(z + j, a);
    P::store(y + j, (error * activation_derivative<P, f>(a)) * P::set(weight));
  }
  return 0.5 * static_cast<double>(sum.total());
}

template <class P, class Row>
void each_row(Block<typename P::T> z, Block<typename P::T> y, double* losses, Row row) {
  for (index r = 0; r < z.rows; ++r) losses[r] = row(z.data + r * z.stride, y.data + r * y.stride);
}

template <class P>
void output(Loss loss, Activation f, Block<typename P::T> z, Block<typename P::T> y, typename P::T weight,
            double* losses) {
  using T = typename P::T;
  const index n = z.columns;
  const auto run = [&](auto row) { each_row<P>(z, y, losses, row); };
  if (loss == Loss::log_loss) {
    if (f == Activation::softmax) run([=](T* zr, T* yr) { return softmax_log_loss<P>(zr, yr, n, weight); });
    else run([=](T* zr, T* yr) { return logistic_log_loss<P>(zr, yr, n, weight); });
    return;
  }
  switch (f) {
    case Activation::logistic:
      return run([=](T* zr, T* yr) { return squared_error<P, Activation::logistic>(zr, yr, n, weight); });
    case Activation::tanh:
      return run([=](T* zr, T* yr) { return squared_error<P, Activation::tanh>(zr, yr, n, weight); });
    case Activation::relu:
      return run([=](T* zr, T* yr) { return squared_error<P, Activation::relu>(zr, yr, n, weight); });
    case Activation::identity:
    case Activation::softmax:  // refused with squared_error before anything gets here
      return run([=](T* zr, T* yr) { return squared_error<P, Activation::identity>(zr, yr, n, weight); });
  }
}
