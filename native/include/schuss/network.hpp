// What a network is to the core: layer sizes, formulas by name, and where W_l and b_l lie in the flat vector.
#pragma once

#include <stdexcept>
#include <vector>

#include "schuss/loss.hpp"
#include "schuss/types.hpp"

namespace schuss {

// Share of each hidden layer's outputs that a step of learning leaves out, at random (Srivastava et al. 2014).
struct Dropout {
  std::vector<double> rates;  // one a hidden layer; empty: none
  std::uint64_t seed = 0;
};

// Layers are numbered 1..L; layer 0 is the input. W_l is (inputs(l), outputs(l)), row-major, and b_l follows it.
class Network {
 public:
  Network(std::vector<index> sizes, std::vector<Activation> activations, LossSettings loss, Dropout dropout = {})
      : sizes_(std::move(sizes)),
        activations_(std::move(activations)),
        loss_(std::move(loss)),
        dropout_(std::move(dropout)) {
    if (sizes_.size() < 2) throw std::invalid_argument("layer_sizes needs at least an input and an output");
    if (activations_.size() != sizes_.size() - 1)
      throw std::invalid_argument("activations needs one entry for each layer but the input");
    for (index n : sizes_)
      if (n < 1) throw std::invalid_argument("layer_sizes must be positive");
    for (std::size_t l = 0; l + 1 < activations_.size(); ++l)
      if (activations_[l] == Activation::softmax) throw std::invalid_argument("softmax is for the output layer");
    if (loss_.kind == Loss::quantile && loss_.levels.size() != static_cast<std::size_t>(targets()))
      throw std::invalid_argument("levels needs one entry for each output");
    if (!dropout_.rates.empty() && dropout_.rates.size() != activations_.size() - 1)
      throw std::invalid_argument("dropout needs one rate for each hidden layer");
    offsets_.push_back(0);
    for (index l = 1; l <= layers(); ++l) offsets_.push_back(offsets_.back() + (inputs(l) + 1) * outputs(l));
  }

  index layers() const { return static_cast<index>(sizes_.size()) - 1; }
  index width(index l) const { return sizes_[static_cast<std::size_t>(l)]; }
  index inputs(index l) const { return width(l - 1); }
  index outputs(index l) const { return width(l); }
  index features() const { return sizes_.front(); }
  index targets() const { return sizes_.back(); }
  Activation activation(index l) const { return activations_[static_cast<std::size_t>(l) - 1]; }
  const LossSettings& loss() const { return loss_; }
  double dropout(index l) const {
    return dropout_.rates.empty() || l == layers() ? 0 : dropout_.rates[static_cast<std::size_t>(l) - 1];
  }
  std::uint64_t seed() const { return dropout_.seed; }

  index weights(index l) const { return offsets_[static_cast<std::size_t>(l) - 1]; }
  index bias(index l) const { return weights(l) + inputs(l) * outputs(l); }
  index parameters() const { return offsets_.back(); }

 private:
  std::vector<index> sizes_;
  std::vector<Activation> activations_;
  LossSettings loss_;
  Dropout dropout_;
  std::vector<index> offsets_;
};

}  // namespace schuss
