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
    // Over rows [begin, end) of the workspace, as thread `id` of those it has room for.
    WeightGradients(const Network& network, Workspace& work, int id, std::int64_t begin, std::int64_t end)
        : network_(network),
          work_(work),
          scratch_(work.scratch[static_cast<std::size_t>(id)]),
          begin_(begin),
          rows_(end - begin) {}

    // Tiles come in the network's order. dw: the tile's part of a flat buffer. `upcoming`: parts of three flat buffers
    // that will be wanted next, or nulls.
    void tile(const WeightTile& tile, bool accumulate, float* dw, const float* const (&upcoming)[3]);

private:
    const float* packed_columns(const WeightTile& tile, const float* x, std::int64_t x_stride);
    const float* packed_panel(const WeightTile& tile, const float* dz, std::int64_t dz_stride);

    const Network& network_;
    Workspace& work_;
    Workspace::Scratch& scratch_;
    std::int64_t begin_, rows_;
    // What the scratch holds: columns of `group_` of this layer (a bit for each tile of it), and one panel of dz.
    std::size_t columns_layer_ = SIZE_MAX;
    std::int64_t columns_group_ = -1;
    unsigned columns_packed_ = 0;
    std::size_t panel_layer_ = SIZE_MAX;
    std::int64_t panel_ = -1;
};

// The most floats in a gradient tile, the bias's row with it: a panel of AVX-512.
inline constexpr std::int64_t kWeightTileSize = (kWeightTileRows + 1) * 32;

// Rows of a batch of n whose gradient is summed apart from that of the rest, n for all: the first half of a batch of a
// small network. So two threads can each sum their own rows, and only 6 KB of sums cross between the cores where the
// rows' matrices are 48 KB (batch of 128, 30-16-8-16-30). Depends on shapes only: the sums have the same bits on any
// number of threads.
std::int64_t rows_summed_first(const Network& network, std::int64_t n);

// The gradient of weight tiles over the first n rows of the workspace, in one sum or in two.
class BatchGradients {
public:
    BatchGradients(const Network& network, Workspace& work, int id, std::int64_t n, std::int64_t summed_first)
        : network_(network),
          first_(network, work, id, 0, summed_first),
          rest_(network, work, id, summed_first, n),
          parts_(summed_first < n) {}

    // As WeightGradients::tile; a gradient in two sums cannot be accumulated to another.
    void tile(const WeightTile& tile, bool accumulate, float* dw, const float* const (&upcoming)[3]);

private:
    const Network& network_;
    WeightGradients first_;
    WeightGradients rest_;
    bool parts_;
};

}  // namespace isthmus::cpu
