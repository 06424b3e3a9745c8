// SPDX-License-Identifier: Apache-2.0
// How the CPU keeps a matrix so that the one GEMM tile reads it without a stride penalty.
//
// A weight w (out, in) lives as panels of `panel` outputs, each k-major: panel p is [in + 1][w_p], the last row the
// bias; w_p = panel but for the last, which is as many whole vectors as it needs. The same shape over the inputs,
// [out][w_p], serves dx = dz @ w. Optimizer moments and gradients share the layout of the first. Padded lanes hold zero
// and keep it: their dz is zero.
#pragma once

#include <cstdint>

#include "math/host_device.hpp"  // ISTHMUS_HD: every instruction set includes this file, and none may leave a copy

namespace isthmus::cpu {

ISTHMUS_HD std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

// Row stride of an activation matrix: whole cache lines, and an odd number of them, so that a column walks through all
// sets of a cache instead of hitting a few.
ISTHMUS_HD std::int64_t activation_stride(std::int64_t width) {
    const std::int64_t lines = round_up(width, 16) / 16;
    return (lines | 1) * 16;
}

// Floats, or pairs of bfloat16, in half of an L2 cache of 2 MB: what is meant to stay there while the rest streams by.
inline constexpr std::int64_t kWordsInL2 = std::int64_t{1} << 18;
// Panels larger than this do not fit beside such rows: they come from L3 or memory once for each block of rows.
inline constexpr std::int64_t kWordsBesideRows = std::int64_t{1} << 16;

struct PanelLayout {
    std::int64_t depth = 0;  // k: rows of each panel
    std::int64_t width = 0;  // columns over all panels, without padding
    std::int64_t lanes = 0;  // floats in a vector
    std::int64_t panel = 0;  // floats in a full panel's row, a multiple of lanes

    ISTHMUS_HD std::int64_t count() const { return (width + panel - 1) / panel; }
    ISTHMUS_HD std::int64_t padded_width() const { return round_up(width, lanes); }
    ISTHMUS_HD std::int64_t size() const { return depth * padded_width(); }
    ISTHMUS_HD std::int64_t panel_offset(std::int64_t p) const { return p * panel * depth; }
    ISTHMUS_HD std::int64_t panel_width(std::int64_t p) const {
        const std::int64_t rest = padded_width() - p * panel;
        return rest < panel ? rest : panel;
    }
};

// ---- bfloat16 ---------------------------------------------------------------------------------------------------
//
// Two numbers that are neighbours in k, the lower one in the lower half: what the instructions multiply at a time. k is
// padded with zeros to whole tiles of AMX, 16 pairs.

using Pair = std::uint32_t;

inline constexpr std::int64_t kPairsInTile = 16;
inline constexpr std::int64_t kPairPanel = 32;  // columns of a panel of pairs, which is AVX-512's panel

ISTHMUS_HD std::int64_t padded_pairs(std::int64_t depth) { return round_up(depth, 2 * kPairsInTile) / 2; }

// Row stride of a row-major matrix: an odd number of cache lines, as above.
ISTHMUS_HD std::int64_t pair_stride(std::int64_t width) {
    return (padded_pairs(width) / kPairsInTile | 1) * kPairsInTile;
}

// A matrix (depth, width) as panels [pair of k][kPairPanel columns], the last one as wide as the others.
struct PairPanels {
    std::int64_t depth = 0;
    std::int64_t width = 0;

    ISTHMUS_HD std::int64_t panel_size() const { return padded_pairs(depth) * kPairPanel; }
    ISTHMUS_HD std::int64_t size() const { return (width + kPairPanel - 1) / kPairPanel * panel_size(); }
};

}  // namespace isthmus::cpu
