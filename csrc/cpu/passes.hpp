// SPDX-License-Identifier: Apache-2.0
// The two phases of a step, for a share of the work: rows through all layers and back, and weight tiles.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cpu/network.hpp"
#include "cpu/team.hpp"
#include "cpu/workspace.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu {

// Parameters in the device's own layout.
struct Weights {
    const float* params;
    const float* transposed;
};

// This member's share of `rows`, row numbers: gather, corrupt, forward, loss, dz of every layer. `next_rows`: the row
// numbers of the batch that follows, if one does.
void forward_backward(const Network& network, Weights weights, const RowSource& source,
                      std::span<const std::int64_t> rows, std::span<const std::int64_t> next_rows, const Noise& noise,
                      const Member& me, Workspace& work);

// Layers [first, last) on rows of x into y, through two buffers of up to most_block_rows rows. `logits`: the last layer
// of the network gives z when the loss works on logits. Each finished block is handed to `finish(row, count, output,
// stride)`.
template <class Finish>
void forward_blocks(const Network& network, const float* params, std::size_t first, std::size_t last, bool logits,
                    MatrixView x, std::int64_t begin, std::int64_t end, float* const buffers[2], Finish&& finish) {
    for_each_row_block(network, begin, end, [&](std::int64_t row, std::int64_t block_end) {
        const std::int64_t count = block_end - row;
        const float* input = x.row(row);
        std::int64_t stride = x.stride;
        int target = 0;
        for (std::size_t i = first; i < last; ++i) {
            const Layer& layer = network.layers()[i];
            const Activation activation = logits ? network.training_activation(i) : layer.activation;
            network.isa().dense_forward({count, layer.in, layer.out, input, stride, params + layer.weight, activation,
                                         buffers[target], layer.out_stride, nullptr, nullptr});
            input = buffers[target];
            stride = layer.out_stride;
            target ^= 1;
        }
        finish(row, count, input, stride);
    });
}

}  // namespace isthmus::cpu
