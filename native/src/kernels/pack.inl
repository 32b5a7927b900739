// P: one vector of an instruction set, on the compiler's vector extensions. Included inside the ISA's namespace,
// after kVectorBytes and fused(a, b, c), root(a) for its vector types are defined.

template <class Real>
struct Pack {
  using T = Real;
  using Integer = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;
  typedef T V __attribute__((vector_size(kVectorBytes)));
  using Unsigned = std::make_unsigned_t<Integer>;
  typedef Integer I __attribute__((vector_size(kVectorBytes)));
  typedef Unsigned U __attribute__((vector_size(kVectorBytes)));
  static constexpr index lanes = kVectorBytes / static_cast<index>(sizeof(T));

  SCHUSS_INLINE static V set(T x) { return x - V{}; }
  SCHUSS_INLINE static V load(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  SCHUSS_INLINE static void store(T* p, V v) { __builtin_memcpy(p, &v, sizeof v); }
  SCHUSS_INLINE static V fma(V a, V b, V c) { return fused(a, b, c); }
  SCHUSS_INLINE static V sqrt(V a) { return root(a); }
  SCHUSS_INLINE static V select(I mask, V a, V b) { return mask ? a : b; }
  // lane i is first + i
  SCHUSS_INLINE static I ascending(index first) {
    I v;
    for (index i = 0; i < lanes; ++i) v[i] = static_cast<Integer>(first + i);
    return v;
  }
};
