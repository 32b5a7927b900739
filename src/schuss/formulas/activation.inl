// Activations f(z), and their derivatives read off a = f(z) or, for the last two, computed beside it.
//   identity   z                                1
//   logistic   1 / (1 + e^-z)                   a (1 - a)
//   tanh       tanh z                           1 - a^2
//   relu       max(z, 0)                        1 where a > 0, else 0                  (Nair & Hinton 2010)
//   exp        e^z                              a
//   leaky_relu z where z > 0, else z / 100      1 where a > 0, else 1/100              (Maas et al. 2013)
//   elu        z where z > 0, else e^z - 1      1 where a > 0, else a + 1              (Clevert et al. 2016)
//   selu       lambda times elu with alpha      lambda where a > 0, else a + lambda alpha  (Klambauer et al. 2017)
//   softplus   log(1 + e^z)                     1 - e^-a
//   hardtanh   z cut to [-1, 1]                 1 where |a| < 1, else 0
//   silu       z s, s = logistic(z)             s + a (1 - s)                          (Elfwing et al. 2018)
//   gelu       z s, s = logistic(u),            s + a (1 - s) u'                       (Hendrycks & Gimpel 2016,
//              u = 2 sqrt(2/pi) (z + 0.044715 z^3)                                      the form with tanh)
// softmax belongs to loss.inl: it acts on a whole row and its derivative only ever appears together with a loss.

constexpr double kLeak = 0.01;
constexpr double kSeluLambda = 1.0507009873554804934;
constexpr double kSeluAlpha = 1.6732632423543772848;
constexpr double kGeluLinear = 1.5957691216057307117;  // 2 sqrt(2 / pi)
constexpr double kGeluCubic = 0.071354816272600244;    // 0.044715 times that
constexpr double kGeluFlat = 25;                       // beyond it the logistic is 0 or 1, in float64 too

template <class V>
struct ValueAndSlope {
  V value, slope;
};

template <class P, Activation f>
SCHUSS_INLINE ValueAndSlope<typename P::V> activation_both(typename P::V z) {
  using T = typename P::T;
  using V = typename P::V;
  const V one = P::set(1);
  if constexpr (f == Activation::silu) {
    const V s = logistic<P>(z), a = z * s;
    return {a, P::fma(a, one - s, s)};
  } else {
    const V flat = P::set(T(kGeluFlat)), up = P::select(z > flat, flat, z), x = P::select(up < -flat, -flat, up);
    const V square = x * x;
    const V s = logistic<P>(x * P::fma(square, P::set(T(kGeluCubic)), P::set(T(kGeluLinear))));
    const V a = z * s;
    const V du = P::fma(square, P::set(T(3 * kGeluCubic)), P::set(T(kGeluLinear)));
    return {a, P::fma(a * (one - s), du, s)};
  }
}

template <class P, Activation f>
SCHUSS_INLINE typename P::V activation_value(typename P::V z) {
  using T = typename P::T;
  const typename P::V zero = P::set(0);
  if constexpr (needs_slope(f)) return activation_both<P, f>(z).value;
  if constexpr (f == Activation::logistic) return logistic<P>(z);
  if constexpr (f == Activation::tanh) return tanh<P>(z);
  if constexpr (f == Activation::relu) return P::select(z < zero, zero, z);  // keeps NaN
  if constexpr (f == Activation::exp) return exp<P>(z);
  if constexpr (f == Activation::leaky_relu) return P::select(z < zero, z * P::set(T(kLeak)), z);
  if constexpr (f == Activation::elu) return P::select(z < zero, expm1_below<P>(z), z);
  if constexpr (f == Activation::selu)
    return P::select(z < zero, P::set(T(kSeluLambda * kSeluAlpha)) * expm1_below<P>(z), P::set(T(kSeluLambda)) * z);
  if constexpr (f == Activation::softplus) return softplus<P>(z);
  if constexpr (f == Activation::hardtanh) {
    const typename P::V one = P::set(1), up = P::select(z > one, one, z);
    return P::select(up < -one, -one, up);
  }
  return z;
}

template <class P, Activation f>
SCHUSS_INLINE typename P::V activation_derivative(typename P::V a) {
  static_assert(!needs_slope(f));
  using T = typename P::T;
  using V = typename P::V;
  const V one = P::set(1);
  if constexpr (f == Activation::logistic) return a * (one - a);
  if constexpr (f == Activation::tanh) return P::fma(-a, a, one);
  if constexpr (f == Activation::relu) return P::select(a > V{}, one, V{});
  if constexpr (f == Activation::exp) return a;
  if constexpr (f == Activation::leaky_relu) return P::select(a > V{}, one, P::set(T(kLeak)));
  if constexpr (f == Activation::elu) return P::select(a > V{}, one, a + one);
  if constexpr (f == Activation::selu)
    return P::select(a > V{}, P::set(T(kSeluLambda)), a + P::set(T(kSeluLambda * kSeluAlpha)));
  if constexpr (f == Activation::softplus) return -expm1_below<P>(-a);
  if constexpr (f == Activation::hardtanh) return P::select((a < one) & (a > -one), one, V{});
  return one;
}

template <class T, T number>
struct Constant {
  SCHUSS_INLINE constexpr T operator()() const { return number; }
};

// work(number of f as a constant) for a hidden layer's f; not for identity, which has nothing to do
template <class Work>
SCHUSS_INLINE void with_activation(Activation f, Work work) {
  const auto call = [&]<Activation g>() { work(Constant<Activation, g>{}); };
  switch (f) {
    case Activation::logistic: return call.template operator()<Activation::logistic>();
    case Activation::tanh: return call.template operator()<Activation::tanh>();
    case Activation::relu: return call.template operator()<Activation::relu>();
    case Activation::exp: return call.template operator()<Activation::exp>();
    case Activation::leaky_relu: return call.template operator()<Activation::leaky_relu>();
    case Activation::elu: return call.template operator()<Activation::elu>();
    case Activation::selu: return call.template operator()<Activation::selu>();
    case Activation::gelu: return call.template operator()<Activation::gelu>();
    case Activation::silu: return call.template operator()<Activation::silu>();
    case Activation::softplus: return call.template operator()<Activation::softplus>();
    case Activation::hardtanh: return call.template operator()<Activation::hardtanh>();
    case Activation::identity:
    case Activation::softmax: return;
  }
}
