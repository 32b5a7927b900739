// Output layer: activation, loss of each example and delta_L = dloss/dz.
//   squared_error   1/2 sum_j (a_j - y_j)^2                    (a - y) f'(z)
//   log_loss        softmax:  -sum_j y_j log a_j               a - y   (targets that sum to 1)
//                   logistic: -sum_j y_j log a_j + (1 - y_j) log(1 - a_j)      a - y
//   focal           softmax:  -sum_j y_j (1 - a_j)^g log a_j   y_j c(a_j) - a_j sum_k y_k c(a_k)  (Lin et al. 2017)
//                   logistic: the same over the two classes of each output
//                   c(p) = g p (1 - p)^(g-1) log p - (1 - p)^g
//   poisson         sum_j y log(y / a) - y + a,  a = e^z       a - y   (half the deviance)
//   gamma           sum_j y / a - log(y / a) - 1,  a = e^z     1 - y / a   (half the deviance)
//   absolute_error  sum_j |a - y|                              sign(a - y)
//   huber           sum_j c (e - c/2), e = a - y, c = e cut to [-d, d]       c   (Huber 1964)
//   quantile        sum_j max(q e, (q - 1) e), e = y - a       -q or 1 - q   (Koenker & Bassett 1978)
//   hinge           sum_j max(0, 1 - t a), t = 2 y - 1         -t where the term is not 0
// z becomes a, y becomes delta times the example's weight; losses are of `rows` rows.

// e^(z - top) in place, top the row's maximum; returns the sum. Padding becomes 0.
template <class View>
SCHUSS_INLINE typename View::One exponentials(View z, typename View::One top) {
  using P = typename View::P;
  typename View::Sum sum;
  for (index j = 0; j < z.columns; j += View::step) {
    const auto e = P::select(z.inside(j), exp<P>(z.load(j) - View::spread(top)), P::set(0));
    z.store(j, e);
    sum.add(j, e);
  }
  return sum.total();
}

template <class View>
SCHUSS_INLINE void divide(View row, typename View::One by) {
  for (index j = 0; j < row.columns; j += View::step) row.store(j, row.load(j) / View::spread(by));
}

template <class View>
SCHUSS_INLINE void softmax_log_loss(View z, View y, typename View::P::T cap, const typename View::P::T* weights,
                                    index rows, double* losses) {
  using P = typename View::P;
  using V = typename View::V;
  // -sum_j y_j log a_j = sum_j y_j ((max - z_j) + log sum e^(z - max)); every term is >= 0
  const auto top = z.maximum();
  const V weight = View::factor(weights);
  const auto counts = weight != V{};  // a slope that is not finite is 0 all the same where the example has no weight
  typename View::Sum distance, mass;
  for (index j = 0; j < z.columns; j += View::step) {
    const V target = y.load(j);
    distance.add(j, P::select(z.inside(j) & (target != V{}), target * (View::spread(top) - z.load(j)), V{}));
    mass.add(j, P::select(z.inside(j), target, V{}));
  }
  const auto sum = exponentials(z, top);
  divide(z, sum);
  for (index j = 0; j < z.columns; j += View::step)
    y.store(j, P::select(z.inside(j) & counts, (z.load(j) - y.load(j)) * weight, V{}));
  const auto far = distance.total(), all = mass.total(), log_sum = View::logarithm(sum);
  for (index r = 0; r < rows; ++r) {
    const double share = static_cast<double>(View::row(all, r)), most = share * static_cast<double>(cap);
    const double loss = static_cast<double>(View::row(far, r)) + share * static_cast<double>(View::row(log_sum, r));
    losses[r] = loss > most && loss < static_cast<double>(kInfinity) ? most : loss;
  }
}

// x up to the cap; infinity and NaN as they are
template <class P>
SCHUSS_INLINE typename P::V capped(typename P::V x, typename P::T cap) {
  return P::select((x > P::set(cap)) & (x < P::set(kInfinity)), P::set(cap), x);
}

// x^gamma for 0 <= x <= 1
template <class P>
SCHUSS_INLINE typename P::V power(typename P::V x, typename P::V gamma) {
  const typename P::V one = P::set(1);
  return P::select(gamma == typename P::V{}, one, exp<P>(gamma * log<P>(x)));
}

// c(p) of the focal loss and its term (1 - p)^g (-log p), from p, 1 - p and log p, each computed without cancellation.
template <class P>
struct Focal {
  using V = typename P::V;
  V gamma;
  SCHUSS_INLINE V term(V rest, V log_p) const { return power<P>(rest, gamma) * -log_p; }
  SCHUSS_INLINE V slope(V p, V rest, V log_p) const {
    const V fade = power<P>(rest, gamma);
    // g p (1-p)^(g-1) log p; where 1 - p is 0, log p is too and 0/0 is meant as 0
    const V turn = P::select(rest > V{}, gamma * p * (fade / rest) * log_p, V{});
    return turn - fade;
  }
};

template <class View>
SCHUSS_INLINE void softmax_focal(View z, View y, typename View::P::T gamma, const typename View::P::T* weights,
                                 index rows, double* losses) {
  using P = typename View::P;
  using V = typename View::V;
  const Focal<P> focal{P::set(gamma)};
  const V weight = View::factor(weights), one = P::set(1);
  const auto top = z.maximum();
  typename View::Sum raw;
  for (index j = 0; j < z.columns; j += View::step)
    raw.add(j, P::select(z.inside(j), exp<P>(z.load(j) - View::spread(top)), V{}));
  const auto sum = raw.total();
  const V log_sum = View::spread(View::logarithm(sum));
  typename View::Sum loss, turn;
  for (index j = 0; j < z.columns; j += View::step) {
    const V target = y.load(j), log_a = (z.load(j) - View::spread(top)) - log_sum, a = exp<P>(log_a), rest = one - a;
    const auto counts = z.inside(j) & (target != V{});
    loss.add(j, P::select(counts, target * focal.term(rest, log_a), V{}));
    const V c = P::select(counts, target * focal.slope(a, rest, log_a), V{});
    turn.add(j, c);
    y.store(j, c);
    z.store(j, P::select(z.inside(j), a, V{}));
  }
  const V all = View::spread(turn.total());
  for (index j = 0; j < z.columns; j += View::step)
    y.store(j, P::select(z.inside(j) & (weight != V{}), (y.load(j) - z.load(j) * all) * weight, V{}));
  const auto total = loss.total();
  for (index r = 0; r < rows; ++r) losses[r] = static_cast<double>(View::row(total, r));
}

// What one output adds to the loss, and the slope by z.
template <class V>
struct Term {
  V a, loss, slope;
};

// A loss that is a sum over the outputs; formula(z, y, column) gives a Term, and the sum is taken times `times`.
template <class View, class Formula>
SCHUSS_INLINE void sum_of_terms(View z, View y, Formula formula, double times, const typename View::P::T* weights,
                                index rows, double* losses) {
  using P = typename View::P;
  using V = typename View::V;
  const V weight = View::factor(weights);
  typename View::Sum sum;
  for (index j = 0; j < z.columns; j += View::step) {
    const Term<V> t = formula(z.load(j), y.load(j), j);
    sum.add(j, P::select(z.inside(j), t.loss, V{}));
    z.store(j, t.a);
    y.store(j, P::select(z.inside(j) & (weight != V{}), t.slope * weight, V{}));
  }
  const auto total = sum.total();
  for (index r = 0; r < rows; ++r) losses[r] = times * static_cast<double>(View::row(total, r));
}

template <class P, Loss loss>
SCHUSS_INLINE Term<typename P::V> term(typename P::V z, typename P::V y, typename P::T parameter,
                                       [[maybe_unused]] typename P::V level) {
  using V = typename P::V;
  const V zero = P::set(0), one = P::set(1), number = P::set(parameter);
  if constexpr (loss == Loss::log_loss) {
    const V a = logistic<P>(z);
    // -y log a - (1 - y) log(1 - a) = y softplus(-z) + (1 - y) softplus(z); `parameter` is the cap
    return {a, y * capped<P>(softplus<P>(-z), parameter) + (one - y) * capped<P>(softplus<P>(z), parameter), a - y};
  }
  if constexpr (loss == Loss::focal) {
    const Focal<P> focal{number};
    const V a = logistic<P>(z), rest = logistic<P>(-z), log_a = -softplus<P>(-z), log_rest = -softplus<P>(z);
    // dp/dz = p (1 - p), and dloss/dp = c(p) / p for the class of probability p
    return {a, y * focal.term(rest, log_a) + (one - y) * focal.term(a, log_rest),
            y * focal.slope(a, rest, log_a) * rest - (one - y) * focal.slope(rest, a, log_rest) * a};
  }
  if constexpr (loss == Loss::poisson) {
    const V a = exp<P>(z);
    return {a, P::select(y > zero, y * (log<P>(y) - z), zero) - y + a, a - y};
  }
  if constexpr (loss == Loss::gamma) {
    const V ratio = y * exp<P>(-z);
    return {exp<P>(z), ratio - (log<P>(y) - z) - one, one - ratio};
  }
  if constexpr (loss == Loss::absolute_error) {
    const V e = z - y, size = P::select(e < zero, -e, e);
    return {z, size, P::select(e > zero, one, P::select(e < zero, -one, zero))};
  }
  if constexpr (loss == Loss::huber) {
    const V e = z - y, up = P::select(e > number, number, e), c = P::select(up < -number, -number, up);
    return {z, c * (e - P::set(0.5) * c), c};
  }
  if constexpr (loss == Loss::quantile) {
    const V e = y - z, below = level * e, above = (level - one) * e;
    return {z, P::select(e > zero, below, above), P::select(e > zero, -level, P::select(e < zero, one - level, zero))};
  }
  if constexpr (loss == Loss::hinge) {
    const V t = y + y - one, margin = one - t * z;
    return {z, P::select(margin < zero, zero, margin), P::select(margin > zero, -t, zero)};
  }
}

template <class P, Activation f>
SCHUSS_INLINE Term<typename P::V> squared_error_term(typename P::V z, typename P::V y) {
  const auto a = activation_value<P, f>(z), error = a - y;
  return {a, error * error, error * activation_derivative<P, f>(a)};
}

// Rows of z as `view` sees them, with their targets: z becomes a, y delta times the weight, losses those of `rows`
// rows.
template <class View>
SCHUSS_INLINE void output_rows(const LossFormula<typename View::P::T>& loss, Activation f, View z, View y,
                               const typename View::P::T* weights, index rows, double* losses) {
  using P = typename View::P;
  using V = typename View::V;
  const auto squared = [&]<Activation g>() {
    sum_of_terms(z, y, [](V x, V t, index) { return squared_error_term<P, g>(x, t); }, 0.5, weights, rows, losses);
  };
  const auto terms = [&]<Loss kind>(typename P::T parameter) {
    const auto formula = [&](V x, V t, [[maybe_unused]] index j) {
      if constexpr (kind == Loss::quantile) return term<P, kind>(x, t, parameter, z.column(loss.levels, j));
      else return term<P, kind>(x, t, parameter, V{});
    };
    sum_of_terms(z, y, formula, 1.0, weights, rows, losses);
  };
  switch (loss.kind) {
    case Loss::squared_error:
      switch (f) {
        case Activation::logistic: return squared.template operator()<Activation::logistic>();
        case Activation::tanh: return squared.template operator()<Activation::tanh>();
        case Activation::relu: return squared.template operator()<Activation::relu>();
        default: return squared.template operator()<Activation::identity>();  // others are refused before
      }
    case Loss::log_loss:
      if (f != Activation::softmax) return terms.template operator()<Loss::log_loss>(loss.cap);
      return softmax_log_loss(z, y, loss.cap, weights, rows, losses);
    case Loss::focal:
      if (f != Activation::softmax) return terms.template operator()<Loss::focal>(loss.parameter);
      return softmax_focal(z, y, loss.parameter, weights, rows, losses);
    case Loss::poisson: return terms.template operator()<Loss::poisson>(0);
    case Loss::gamma: return terms.template operator()<Loss::gamma>(0);
    case Loss::absolute_error: return terms.template operator()<Loss::absolute_error>(0);
    case Loss::huber: return terms.template operator()<Loss::huber>(loss.parameter);
    case Loss::quantile: return terms.template operator()<Loss::quantile>(0);
    case Loss::hinge: return terms.template operator()<Loss::hinge>(0);
  }
}
