// Activations and their derivatives over blocks of rows, and the elementary functions for tests of their accuracy.

// work(place in the row of a, place in the row of b) for every vector of the rows
template <class P, class A, class B, class Work>
SCHUSS_INLINE void each_vector(Block<A> a, Block<B> b, Work work) {
  for (index r = 0; r < a.rows; ++r)
    for (index j = 0; j < a.columns; j += P::lanes) work(a.data + r * a.stride + j, b.data + r * b.stride + j);
}

template <class P, Activation f>
SCHUSS_NOINLINE void activate_block(Block<typename P::T> z) {
  for (index r = 0; r < z.rows; ++r) {
    typename P::T* row = z.data + r * z.stride;
    for (index j = 0; j < z.columns; j += P::lanes) P::store(row + j, activation_value<P, f>(P::load(row + j)));
  }
}

template <class P, Activation f>
SCHUSS_NOINLINE void activate_and_derive(Block<typename P::T> z, Block<typename P::T> slope) {
  each_vector<P>(z, slope, [](auto* value, auto* rise) {
    if constexpr (needs_slope(f)) {
      const auto both = activation_both<P, f>(P::load(value));
      P::store(value, both.value);
      P::store(rise, both.slope);
    } else {
      const auto a = activation_value<P, f>(P::load(value));
      P::store(value, a);
      P::store(rise, activation_derivative<P, f>(a));
    }
  });
}

template <class P>
void activate(Activation f, Block<typename P::T> z, Block<typename P::T> slope) {
  if (f == Activation::softmax) return softmax_block<P>(z);
  if (f == Activation::identity && slope.data)
    each_vector<P>(z, slope, [](auto*, auto* rise) { P::store(rise, P::set(1)); });
  with_activation(f, [&](auto g) {
    if (slope.data) activate_and_derive<P, g()>(z, slope);
    else activate_block<P, g()>(z);
  });
}

template <class P, Activation f>
SCHUSS_NOINLINE void derivative_block(Block<typename P::T> delta, Block<const typename P::T> a) {
  each_vector<P>(delta, a,
                 [](auto* d, auto* value) { P::store(d, P::load(d) * activation_derivative<P, f>(P::load(value))); });
}

template <class P>
void derivative(Activation f, Block<typename P::T> delta, Block<const typename P::T> a) {
  with_activation(f, [&](auto g) {
    if constexpr (!needs_slope(g())) derivative_block<P, g()>(delta, a);
  });
}

template <class P>
void multiply(Block<typename P::T> delta, Block<const typename P::T> slope) {
  each_vector<P>(delta, slope, [](auto* d, auto* rise) { P::store(d, P::load(d) * P::load(rise)); });
}

template <class P, class F>
void map(index n, const typename P::T* x, typename P::T* out, F f) {
  index i = 0;
  for (; i + P::lanes <= n; i += P::lanes) P::store(out + i, f(P::load(x + i)));
  for (; i < n; ++i) out[i] = f(P::set(x[i]))[0];
}

template <class P>
void elementary(Elementary which, index n, const typename P::T* x, typename P::T* out) {
  using V = typename P::V;
  switch (which) {
    case Elementary::exp: return map<P>(n, x, out, [](V v) { return exp<P>(v); });
    case Elementary::log: return map<P>(n, x, out, [](V v) { return log<P>(v); });
    case Elementary::softplus: return map<P>(n, x, out, [](V v) { return softplus<P>(v); });
    case Elementary::logistic: return map<P>(n, x, out, [](V v) { return logistic<P>(v); });
    case Elementary::tanh: return map<P>(n, x, out, [](V v) { return tanh<P>(v); });
    case Elementary::expm1: return map<P>(n, x, out, [](V v) { return expm1_below<P>(v); });
  }
}
