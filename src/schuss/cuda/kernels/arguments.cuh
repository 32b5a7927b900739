// What the kernels are given: one structure each, whose twins are in arguments.py, which passes on their sizes.
//
// Matrices are row-major; every row begins at a multiple of 16 elements, and what lies between its last column and the
// next row is 0 and stays 0.
#pragma once

#include "numbers.cuh"

namespace schuss::gpu {

// Where a call stands: written by the kernels, read by the host between graphs.
struct State {
  long long step;     // first of the steps that the running graph takes
  long long stopped;  // 0, or 1 + the first step whose loss was not finite
  long long n_steps;  // for which there are data
};

// The numbers of one step, in float64 as the host computes them.
struct StepNumbers {
  long long first;  // of the minibatch, in the order
  long long count;  // examples in it
  long long draw;   // number by which dropout draws
  double total;     // weight of the minibatch
  double rate, penalty, keep;
};

// Where a kernel finds its step: `ahead` of the graph's first.
struct Moment {
  const StepNumbers* steps;
  State* state;
  long long ahead;

  SCHUSS_DEVICE long long number() const { return state->step + ahead; }
  SCHUSS_DEVICE const StepNumbers& step() const { return steps[number()]; }
  SCHUSS_DEVICE int half() const { return static_cast<int>(number() & 1); }  // of what two steps use in turns
  // 1 + the number of a step that is not to be taken. Blocks of one node may set it while others of that node read it:
  // none of them takes what it finds for its own step.
  SCHUSS_DEVICE long long stopped() const { return *static_cast<const volatile long long*>(&state->stopped); }
  SCHUSS_DEVICE void stop(long long step) const { *static_cast<volatile long long*>(&state->stopped) = step + 1; }

  // Beyond the data, or after a step whose loss was not finite.
  SCHUSS_DEVICE bool over() const {
    const long long stop = stopped();
    return number() >= state->n_steps || (stop != 0 && stop <= number());
  }
  // Whether this step moves the parameters: its loss is finite, and some example has weight.
  SCHUSS_DEVICE bool taken() const { return number() < state->n_steps && stopped() == 0 && step().total != 0; }
};

enum class Element { float32 = 0, float64 = 1, uint8 = 2 };

// The examples that are on the device at present.
struct Source {
  const void* x;           // (rows, features), `x_stride` elements from row to row
  const long long* order;  // null: the rows as they lie, the first being number `base` of the steps' count
  const int* labels;       // class numbers, or null
  const void* targets;     // T (rows, outputs), or null
  const double* weights;   // one a row, or null: all 1
  long long x_stride;
  long long base;
  long long element;
  double scale, shift;  // the network sees x * scale + shift
};

struct GatherArguments {
  Moment at;
  const Source* source;
  void* a;                  // S [2][capacity][a_stride]
  void* y;                  // T [2][capacity][y_stride]
  double* example_weights;  // [2][capacity]
  double on, off;           // targets of the right class and of the others, for labels
  int features, a_stride, outputs, y_stride, capacity;
};

// Z = A W + b, or with another epilogue D = (D' W^T) o f'(Z).
struct ProductArguments {
  Moment at;
  const void* a;  // S: activations, or deltas of the layer above
  const void* w;  // S (inputs, w_stride)
  const void* bias;
  void* out;              // S: a or delta of this layer; T for z of a wide output layer
  void* slope;            // T, or null: f'(z) beside a
  const void* activated;  // S: a of this layer, which f' is read off where there is no slope
  void* partial;          // T: sums of the parts
  unsigned* tickets;      // one a tile, 0 between launches
  long long a_half;       // elements between the two halves of a; 0 where there is one
  uint64 seed;            // of dropout, with the layer in it
  double keep_scale;      // dropout: 1 / (1 - rate)
  unsigned threshold;     // dropout: below it a unit is left out; 0: none
  int activation;
  int plain;           // 1: z itself, in T, of a wide output layer
  int columns, depth;  // of the result, of the sums
  int a_stride, w_stride, out_stride;
};

// Head of a network with up to 16 outputs: product, output activation, loss, and the deltas of the last two layers.
struct HeadArguments {
  Moment at;
  const void* a;  // S: of the last hidden layer
  const void* w;  // T (inputs, 16)
  const void* bias;
  void* y;  // T [2][capacity][y_stride], becomes delta; null: outputs only
  const double* example_weights;
  void* out;    // T (capacity, y_stride), or null
  void* delta;  // S (capacity, y_stride), or null
  void* below;  // S: delta of the last hidden layer, or null
  const void* slope;
  double* losses;      // [2][capacity], without weights
  const void* levels;  // T: of the quantile loss
  long long a_half;
  double parameter, cap;
  int loss, output, activation;  // activation of the last hidden layer
  int inputs, outputs, a_stride, y_stride, below_stride, capacity;
};

struct OutputArguments {
  Moment at;
  void* z;  // T (capacity, y_stride); becomes a
  void* y;  // T [2][capacity][y_stride], becomes delta; null: outputs only
  const double* example_weights;
  void* delta;
  double* losses;
  const void* levels;
  double parameter, cap;
  int loss, output, outputs, y_stride, capacity;
};

struct LossesArguments {
  Moment at;
  const double* losses;
  const double* example_weights;
  const double* squares;  // parts of ||W||^2, or null
  double* out;            // mean loss of each step
  double scale, alpha;
  long long n_squares;
  int capacity;
  int decides;  // 1: the update waits for this sum, which stops it where it is not finite
};

// One layer's weight gradient, and its parameters.
struct LayerArguments {
  const void* a;      // S (examples, inputs)
  const void* delta;  // S (examples, outputs)
  void* w[3];         // T (inputs + 1, stride): weights with the bias as the last row, then the optimizer's state
  void* copy;         // S: the weights as the products read them, where S is not T
  void* gradient;     // T (inputs, stride), then a row for the bias: where the gradient itself is asked for
  void* partial;
  unsigned* tickets;
  double* squares;    // of the gradient's rows, bias last
  double* penalties;  // parts of ||W||^2
  long long a_half;
  int inputs, outputs, stride, a_stride;
  int parts, tiles_across;
  int first_block, first_row;  // of all the layers' together
};

struct UpdateArguments {
  Moment at;
  const LayerArguments* layers;
  const double* squares;  // of the gradient's rows, all layers', bias rows last in each
  double* norm;           // of the gradient
  double momentum, beta2, epsilon, clip_norm;
  long long rows;  // in all layers, biases as a row each
  int n_layers, optimizer;
  int keep_gradient;  // 1: write the gradient and leave the parameters
  int go_on;          // 1: with sums that begin with what is there
};

struct AdvanceArguments {
  State* state;
  long long steps;
};

#define SCHUSS_CHECK_SIZE(name) static_assert(sizeof(name) == SCHUSS_SIZE_##name, "arguments.py has another layout")
SCHUSS_CHECK_SIZE(State);
SCHUSS_CHECK_SIZE(StepNumbers);
SCHUSS_CHECK_SIZE(Source);
SCHUSS_CHECK_SIZE(GatherArguments);
SCHUSS_CHECK_SIZE(ProductArguments);
SCHUSS_CHECK_SIZE(HeadArguments);
SCHUSS_CHECK_SIZE(OutputArguments);
SCHUSS_CHECK_SIZE(LossesArguments);
SCHUSS_CHECK_SIZE(LayerArguments);
SCHUSS_CHECK_SIZE(UpdateArguments);
SCHUSS_CHECK_SIZE(AdvanceArguments);

}  // namespace schuss::gpu
