// The native step: two barriers, no gradient copies, the update fused.
//
//   propagate  each group carries its slice of the minibatch forward through every layer and back to the first
//              hidden layer's delta; its members share each product by panels of the output
//   update     every thread owns tiles of every W: sums a^T delta over the whole minibatch and applies the
//              optimizer to the tile in place
//
// W_l is kept packed for the whole training, as panels of its outputs for the forward product and, from the second
// layer on, transposed as panels of its inputs for delta. Both orders are written by the update.
#pragma once

#include <array>
#include <vector>

#include "../kernels/table.hpp"
#include "../partition/claims.hpp"
#include "layer_formulas.hpp"
#include "schuss/buffer.hpp"
#include "schuss/packing.hpp"
#include "step.hpp"

namespace schuss {

// Inputs in a tile of W: with a panel's outputs, 16 KB of float32 gradient, which stays in the first-level cache.
constexpr index kTileInputs = 64;

template <class T>
class NativeStep final : public Step<T> {
 public:
  // threads: that it is called by at most; penalised: the sum of squared weights is asked for
  NativeStep(const Network& network, const KernelTable<T>& kernels, index threads, Optimizer optimizer, bool penalised);

  void load(const Place&, int slot, const T* flat) override;
  void store(const Place&, int slot, T* flat) override;
  void reserve(index rows) override;
  index bytes(index rows) const override;
  void forward(const Place&, const Batch<T>&, T* out, double* losses) override;
  void propagate(const Place&, const Batch<T>&, double* losses) override;
  index squares_count() const override;
  void squares(const Place&, double* parts) override;
  void update(const Place&, const Batch<T>&, const Update<T>&) override;
  void gradient(const Place&, const Batch<T>&, T* flat, LayersReady*, bool resume) override;
  void apply(const Place&, const T* flat, const Update<T>&) override;

 private:
  struct Parameters {
    Buffer<T> weights;  // packed
    Buffer<T> bias;     // padded to whole vectors
  };
  struct Layer {
    Packing packing;                 // of W: inputs deep, outputs wide
    Packing transposed;              // of W^T: outputs deep, inputs wide
    std::array<Parameters, 3> slot;  // parameters, then the optimizer's state
    Buffer<T> transposed_weights;    // empty in the first layer
    Range tiles;                     // the layer's, in tiles_
    index stride = 0;                // between rows of a and delta
    Buffer<T> a;
    Buffer<T> delta;
    Buffer<T> slope;  // empty in layers that keep none
  };
  struct Tile {
    index layer;
    index panel;
    Range rows;                                     // inputs of the layer
    index squares;                                  // the first of its parts of ||W||^2
    bool first() const { return rows.begin == 0; }  // the one that the panel's biases go with
  };
  // Numbers of one tile and of its panel's biases, in a thread's own memory.
  struct Sums {
    T* weights;
    T* bias;
  };

  Layer& layer(index l) { return layers_[static_cast<std::size_t>(l)]; }
  const Layer& layer(index l) const { return layers_[static_cast<std::size_t>(l)]; }
  T* a_row(index l, index b) { return layer(l).a.data() + b * layer(l).stride; }
  T* delta_row(index l, index b) { return layer(l).delta.data() + b * layer(l).stride; }
  void pass(const Place&, const Batch<T>&, T* out, double* losses, bool learn);
  void gather(const Place&, const Batch<T>&, Range);
  void forward_layers(const Place&, const Batch<T>&, Range, bool learn);
  void output_layer(const Batch<T>&, Range, T* out, double* losses);
  void backward_layers(const Place&, Range);
  template <class Work>
  void share(const Place&, Range, const Packing&, Work work);
  template <class Finish>
  void multiply_sparse(const Place&, const Batch<T>&, Range, Finish finish);
  template <class Finish>
  void multiply(const Place&, Range, Product<T>, const Packing&, const T* panels, T* out, Finish finish);
  void add_tiles(index l, index squares);
  index together() const;
  index chunk(index tiles, index count, index threads) const;
  const Tile& tile(index t) const { return tiles_[static_cast<std::size_t>(t)]; }
  // Where the tile, and its panel's biases, lie in the flat vector and in a slot.
  index flat_weights(const Tile&) const;
  index flat_bias(const Tile&) const;
  T* weights(const Tile&, int slot);
  T* bias(const Tile&, int slot);
  const Packing& packing(const Tile& t) const { return layer(t.layer).packing; }
  Sums sums(const Place&, index i);
  void sum_tiles(const Place&, Range tiles, const Batch<T>&, const T* resume = nullptr);
  void sum_sparse_tile(const Tile&, const Batch<T>&, Range block, Sums, bool resume);
  void load_sums(const Tile&, const T* flat, Sums, T* spare, bool turned);
  void sum_tile(const Tile&, Range block, Sums, bool resume);
  bool turned(const Tile&) const;
  void turn_back(const Tile&, Sums, T* spare);
  void update_tile(const Tile&, Sums, const Update<T>&);
  void transpose_tile(const Tile&);
  void square_tile(const Tile&);

  const Network network_;
  const KernelTable<T>& kernels_;
  const LayerFormulas<T> formulas_;
  const int slots_;
  index capacity_ = 0;
  std::vector<Layer> layers_;       // 0 is the input
  std::vector<Tile> tiles_;         // of every W, layers from the last to the first
  std::vector<double> squares_;     // parts of ||W||^2, as new as the weights; empty where nobody asks for them
  Claims claims_;                   // of the tiles
  std::vector<Buffer<T>> scratch_;  // one tile of gradient a thread
};

}  // namespace schuss
