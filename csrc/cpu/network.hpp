// SPDX-License-Identifier: Apache-2.0
// A program laid out for the CPU: where each layer's panels stand in the device's own flat buffers, and the packing
// from and to the contract's row-major layout.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cpu/buffer.hpp"
#include "cpu/isa.hpp"
#include "cpu/layout.hpp"
#include "device/code_stage.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu {

struct Layer {
    std::int64_t in = 0;
    std::int64_t out = 0;
    Activation activation = Activation::linear;
    bool needs_z = false;
    bool input_gradient = false;  // not for the first layer
    bool tied = false;            // its weight is that of the layer `owner`, transposed
    std::size_t owner = 0;

    PanelLayout forward;      // {in + 1, out}: of weight and bias, their gradient, m, v
    PanelLayout backward;     // {out, in}: the transposed copy for dx = dz @ w, in float32
    std::int64_t weight = 0;  // offset of the forward panels in a flat buffer
    std::int64_t copies = 0;  // offset in the buffer of what the products read besides: see Products

    std::int64_t in_stride = 0;   // of the layer's input matrix
    std::int64_t out_stride = 0;  // of its output, z and dz

    Parameter weight_parameter;
    Parameter bias_parameter;
};

// Parameters, and what the products read besides, in the device's own layout.
struct Weights {
    const float* params;
    const float* copies;
};

// Inputs [begin, end) of one panel of one layer, with the bias when they are the last: what a thread takes at a time in
// the weight phase.
struct WeightTile {
    std::size_t layer;
    std::int64_t panel;
    std::int64_t begin, end;
    bool bias;
    std::int64_t offset, size;  // of its part of a flat buffer
};

// Inputs a weight tile covers: a multiple of every instruction set's panel, so that its transposed copy is whole
// panels' rows, and small enough that gradient, weight and moments of a tile (4 x 8 KB) stay in L1.
inline constexpr std::int64_t kWeightTileRows = 64;

// Inputs that all panels are taken over before the next: their columns of a batch of 512 rows (512 KB) stay in L2.
inline constexpr std::int64_t kWeightGroupRows = 256;

class Network {
public:
    Network(const Program& program, const InstructionSet& isa, const Products& products);

    const InstructionSet& isa() const { return *isa_; }
    const Products& products() const { return *products_; }
    const std::vector<Layer>& layers() const { return layers_; }
    const std::vector<WeightTile>& weight_tiles() const { return weight_tiles_; }
    // What happens to the code behind its layer, or null. See code.hpp.
    const CodeStage* code() const { return code_ ? &*code_ : nullptr; }
    // How many layers the first `op` ops of the program are.
    std::size_t layers_before(std::size_t op) const { return layers_before_[op]; }
    // Do layers share a weight? Each has panels of its own, which hold the same numbers: see tied.hpp.
    bool tied() const { return tied_; }
    Loss loss() const { return loss_; }
    bool loss_from_logits() const { return loss_from_logits_; }
    std::int64_t n_features() const { return layers_.front().in; }
    std::int64_t flat_size() const { return flat_size_; }
    std::int64_t copies_size() const { return copies_size_; }
    std::int64_t widest_stride() const { return widest_stride_; }
    std::int64_t multiply_adds() const { return multiply_adds_; }  // of one row's forward pass
    std::int64_t contract_size() const { return contract_size_; }

    // Activation the last layer applies before the loss sees it: none when the loss works on logits.
    Activation training_activation(std::size_t layer) const;

    // Contract's flat buffer -> ours and back. `from` empty: zero. unpack leaves alone what belongs to no parameter.
    void pack(std::span<const float> from, Buffer& to, int threads) const;
    void unpack(const Buffer& from, std::span<float> to, int threads) const;
    // The copies of all layers.
    void copy_weights(const Buffer& params, Buffer& copies) const;
    void copy_weights(const WeightTile& tile, const float* params, float* copies) const {
        const Layer& layer = layers_[tile.layer];
        products_->copy_weights({params + layer.weight, layer.in, layer.out, tile.panel, tile.begin, tile.end,
                                 layer.input_gradient, copies + layer.copies});
    }

private:
    const InstructionSet* isa_;
    const Products* products_;
    std::vector<Layer> layers_;
    std::vector<WeightTile> weight_tiles_;
    std::vector<std::size_t> layers_before_;
    std::optional<CodeStage> code_;
    Loss loss_;
    bool loss_from_logits_;
    bool tied_ = false;
    std::int64_t flat_size_ = 0;
    std::int64_t copies_size_ = 0;
    std::int64_t widest_stride_ = 0;
    std::int64_t multiply_adds_ = 0;
    std::int64_t contract_size_ = 0;
};

}  // namespace isthmus::cpu
