// SPDX-License-Identifier: Apache-2.0
// A program as the device runs it, layer by layer. Parameters lie in the contract's own flat layout.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cuda/plan.hpp"
#include "device/code_stage.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// Of a matrix of the device's own: rows begin at multiples of 16 bytes.
constexpr std::int64_t row_stride(std::int64_t width) { return device_stride(width); }
constexpr std::int64_t plane_stride(std::int64_t width) { return (width + 7) / 8 * 8; }  // of planes.hpp

struct Layer {
    std::int64_t in = 0;
    std::int64_t out = 0;
    Activation activation = Activation::linear;
    Activation training_activation = Activation::linear;  // none before a loss that works on logits
    bool needs_z = false;                                 // does the derivative of the training activation?
    // Offsets of weight and bias in the state of params, m and v, one flat buffer after another, and of the weight's
    // gradient in a flat buffer. Where the layer is tied the first and last are those of copies behind: see tied.hpp.
    std::int64_t weight = 0;
    std::int64_t bias = 0;
    std::int64_t dweight = 0;
    bool tied = false;        // the weight is another layer's, transposed,
    std::int64_t shared = 0;  // and stands at this offset of a flat buffer

    std::int64_t in_stride() const { return row_stride(in); }
    std::int64_t out_stride() const { return row_stride(out); }
    // As planes in the flat layout: do rows begin at multiples of 16 bytes?
    bool weight_is_aligned() const { return in % 8 == 0 && !tied; }
};

class Network {
public:
    explicit Network(const Program& program, Arithmetic arithmetic = Arithmetic::simt);

    const std::vector<Layer>& layers() const { return layers_; }
    // What happens to the code behind its layer, or null. See code.hpp.
    const CodeStage* code() const { return code_ ? &*code_ : nullptr; }
    std::size_t ops() const { return layers_before_.size() - 1; }
    // How many layers the first `op` ops of the program are.
    std::size_t layers_before(std::size_t op) const { return layers_before_[op]; }
    Loss loss() const { return loss_; }
    Arithmetic arithmetic() const { return arithmetic_; }
    std::int64_t n_features() const { return layers_.front().in; }
    std::int64_t flat_size() const { return flat_size_; }
    // Floats of what tied layers have for themselves, of weights as of gradients; 0 without any.
    std::int64_t tied_size() const { return tied_size_; }
    // Of params, m and v, which lie one after another, and of all that stands with them.
    std::int64_t state_size() const { return 3 * flat_size_; }
    std::int64_t memory_size() const { return state_size() + tied_size_; }
    std::int64_t widest_stride() const { return widest_stride_; }
    // A row's matrices while training, in floats: the input, and y and dz of every layer; see Workspace.
    std::int64_t floats_a_row() const { return floats_a_row_; }
    // Of a training step: three products, two operations each.
    double step_flops(std::int64_t rows) const {
        return 6.0 * static_cast<double>(multiply_adds_) * static_cast<double>(rows);
    }

private:
    std::vector<Layer> layers_;
    std::vector<std::size_t> layers_before_;
    std::optional<CodeStage> code_;
    Loss loss_;
    Arithmetic arithmetic_;
    std::int64_t flat_size_;
    std::int64_t tied_size_ = 0;
    std::int64_t widest_stride_ = 0;
    std::int64_t floats_a_row_ = 0;
    std::int64_t multiply_adds_ = 0;
};

}  // namespace isthmus::cuda
