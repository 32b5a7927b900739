// The kernels of plan `cuda`: a gradient step in few nodes. See docs/cuda.md for which waits for which.
#include "head.cuh"
#include "layers.cuh"
#include "small.cuh"
#include "weights.cuh"

using namespace schuss::gpu;

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

SCHUSS_KERNEL(gather, GatherArguments, kGatherThreads, 0, 1, 0) { gather_row(p); }
SCHUSS_KERNEL(head, HeadArguments, Head::threads, Head::shared, Head::rows, Head::outputs) { Head::run(p); }
SCHUSS_KERNEL(head_tall, HeadArguments, TallHead::threads, TallHead::shared, TallHead::rows, TallHead::outputs) {
  TallHead::run(p);
}
SCHUSS_KERNEL(output, OutputArguments, kOutputThreads, 0, kOutputThreads / 16, 0) { output_rows_of(p); }
SCHUSS_KERNEL(losses, LossesArguments, kLossesThreads, kLossesThreads * 8, 0, 0) { sum_losses(p); }
SCHUSS_KERNEL(penalties, UpdateArguments, kSquareThreads, 0, kSquareRows, kSquareThreads) { weight_squares(p); }
SCHUSS_KERNEL(row_squares, UpdateArguments, kOutputThreads, 0, kOutputThreads / 16, 0) { gradient_squares(p); }
SCHUSS_KERNEL(clip_norm, UpdateArguments, kLossesThreads, (kLossesThreads + 1) * 8, 0, 0) { gradient_norm(p); }
SCHUSS_KERNEL(apply, UpdateArguments, kOutputThreads, 0, kOutputThreads / 16, 0) { apply_gradient(p); }
SCHUSS_KERNEL(find_infinite, UpdateArguments, kOutputThreads, 0, kOutputThreads / 16, 0) { find_infinite_parameter(p); }
SCHUSS_KERNEL(advance, AdvanceArguments, 1, 0, 0, 0) { p.state->step += p.steps; }
