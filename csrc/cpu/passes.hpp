// SPDX-License-Identifier: Apache-2.0
// The two phases of a step, for a share of the work: rows through all layers and back, and weight tiles.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cpu/network.hpp"
#include "cpu/workspace.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu {

// Parameters in the device's own layout.
struct Weights {
    const float* params;
    const float* transposed;
};

// Rows [begin, end) of the piece `rows` of row numbers: gather, corrupt, forward, loss, dz of every layer.
void forward_backward(const Network& network, Weights weights, const RowSource& source,
                      std::span<const std::int64_t> rows, const Noise& noise, std::int64_t begin, std::int64_t end,
                      Workspace& work);

// Gradient of one weight tile over the first `rows` rows of the workspace into dw (tile's rows x panel width), and, for
// a tile that begins its panel, of the panel's bias into db.
void weight_tile_gradient(const Network& network, const WeightTile& tile, const Workspace& work, std::int64_t rows,
                          bool accumulate, float* dw, float* db);

// Where a tile's weights and its panel's bias stand in a flat buffer.
struct TilePlace {
    std::int64_t weight, weight_size;
    std::int64_t bias, bias_size;  // bias_size 0: the tile does not begin its panel
};
TilePlace tile_place(const Network& network, const WeightTile& tile);

// Layers [first, last) on rows of x into y, through two buffers of `row_block` rows. `logits`: the last layer of the
// network gives z when the loss works on logits. Each finished block is handed to `finish(row, count, output, stride)`.
template <class Finish>
void forward_blocks(const Network& network, const float* params, std::size_t first, std::size_t last, bool logits,
                    MatrixView x, std::int64_t begin, std::int64_t end, float* const buffers[2], Finish&& finish) {
    const std::int64_t block = row_block(network);
    for (std::int64_t row = begin; row < end; row += block) {
        const std::int64_t count = end - row < block ? end - row : block;
        const float* input = x.row(row);
        std::int64_t stride = x.stride;
        int target = 0;
        for (std::size_t i = first; i < last; ++i) {
            const Layer& layer = network.layers()[i];
            const Activation activation = logits ? network.training_activation(i) : layer.activation;
            network.isa().dense_forward({count, layer.in, layer.out, input, stride, params + layer.weight,
                                         params + layer.bias, activation, buffers[target], layer.out_stride, nullptr});
            input = buffers[target];
            stride = layer.out_stride;
            target ^= 1;
        }
        finish(row, count, input, stride);
    }
}

}  // namespace isthmus::cpu
