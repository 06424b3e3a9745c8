// SPDX-License-Identifier: Apache-2.0
#include "cpu/weight_gradients.hpp"

#include <algorithm>

namespace isthmus::cpu {

void WeightGradients::tile(const WeightTile& tile, bool accumulate, float* dw, const float* const (&upcoming)[3]) {
    const Layer& layer = network_.layers()[tile.layer];
    const float* x = work_.layer_inputs[tile.layer] + begin_ * layer.in_stride + tile.begin;
    const float* dz = work_.dz[tile.layer] + begin_ * layer.out_stride + tile.panel * layer.forward.panel;
    const float* const dz_rows = dz;
    std::int64_t dz_stride = layer.out_stride;
    const bool packed = packs_columns(network_, layer);
    if (packed) x = packed_columns(tile, x, layer.in_stride);
    if (packs_panels(network_, layer)) {
        dz = packed_panel(tile, dz, dz_stride);
        dz_stride = layer.forward.panel_width(tile.panel);
    }
    network_.products().weight_gradient({rows_,
                                         x,
                                         layer.in_stride,
                                         packed,
                                         tile.end - tile.begin,
                                         dz,
                                         dz_stride,
                                         dz_rows,
                                         layer.out_stride,
                                         layer.forward.panel_width(tile.panel),
                                         tile.bias,
                                         accumulate,
                                         dw,
                                         layer.forward.panel_width(tile.panel),
                                         {upcoming[0], upcoming[1], upcoming[2]}});
}

const float* WeightGradients::packed_columns(const WeightTile& tile, const float* x, std::int64_t x_stride) {
    const std::int64_t group = tile.begin / kWeightGroupRows;
    if (tile.layer != columns_layer_ || group != columns_group_) {
        columns_layer_ = tile.layer;
        columns_group_ = group;
        columns_packed_ = 0;
    }
    const std::int64_t number = (tile.begin - group * kWeightGroupRows) / kWeightTileRows;
    float* to = scratch_.columns + number * packed_tile_size(network_, rows_);
    if ((columns_packed_ >> number & 1U) == 0) {
        network_.products().pack_columns(rows_, x, x_stride, tile.end - tile.begin, to);
        columns_packed_ |= 1U << number;
    }
    return to;
}

const float* WeightGradients::packed_panel(const WeightTile& tile, const float* dz, std::int64_t dz_stride) {
    if (tile.layer != panel_layer_ || tile.panel != panel_) {
        panel_layer_ = tile.layer;
        panel_ = tile.panel;
        const std::int64_t width = network_.layers()[tile.layer].forward.panel_width(tile.panel);
        network_.products().pack_panel(rows_, dz, dz_stride, width, scratch_.panel);
    }
    return scratch_.panel;
}

std::int64_t rows_summed_first(const Network& network, std::int64_t n) {
    // Below 0.6 MFLOP a step the barrier and the sums cost what a second thread gains; from 4,096 parameters on it is
    // more to exchange them than to divide the tiles.
    constexpr std::int64_t kMostParameters = 4096;
    constexpr std::int64_t kLeastMultiplyAdds = 100'000;
    const bool small = network.flat_size() <= kMostParameters && n <= kPieceRows;
    if (!small || n * network.multiply_adds() < kLeastMultiplyAdds) return n;
    // Both parts would pack into the one place for packed columns.
    const bool packs = std::ranges::any_of(network.layers(), [&](const Layer& layer) {
        return packs_columns(network, layer) || packs_panels(network, layer);
    });
    return packs ? n : n / 2;
}

void BatchGradients::tile(const WeightTile& tile, bool accumulate, float* dw, const float* const (&upcoming)[3]) {
    first_.tile(tile, accumulate, dw, upcoming);
    if (!parts_) return;
    alignas(64) float rest[kWeightTileSize];
    rest_.tile(tile, false, rest, {});
    network_.isa().sum(tile.size, dw, rest, dw);
}

}  // namespace isthmus::cpu
