// SPDX-License-Identifier: Apache-2.0
// One thread's gradients of weight tiles over the rows of a batch. A wide layer's columns of x and panel of dz lie a
// row apart, each row on a page of its own; where they are read several times they are first packed side by side.
#pragma once

#include <cstdint>

#include "cpu/network.hpp"
#include "cpu/workspace.hpp"

namespace isthmus::cpu {

class WeightGradients {
public:
    // Over the first `rows` rows of the workspace, as thread `id` of those it has room for.
    WeightGradients(const Network& network, Workspace& work, int id, std::int64_t rows)
        : network_(network), work_(work), scratch_(work.scratch[static_cast<std::size_t>(id)]), rows_(rows) {}

    // Tiles come in the network's order. dw: the tile's part of a flat buffer. `upcoming`: parts of three flat buffers
    // that will be wanted next, or nulls.
    void tile(const WeightTile& tile, bool accumulate, float* dw, const float* const (&upcoming)[3]);

private:
    const float* packed_columns(const WeightTile& tile, const float* x, std::int64_t x_stride);
    const float* packed_panel(const WeightTile& tile, const float* dz, std::int64_t dz_stride);

    const Network& network_;
    Workspace& work_;
    Workspace::Scratch& scratch_;
    std::int64_t rows_;
    // What the scratch holds: columns of `group_` of this layer (a bit for each tile of it), and one panel of dz.
    std::size_t columns_layer_ = SIZE_MAX;
    std::int64_t columns_group_ = -1;
    unsigned columns_packed_ = 0;
    std::size_t panel_layer_ = SIZE_MAX;
    std::int64_t panel_ = -1;
};

}  // namespace isthmus::cpu
