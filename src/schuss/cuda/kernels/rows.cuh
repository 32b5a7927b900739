// Rows of outputs, a half-warp each: its lanes are the 16 virtual lanes through which the CPU sums a row, and its tree
// the same, so that the formulas of formulas/loss.inl give the same bits.
#pragma once

#include "numbers.cuh"

namespace schuss::gpu {

SCHUSS_DEVICE bool finite(double x) { return x - x == 0; }

struct HalfWarp {
  using P = Scalar<T>;
  using V = T;
  using One = T;
  static constexpr index step = 16;

  SCHUSS_DEVICE static index lane() { return static_cast<index>(threadIdx.x) % step; }

  struct Sum {
    V mine = 0;
    SCHUSS_DEVICE void add(index, V v) { mine += v; }
    SCHUSS_DEVICE One total() const {
      V sum = mine;
      for (int half = step / 2; half > 0; half /= 2) sum += shuffle_down(sum, half, step);
      return shuffle(sum, 0, step);
    }
  };

  index columns;  // none in a half-warp that has no row
  T* data;

  SCHUSS_DEVICE bool inside(index j) const { return j + lane() < columns; }
  SCHUSS_DEVICE V load(index j) const { return inside(j) ? data[j + lane()] : T(0); }
  SCHUSS_DEVICE void store(index j, V v) const {
    if (inside(j)) data[j + lane()] = v;
  }
  SCHUSS_DEVICE One maximum() const {
    V top = -static_cast<T>(kInfinity);
    for (index j = 0; j < columns; j += step) top = inside(j) && !(load(j) <= top) ? load(j) : top;
    for (int half = step / 2; half > 0; half /= 2) {
      const V other = shuffle_xor(top, half, step);
      top = other > top ? other : top;
    }
    return top;
  }
  SCHUSS_DEVICE static V spread(One x) { return x; }
  SCHUSS_DEVICE static V factor(const T* rows) { return *rows; }
  SCHUSS_DEVICE static V column(const T* columns, index j) { return columns[j + lane()]; }
  SCHUSS_DEVICE static One logarithm(One x) { return log<P>(x); }
  SCHUSS_DEVICE static T row(One x, index) { return x; }
};

// z of a row becomes a.
SCHUSS_DEVICE void activate_row(Activation f, HalfWarp z) {
  if (f == Activation::softmax) return divide(z, exponentials(z, z.maximum()));
  with_activation(f, [&](auto g) {
    SCHUSS_LOOP
    for (index j = 0; j < z.columns; j += z.step) z.store(j, activation_value<Scalar<T>, g()>(z.load(j)));
  });
}

}  // namespace schuss::gpu
