// SPDX-License-Identifier: Apache-2.0
// What a batch leaves behind for the weight phase: every layer's input, output and dz, row by row.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/buffer.hpp"
#include "cpu/network.hpp"

namespace isthmus::cpu {

// Rows a step works on at a time; a larger batch is summed piece by piece into the flat gradient, in the same order.
// 1,024 rows of the MNIST network's matrices are 10 MB.
inline constexpr std::int64_t kPieceRows = 1024;

struct Workspace {
    Workspace(const Network& network, std::int64_t rows)
        : rows(rows),
          x(rows * network.layers().front().in_stride),
          errors(static_cast<std::size_t>(rows)),
          scales(static_cast<std::size_t>(rows)),
          targets(static_cast<std::size_t>(rows)) {
        for (const Layer& layer : network.layers()) {
            y.emplace_back(rows * layer.out_stride);
            dz.emplace_back(rows * layer.out_stride);
        }
    }

    std::int64_t rows;
    Buffer x;                // gathered input, corrupted when there is noise
    std::vector<Buffer> y;   // output of each layer
    std::vector<Buffer> dz;  // holds z between forward and backward where the activation needs it
    std::vector<double> errors;
    std::vector<float> scales;
    std::vector<const float*> targets;
};

// Rows taken through all layers at a time. Weights of up to 1 MB stay in L2 whatever the block, so the block is what
// leaves the rows' matrices there too; larger ones come from memory once a block, so then it is large.
inline std::int64_t row_block(const Network& network) {
    const std::int64_t tile = network.isa().tile_rows;
    constexpr std::int64_t kFloatsInL2 = std::int64_t{1} << 18;
    if (network.multiply_adds() > kFloatsInL2) return 18 * tile;
    const std::int64_t fitting = kFloatsInL2 / network.widest_stride();
    return fitting < 2 * tile ? 2 * tile : fitting > 8 * tile ? 8 * tile : fitting;
}

}  // namespace isthmus::cpu
