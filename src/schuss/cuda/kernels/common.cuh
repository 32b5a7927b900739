// The kernels that every program has: what runs beside the products, and the outputs of a wide layer.
#pragma once

#include "head.cuh"
#include "small.cuh"

using namespace schuss::gpu;

SCHUSS_KERNEL(gather, GatherArguments, kGatherThreads, 0, 1, 0) { gather_row(p); }
SCHUSS_KERNEL(output, OutputArguments, kOutputThreads, 0, kOutputThreads / 16, 0) { output_rows_of(p); }
SCHUSS_KERNEL(losses, LossesArguments, kLossesThreads, kLossesThreads * 8, 0, 0) { sum_losses(p); }
SCHUSS_KERNEL(penalties, UpdateArguments, kSquareThreads, 0, kSquareRows, kSquareThreads) { weight_squares(p); }
SCHUSS_KERNEL(row_squares, UpdateArguments, kOutputThreads, 0, kOutputThreads / 16, 0) { gradient_squares(p); }
SCHUSS_KERNEL(clip_norm, UpdateArguments, kLossesThreads, (kLossesThreads + 1) * 8, 0, 0) { gradient_norm(p); }
SCHUSS_KERNEL(apply, UpdateArguments, kOutputThreads, 0, kOutputThreads / 16, 0) { apply_gradient(p); }
SCHUSS_KERNEL(find_infinite, UpdateArguments, kOutputThreads, 0, kOutputThreads / 16, 0) { find_infinite_parameter(p); }
SCHUSS_KERNEL(advance, AdvanceArguments, 1, 0, 0, 0) { p.state->step += p.steps; }
