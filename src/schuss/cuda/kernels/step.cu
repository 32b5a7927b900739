// The kernels of plan `cuda`: a gradient step in few nodes. See docs/cuda.md for which waits for which.
#include "common.cuh"
#include "head.cuh"
#include "layers.cuh"
#include "weights.cuh"

#define SCHUSS_PRODUCT(name, Shape, function, along)                                                         \
  SCHUSS_KERNEL(name, ProductArguments, (Shape::threads), (Tile<Shape, true, along>::shared), (Shape::rows), \
                (Shape::columns)) {                                                                          \
    function<Shape>(p);                                                                                      \
  }
#define SCHUSS_WEIGHTS(name, Shape)                                                                          \
  SCHUSS_KERNEL(name, UpdateArguments, (Shape::threads), (Tile<Shape, false, false>::shared), (Shape::rows), \
                (Shape::columns)) {                                                                          \
    weights<Shape>(p);                                                                                       \
  }

SCHUSS_PRODUCT(forward_small, Small, forward, false)
SCHUSS_PRODUCT(forward_medium, Medium, forward, false)
SCHUSS_PRODUCT(forward_large, Large, forward, false)
SCHUSS_PRODUCT(delta_small, Small, delta, true)
SCHUSS_PRODUCT(delta_medium, Medium, delta, true)
SCHUSS_PRODUCT(delta_large, Large, delta, true)
SCHUSS_WEIGHTS(weights_small, Small)
SCHUSS_WEIGHTS(weights_medium, Medium)
SCHUSS_WEIGHTS(weights_large, Large)

SCHUSS_KERNEL(head, HeadArguments, Head::threads, Head::shared, Head::rows, Head::outputs) { Head::run(p); }
SCHUSS_KERNEL(head_tall, HeadArguments, TallHead::threads, TallHead::shared, TallHead::rows, TallHead::outputs) {
  TallHead::run(p);
}
