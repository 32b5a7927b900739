// Output layer: activation, loss of each example and delta_L.
//   squared_error  1/2 sum_j (a_j - y_j)^2                     delta = (a - y) f'(z)
//   log_loss       softmax:  -sum_j y_j log a_j                delta = a - y   (targets that sum to 1)
//                  logistic: -sum_j y_j log a_j + (1 - y_j) log(1 - a_j)       delta = a - y
// z becomes a, y becomes delta times weight; losses are of `rows` rows.

template <class View>
SCHUSS_INLINE void softmax_log_loss(View z, View y, typename View::P::T weight, index rows, double* losses) {
  using P = typename View::P;
  using V = typename View::V;
  // -sum_j y_j log a_j = sum_j y_j ((max - z_j) + log sum e^(z - max)); every term is >= 0
  const auto top = z.maximum();
  typename View::Sum distance, mass;
  for (index j = 0; j < z.columns; j += View::step) {
    const V target = y.load(j);
    distance.add(j, P::select(z.inside(j) & (target != V{}), target * (View::spread(top) - z.load(j)), V{}));
    mass.add(j, P::select(z.inside(j), target, V{}));
  }
  const auto sum = exponentials(z, top);
  divide(z, sum);
  for (index j = 0; j < z.columns; j += View::step)
    y.store(j, P::select(z.inside(j), (z.load(j) - y.load(j)) * P::set(weight), V{}));
  const auto far = distance.total(), all = mass.total(), log_sum = View::logarithm(sum);
  for (index r = 0; r < rows; ++r)
    losses[r] = static_cast<double>(View::row(far, r)) +
                static_cast<double>(View::row(all, r)) * static_cast<double>(View::row(log_sum, r));
}

template <class View>
SCHUSS_INLINE void logistic_log_loss(View z, View y, typename View::P::T weight, index rows, double* losses) {
  using P = typename View::P;
  using V = typename View::V;
  typename View::Sum sum;
  for (index j = 0; j < z.columns; j += View::step) {
    const V x = z.load(j), target = y.load(j);
    const V a = logistic<P>(x);
    // -y log a - (1 - y) log(1 - a) = y softplus(-x) + (1 - y) softplus(x)
    const V terms = target * softplus<P>(-x) + (P::set(1) - target) * softplus<P>(x);
    sum.add(j, P::select(z.inside(j), terms, V{}));
    z.store(j, a);
    y.store(j, P::select(z.inside(j), (a - target) * P::set(weight), V{}));
  }
  const auto total = sum.total();
  for (index r = 0; r < rows; ++r) losses[r] = static_cast<double>(View::row(total, r));
}

template <Activation f, class View>
SCHUSS_INLINE void squared_error(View z, View y, typename View::P::T weight, index rows, double* losses) {
  using P = typename View::P;
  using V = typename View::V;
  typename View::Sum sum;
  for (index j = 0; j < z.columns; j += View::step) {
    const V a = activation_value<P, f>(z.load(j));
    const V error = P::select(z.inside(j), a - y.load(j), V{});
    sum.add(j, error * error);
    z.store(j, a);
    y.store(j, (error * activation_derivative<P, f>(a)) * P::set(weight));
  }
  const auto total = sum.total();
  for (index r = 0; r < rows; ++r) losses[r] = 0.5 * static_cast<double>(View::row(total, r));
}

template <class P>
void output(Loss loss, Activation f, Block<typename P::T> z, Block<typename P::T> y, typename P::T weight,
            double* losses) {
  const auto run = [&](auto formula) {
    each_view<P>(z, y, [&](auto zs, auto ys, index first, index rows) { formula(zs, ys, weight, rows, losses + first); });
  };
  if (loss == Loss::log_loss) {
    if (f == Activation::softmax) run([](auto... all) { softmax_log_loss(all...); });
    else run([](auto... all) { logistic_log_loss(all...); });
    return;
  }
  switch (f) {
    case Activation::logistic: return run([](auto... all) { squared_error<Activation::logistic>(all...); });
    case Activation::tanh: return run([](auto... all) { squared_error<Activation::tanh>(all...); });
    case Activation::relu: return run([](auto... all) { squared_error<Activation::relu>(all...); });
    case Activation::identity:
    case Activation::softmax:  // refused with squared_error before anything gets here
      return run([](auto... all) { squared_error<Activation::identity>(all...); });
  }
}
