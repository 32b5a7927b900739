// Activations f(z) and their derivatives, read off a = f(z).
//   identity z             1
//   logistic 1/(1+e^-z)    a (1 - a)
//   tanh     tanh z        1 - a^2
//   relu     max(z, 0)     1 where a > 0, else 0
// softmax belongs to loss.inl: it acts on a whole row and its derivative only ever appears together with a loss.

template <class P, Activation f>
SCHUSS_INLINE typename P::V activation_value(typename P::V z) {
  if constexpr (f == Activation::logistic) return logistic<P>(z);
  if constexpr (f == Activation::tanh) return tanh<P>(z);
  if constexpr (f == Activation::relu) return P::select(z < P::set(0), P::set(0), z);  // keeps NaN
  return z;
}

template <class P, Activation f>
SCHUSS_INLINE typename P::V activation_derivative(typename P::V a) {
  using V = typename P::V;
  const V one = P::set(1);
  if constexpr (f == Activation::logistic) return a * (one - a);
  if constexpr (f == Activation::tanh) return P::fma(-a, a, one);
  if constexpr (f == Activation::relu) return P::select(a > V{}, one, V{});
  return one;
}

template <class P, Activation f>
void activate_block(Block<typename P::T> z) {
  for (index r = 0; r < z.rows; ++r) {
    typename P::T* row = z.data + r * z.stride;
    for (index j = 0; j < z.columns; j += P::lanes) P::store(row + j, activation_value<P, f>(P::load(row + j)));
  }
}

template <class P>
void activate(Activation f, Block<typename P::T> z) {
  switch (f) {
    case Activation::logistic: return activate_block<P, Activation::logistic>(z);
    case Activation::tanh: return activate_block<P, Activation::tanh>(z);
    case Activation::relu: return activate_block<P, Activation::relu>(z);
    case Activation::softmax: return softmax_block<P>(z);
    case Activation::identity: return;
  }
}

template <class P, Activation f>
void derivative_block(Block<typename P::T> delta, Block<const typename P::T> a) {
  for (index r = 0; r < delta.rows; ++r) {
    typename P::T* d = delta.data + r * delta.stride;
    const typename P::T* row = a.data + r * a.stride;
    for (index j = 0; j < delta.columns; j += P::lanes)
      P::store(d + j, P::load(d + j) * activation_derivative<P, f>(P::load(row + j)));
  }
}

template <class P>
void derivative(Activation f, Block<typename P::T> delta, Block<const typename P::T> a) {
  switch (f) {
    case Activation::logistic: return derivative_block<P, Activation::logistic>(delta, a);
    case Activation::tanh: return derivative_block<P, Activation::tanh>(delta, a);
    case Activation::relu: return derivative_block<P, Activation::relu>(delta, a);
    case Activation::identity:
    case Activation::softmax: return;
  }
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
  }
}
