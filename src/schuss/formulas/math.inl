// Elementary functions over one vector: the same operations for every width, so the same bits wherever P::fma is fused.
// Included inside an ISA's namespace by a file that defines the policies P: vector types V and I (integers of the same
// size), fma, set, select. No libm, no tables, no branches. Errors are measured by tests/test_math.cpp.
// Built with -ffp-contract=off; where P::fma rounds twice the bounds still hold, since n * ln2_hi is exact.

namespace math {

template <class T>
struct Constants;

// printed by tools/fit_elementary.py
template <>
struct Constants<float> {
  static constexpr float log2e = 0x1.715476p+0f;
  static constexpr float ln2_hi = 0x1.62e4p-1f;
  static constexpr float ln2_lo = 0x1.7f7d1cp-20f;
  static constexpr float sqrt_half = 0x1.6a09e6p-1f;
  static constexpr float tanh_small = 0x1.666666p-2f;
  static constexpr float expm1[] = {
      0x1.fffffep-2f, 0x1.5554bp-3f, 0x1.555674p-5f, 0x1.122818p-7f, 0x1.6bebecp-10f,
  };
  static constexpr float log1p[] = {
      0x1.555558p-1f, 0x1.9996a8p-2f, 0x1.250972p-2f, 0x1.b6d6a4p-3f, 0x1.f1aee2p-3f,
  };
  static constexpr float tanh[] = {
      -0x1.55554ep-2f,
      0x1.110bf2p-3f,
      -0x1.b81ab4p-5f,
      0x1.3e43e4p-6f,
  };
};

template <>
struct Constants<double> {
  static constexpr double log2e = 0x1.71547652b82fep+0;
  static constexpr double ln2_hi = 0x1.62e42fefa38p-1;
  static constexpr double ln2_lo = 0x1.ef35793c7673p-45;
  static constexpr double sqrt_half = 0x1.6a09e667f3bcdp-1;
  static constexpr double tanh_small = 0x1.6666666666666p-2;
  static constexpr double expm1[] = {
      0x1.0000000000005p-1,  0x1.5555555555539p-3,  0x1.5555555552243p-5, 0x1.11111111190c7p-7,  0x1.6c16c17efc371p-10,
      0x1.a01a0174cd3e5p-13, 0x1.a019a70706b73p-16, 0x1.71de88599086p-19, 0x1.28a24d1dcd2b4p-22, 0x1.ae6bb77a00c0fp-26,
  };
  static constexpr double log1p[] = {
      0x1.5555555555556p-1, 0x1.999999999955dp-2, 0x1.24924924c1d9bp-2, 0x1.c71c71a5ddde4p-3,
      0x1.745d1e0315af5p-3, 0x1.3b12d5d8a3edp-3,  0x1.112345c9f94e2p-3, 0x1.dfe2a5145bc8p-4,
      0x1.c16fb66f5537ap-4, 0x1.1e7bf78d0764dp-4, 0x1.5141d905cfe11p-3,
  };
  static constexpr double tanh[] = {
      -0x1.55555555554c4p-2, 0x1.11111110fe3c3p-3, -0x1.ba1ba19f54ap-5,    0x1.664f3f4ad2dacp-6,
      -0x1.226c72e4c0c02p-7, 0x1.d66f2e260ee6ap-9, -0x1.770fc68127c67p-10, 0x1.f1cf061a39de3p-12,
  };
};

// The element type's layout, and the arguments beyond which a result no longer changes.
template <class T>
struct Limits;

template <>
struct Limits<float> {
  static constexpr int mantissa_bits = 23;
  static constexpr float bias = 127;
  static constexpr float rounder = 0x1.8p+23f;  // adding it rounds to an integer, held in the low bits
  static constexpr float exp_low = -104;        // exp(x) below rounds to 0
  static constexpr float exp_high = 89;         // exp(x) above rounds to infinity
  static constexpr float expm1_high = 20;       // e / (e + 2) rounds to 1 for e = exp(x) - 1 above
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float upscale = 0x1p+24f;  // makes a subnormal normal: 2^(mantissa_bits + 1)
};

template <>
struct Limits<double> {
  static constexpr int mantissa_bits = 52;
  static constexpr double bias = 1023;
  static constexpr double rounder = 0x1.8p+52;
  static constexpr double exp_low = -746;
  static constexpr double exp_high = 710;
  static constexpr double expm1_high = 40;
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double upscale = 0x1p+53;
};

template <class P>
using Vector = typename P::V;

template <class P>
SCHUSS_INLINE typename P::I bits(Vector<P> x) {
  return __builtin_bit_cast(typename P::I, x);
}

template <class P>
SCHUSS_INLINE Vector<P> from_bits(typename P::I i) {
  return __builtin_bit_cast(Vector<P>, i);
}

template <class P>
SCHUSS_INLINE typename P::I sign_bit() {
  return bits<P>(P::set(-0.0f));
}

// c[0] + c[1] x + ... + c[N-1] x^(N-1), Horner's rule
template <class P, int N>
SCHUSS_INLINE Vector<P> polynomial(Vector<P> x, const typename P::T (&c)[N]) {
  Vector<P> sum = P::set(c[N - 1]);
  SCHUSS_UNROLL
  for (int k = N - 2; k >= 0; --k) sum = P::fma(sum, x, P::set(c[k]));
  return sum;
}

// x - n ln 2, with ln 2 in two parts (Cody and Waite 1980)
template <class P>
SCHUSS_INLINE Vector<P> reduce(Vector<P> x, Vector<P> n) {
  using C = Constants<typename P::T>;
  return P::fma(n, P::set(-C::ln2_lo), P::fma(n, P::set(-C::ln2_hi), x));
}

// exp(r) - 1 for |r| <= ln 2 / 2
template <class P>
SCHUSS_INLINE Vector<P> reduced_expm1(Vector<P> r) {
  return P::fma(r * r, polynomial<P>(r, Constants<typename P::T>::expm1), r);
}

// n nearest to x / ln 2, and 2^n = first * second: neither factor leaves the normal numbers.
template <class P>
struct Power {
  Vector<P> n, first, second;
};

template <class P>
SCHUSS_INLINE Power<P> nearest_power(Vector<P> x) {
  using C = Constants<typename P::T>;
  using L = Limits<typename P::T>;
  const auto whole_rounder = L::rounder + 2 * L::bias;
  const auto half_rounder = L::rounder + L::bias;
  Vector<P> whole = P::fma(x, P::set(C::log2e), P::set(whole_rounder));
  Vector<P> half = P::fma(x, P::set(C::log2e / 2), P::set(half_rounder));
  return {whole - P::set(whole_rounder), from_bits<P>(bits<P>(half) << L::mantissa_bits),
          from_bits<P>((bits<P>(whole) - bits<P>(half)) << L::mantissa_bits)};
}

// exp for x in [exp_low, exp_high] or NaN
template <class P>
SCHUSS_INLINE Vector<P> exp_in_range(Vector<P> x) {
  Power<P> power = nearest_power<P>(x);
  Vector<P> e = reduced_expm1<P>(reduce<P>(x, power.n));
  return P::fma(e, power.first, power.first) * power.second;
}

// -|x|, not below exp_low
template <class P>
SCHUSS_INLINE Vector<P> decay_argument(Vector<P> x) {
  const Vector<P> low = P::set(Limits<typename P::T>::exp_low);
  x = from_bits<P>(bits<P>(x) | sign_bit<P>());
  return P::select(x < low, low, x);
}

// log(1 + f) for f in [1/sqrt2 - 1, 1]: log(1 + f) = 2 atanh(s), s = f / (2 + f); the result is f less the correction.
template <class P>
SCHUSS_INLINE Vector<P> log1p_correction(Vector<P> f) {
  Vector<P> s = f / (f + P::set(2));
  Vector<P> z = s * s;
  return s * P::fma(-z, polynomial<P>(z, Constants<typename P::T>::log1p), f);
}

// exp(x) - 1 for x <= 0
template <class P>
SCHUSS_INLINE Vector<P> expm1_below(Vector<P> x) {
  using C = Constants<typename P::T>;
  using L = Limits<typename P::T>;
  const auto rounder = L::rounder + L::bias;
  x = P::select(x < P::set(-L::expm1_high), P::set(-L::expm1_high), x);
  Vector<P> rounded = P::fma(x, P::set(C::log2e), P::set(rounder));
  Vector<P> power = from_bits<P>(bits<P>(rounded) << L::mantissa_bits);
  return P::fma(reduced_expm1<P>(reduce<P>(x, rounded - P::set(rounder))), power, power - P::set(1));
}

// exp(x)
template <class P>
SCHUSS_INLINE Vector<P> exp(Vector<P> x) {
  using L = Limits<typename P::T>;
  x = P::select(x > P::set(L::exp_high), P::set(L::exp_high), x);
  return exp_in_range<P>(P::select(x < P::set(L::exp_low), P::set(L::exp_low), x));
}

// Natural logarithm: log(0) = -infinity, NaN below.
template <class P>
SCHUSS_INLINE Vector<P> log(Vector<P> x) {
  using C = Constants<typename P::T>;
  using L = Limits<typename P::T>;
  const Vector<P> zero = P::set(0), infinity = P::set(kInfinity);
  const auto one_bits = bits<P>(P::set(1));
  const auto finite = (x > zero) & (x < infinity);
  const auto subnormal = x < P::set(L::smallest_normal);
  Vector<P> scaled = P::select(finite, P::select(subnormal, x * P::set(L::upscale), x), P::set(1));
  // scaled = 2^(exponent - bias) m with m in [sqrt(1/2), sqrt(2))
  auto exponent = bits<P>(scaled) + (one_bits - bits<P>(P::set(C::sqrt_half)));
  Vector<P> m = from_bits<P>(bits<P>(scaled) - ((exponent & bits<P>(infinity)) - one_bits));
  Vector<P> n = from_bits<P>((exponent >> L::mantissa_bits) | bits<P>(P::set(L::rounder)));
  const auto offset = L::rounder + L::bias;
  n = n - P::select(subnormal, P::set(offset + L::mantissa_bits + 1), P::set(offset));
  Vector<P> f = m - P::set(1);
  Vector<P> low = P::fma(n, P::set(C::ln2_lo), -log1p_correction<P>(f));
  Vector<P> y = P::fma(n, P::set(C::ln2_hi), f + low);
  Vector<P> limit = P::select(x == zero, -infinity, P::select(x < zero, P::set(kNaN), x));
  return P::select(finite, y, limit);
}

// log(1 + exp(x))
template <class P>
SCHUSS_INLINE Vector<P> softplus(Vector<P> x) {
  const Vector<P> zero = P::set(0);
  Vector<P> t = exp_in_range<P>(decay_argument<P>(x));
  return P::select(x > zero, x, zero) + (t - log1p_correction<P>(t));
}

// 1 / (1 + exp(-x)). With -|x| = n ln 2 + r and w = 2^n it is 1 / (1 + w + w expm1(r)) for x >= 0
// and w / (1 + w + expm1(-r)) below: exp itself is never rounded.
template <class P>
SCHUSS_INLINE Vector<P> logistic(Vector<P> x) {
  const Vector<P> one = P::set(1);
  const auto negative = x < P::set(0);
  Vector<P> y = decay_argument<P>(x);
  Power<P> power = nearest_power<P>(y);
  Vector<P> w = power.first * power.second;
  Vector<P> r = from_bits<P>(bits<P>(reduce<P>(y, power.n)) ^ (bits<P>(x) & sign_bit<P>()));
  Vector<P> e = reduced_expm1<P>(r);
  // 1/4 moved from w to 1 keeps the inner sum below 1, so that the outer one rounds most
  Vector<P> sum = P::fma(P::select(negative, one, w), e, w - P::set(0.25)) + P::set(1.25);
  return P::select(negative, w, one) / sum;
}

// Hyperbolic tangent: x + x^3 q(x^2) near 0, else e / (e + 2) with e = exp(2 |x|) - 1 = 2^n expm1(r) + (2^n - 1)
template <class P>
SCHUSS_INLINE Vector<P> tanh(Vector<P> x) {
  using C = Constants<typename P::T>;
  using L = Limits<typename P::T>;
  const auto rounder = L::rounder + L::bias;
  Vector<P> magnitude = from_bits<P>(bits<P>(x) & ~sign_bit<P>());
  Vector<P> y = magnitude + magnitude;
  y = P::select(y > P::set(L::expm1_high), P::set(L::expm1_high), y);
  Vector<P> rounded = P::fma(y, P::set(C::log2e), P::set(rounder));
  Vector<P> power = from_bits<P>(bits<P>(rounded) << L::mantissa_bits);
  Vector<P> e = reduced_expm1<P>(reduce<P>(y, rounded - P::set(rounder)));
  e = P::fma(e, power, power - P::set(1));
  Vector<P> z = magnitude * magnitude;
  Vector<P> near_zero = P::fma(magnitude * z, polynomial<P>(z, C::tanh), magnitude);
  Vector<P> result = P::select(magnitude < P::set(C::tanh_small), near_zero, e / (e + P::set(2)));
  return from_bits<P>(bits<P>(result) | (bits<P>(x) & sign_bit<P>()));
}

}  // namespace math

using math::exp, math::expm1_below, math::log, math::logistic, math::softplus, math::tanh;
