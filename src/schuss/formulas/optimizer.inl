// Optimizers: the change of one parameter, each formula once. g is scale times the mean gradient of the
// minibatch, plus penalty * w; then w <- keep w, the decoupled weight decay (Loshchilov & Hutter 2019), and
//   sgd       w <- w - rate g
//   momentum  v <- mu v - rate g,  w <- w + v                                       (Polyak 1964)
//   nesterov  v <- mu v - rate g,  w <- w + mu v - rate g                           (Sutskever et al. 2013)
//   adam      m <- b1 m + (1-b1) g,  s <- b2 s + (1-b2) g^2,  w <- w - rate m / (sqrt s + eps)
//             rate carries sqrt(1-b2^t) / (1-b1^t)                                  (Kingma & Ba 2015, section 2)

template <class P, Optimizer kind>
SCHUSS_INLINE void update_vector(const Update<typename P::T>& u, typename P::V g, typename P::V& w, typename P::V& s0,
                                 typename P::V& s1) {
  using V = typename P::V;
  const V rate = P::set(u.rate), mu = P::set(u.momentum);
  g = P::fma(P::set(u.penalty), w, P::set(u.scale) * g);
  w = P::set(u.keep) * w;
  if constexpr (kind == Optimizer::sgd) {
    w = P::fma(-rate, g, w);
  } else if constexpr (kind == Optimizer::momentum) {
    s0 = P::fma(mu, s0, -(rate * g));
    w = w + s0;
  } else if constexpr (kind == Optimizer::nesterov) {
    s0 = P::fma(mu, s0, -(rate * g));
    w = w + P::fma(mu, s0, -(rate * g));
  } else {
    const V b2 = P::set(u.beta2), one = P::set(1);
    s0 = P::fma(mu, s0, (one - mu) * g);
    s1 = P::fma(b2, s1, (one - b2) * (g * g));
    w = w - (rate * s0) / (P::sqrt(s1) + P::set(u.epsilon));
  }
}
