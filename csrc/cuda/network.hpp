// SPDX-License-Identifier: Apache-2.0
// A program as the device runs it, layer by layer. Parameters lie in the contract's own flat layout.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/plan.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// Of a matrix of the device's own: rows begin at multiples of 16 bytes.
constexpr std::int64_t row_stride(std::int64_t width) { return (width + 3) / 4 * 4; }
constexpr std::int64_t plane_stride(std::int64_t width) { return (width + 7) / 8 * 8; }  // of planes.hpp

struct Layer {
    std::int64_t in = 0;
    std::int64_t out = 0;
    Activation activation = Activation::linear;
    Activation training_activation = Activation::linear;  // none before a loss that works on logits
    bool needs_z = false;                                 // does the derivative of the training activation?
    std::int64_t weight = 0;                              // offsets in a flat buffer
    std::int64_t bias = 0;

    std::int64_t in_stride() const { return row_stride(in); }
    std::int64_t out_stride() const { return row_stride(out); }
    // As planes in the flat layout: do rows begin at multiples of 16 bytes?
    bool weight_is_aligned() const { return in % 8 == 0; }
};

class Network {
public:
    explicit Network(const Program& program, Arithmetic arithmetic = Arithmetic::simt);

    const std::vector<Layer>& layers() const { return layers_; }
    Loss loss() const { return loss_; }
    Arithmetic arithmetic() const { return arithmetic_; }
    std::int64_t n_features() const { return layers_.front().in; }
    std::int64_t flat_size() const { return flat_size_; }
    std::int64_t widest_stride() const { return widest_stride_; }
    // A row's matrices while training, in floats: the input, and y and dz of every layer; see Workspace.
    std::int64_t floats_a_row() const { return floats_a_row_; }
    // Of a training step: three products, two operations each.
    double step_flops(std::int64_t rows) const {
        return 6.0 * static_cast<double>(multiply_adds_) * static_cast<double>(rows);
    }

private:
    std::vector<Layer> layers_;
    Loss loss_;
    Arithmetic arithmetic_;
    std::int64_t flat_size_;
    std::int64_t widest_stride_ = 0;
    std::int64_t floats_a_row_ = 0;
    std::int64_t multiply_adds_ = 0;
};

}  // namespace isthmus::cuda
