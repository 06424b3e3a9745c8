// SPDX-License-Identifier: Apache-2.0
// How a product on wgmma is cut: pure functions of shapes, tested without a device.
//
// A tile never changes a bit, so it is free to depend on the rows and on the device; the parts of a weight gradient
// change bits and depend on its shape alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/plan.hpp"
#include "math/host_device.hpp"

namespace isthmus::cuda {

inline constexpr int kWgmmaRows = 128;  // of outputs in a tile: 64 for each of two warpgroups
inline constexpr int kWgmmaSlice = 64;  // of k at a time: 128 bytes of bfloat16, the width of the swizzle
inline constexpr int kWgmmaGroup = 16;  // tiles of m that blocks take up together, so that they share b in L2

// Whether a layer is meant for these products. Widths alone decide, never rows: at inference the bits must not depend
// on how rows are divided. Below, a tile is half empty and a slice or two do not fill the pipeline. A guess, until
// measured.
inline bool wgmma_suits(std::int64_t in, std::int64_t out) { return in >= 128 && out >= 128; }

// Columns of a tile, 64, 128 or 256, and how many blocks there are at most.
struct WgmmaGrid {
    int columns;
    int blocks;
};

// The tile of a product (m, n): what takes least time when each wave of tiles takes as long as its columns, and as 32
// more for what a tile of any width costs, its rows of a first. Three planes have two sets of sums, which leaves
// registers for 128 columns. A guess, until measured.
inline WgmmaGrid wgmma_grid(std::int64_t m, std::int64_t n, int planes, int multiprocessors) {
    int best = 0;
    std::int64_t least = 0;
    for (const int columns : {256, 128, 64}) {
        if (columns == 256 && planes != 1) continue;
        const std::int64_t tiles = (m + kWgmmaRows - 1) / kWgmmaRows * ((n + columns - 1) / columns);
        const std::int64_t time = (tiles + multiprocessors - 1) / multiprocessors * (columns + 32);
        if (best != 0 && time >= least) continue;
        best = columns;
        least = time;
    }
    return {best, multiprocessors};
}

// As row_parts, for tiles of 128 x 128: a part is whole slices, at least four.
inline constexpr std::int64_t kWgmmaPartTiles = 128;  // tiles times parts, where there are parts
inline RowParts wgmma_row_parts(std::int64_t rows, std::int64_t out, std::int64_t in) {
    const std::int64_t tiles = (out + 127) / 128 * ((in + 127) / 128);
    const std::int64_t slices = (rows + kWgmmaSlice - 1) / kWgmmaSlice;
    const std::int64_t count =
        std::clamp<std::int64_t>(kWgmmaPartTiles / tiles, 1, std::max<std::int64_t>(1, slices / 4));
    const std::int64_t part = std::max<std::int64_t>(1, (slices + count - 1) / count);
    return {std::max<std::int64_t>(1, (slices + part - 1) / part), part * kWgmmaSlice};
}
// What all parts of any gradient take, its bias gradient's, and the most tiles that have parts. The narrowest tile has
// 64 columns.
inline constexpr std::int64_t kWgmmaPartFloats = kWgmmaPartTiles * 128 * 128;
inline constexpr std::int64_t kWgmmaBiasPartFloats = kWgmmaPartTiles * 128;
inline constexpr std::int64_t kWgmmaPartCounters = kWgmmaPartTiles;

// The product (m, n) over k, as its blocks share it out: piece after piece, one block every so many.
struct WgmmaPieces {
    int m, n, k;
    int tiles_m, tiles_n;
    int parts, part_slices;

    ISTHMUS_HD int total() const { return tiles_m * tiles_n * parts; }
};
inline WgmmaPieces wgmma_pieces(std::int64_t m, std::int64_t n, std::int64_t k, int columns, const RowParts& parts) {
    return {static_cast<int>(m),
            static_cast<int>(n),
            static_cast<int>(k),
            static_cast<int>((m + kWgmmaRows - 1) / kWgmmaRows),
            static_cast<int>((n + columns - 1) / columns),
            static_cast<int>(parts.count),
            static_cast<int>((parts.rows + kWgmmaSlice - 1) / kWgmmaSlice)};
}

// One piece: a tile, and the slices of k that belong to a part.
struct WgmmaPiece {
    int tile_m, tile_n, part;
    int first_slice, slices;
};
ISTHMUS_HD WgmmaPiece wgmma_piece(const WgmmaPieces& all, int index) {
    const int tiles = all.tiles_m * all.tiles_n;
    const int part = index / tiles;
    const int tile = index % tiles;
    const int group = tile / (kWgmmaGroup * all.tiles_n);
    const int within = tile % (kWgmmaGroup * all.tiles_n);
    const int left = all.tiles_m - group * kWgmmaGroup;
    const int rows = left < kWgmmaGroup ? left : kWgmmaGroup;
    const int first_slice = part * all.part_slices;
    const int slices = (all.k + kWgmmaSlice - 1) / kWgmmaSlice - first_slice;
    return {group * kWgmmaGroup + within % rows, within / rows, part, first_slice,
            slices < all.part_slices ? slices : all.part_slices};
}

}  // namespace isthmus::cuda
