// The update over flat ranges.

template <class P, Optimizer kind>
void update_span(const Update<typename P::T>& u, index n, const typename P::T* g, typename P::T* w, typename P::T* s0,
                 typename P::T* s1) {
  using T = typename P::T;
  using V = typename P::V;
  constexpr int slots = state_slots(kind);
  const auto vector = [&](const T* gp, T* wp, T* p0, T* p1) {
    V weight = P::load(wp), a{}, b{};
    if constexpr (slots > 0) a = P::load(p0);
    if constexpr (slots > 1) b = P::load(p1);
    update_vector<P, kind>(u, P::load(gp), weight, a, b);
    P::store(wp, weight);
    if constexpr (slots > 0) P::store(p0, a);
    if constexpr (slots > 1) P::store(p1, b);
  };
  index i = 0;
  for (; i + P::lanes <= n; i += P::lanes)
    vector(g + i, w + i, slots > 0 ? s0 + i : nullptr, slots > 1 ? s1 + i : nullptr);
  if (i == n) return;
  T tail[4][P::lanes] = {};
  const std::size_t bytes = static_cast<std::size_t>(n - i) * sizeof(T);
  const auto copy = [bytes](T* to, const T* from) { __builtin_memcpy(to, from, bytes); };
  copy(tail[0], g + i);
  copy(tail[1], w + i);
  if constexpr (slots > 0) copy(tail[2], s0 + i);
  if constexpr (slots > 1) copy(tail[3], s1 + i);
  vector(tail[0], tail[1], tail[2], tail[3]);
  copy(w + i, tail[1]);
  if constexpr (slots > 0) copy(s0 + i, tail[2]);
  if constexpr (slots > 1) copy(s1 + i, tail[3]);
}

template <class P>
void update(const Update<typename P::T>& u, index n, const typename P::T* g, typename P::T* w, typename P::T* s0,
            typename P::T* s1) {
  switch (u.kind) {
    case Optimizer::sgd: return update_span<P, Optimizer::sgd>(u, n, g, w, s0, s1);
    case Optimizer::momentum: return update_span<P, Optimizer::momentum>(u, n, g, w, s0, s1);
    case Optimizer::nesterov: return update_span<P, Optimizer::nesterov>(u, n, g, w, s0, s1);
    case Optimizer::adam: return update_span<P, Optimizer::adam>(u, n, g, w, s0, s1);
  }
}
