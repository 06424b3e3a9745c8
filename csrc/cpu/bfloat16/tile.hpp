// SPDX-License-Identifier: Apache-2.0
// The tile that all products in bfloat16 are made of: c (rows, vectors of 16) = init + a (rows, k) @ b (k, panel), with
// operands in bfloat16, pair by pair, and sums in float32. What a family of instructions defines: kTileRows, the rows
// that it takes at a time, and TileUnit, whose life is the use of that hardware and whose multiply() is the tile.
//
// A row's result does not depend on the other rows, and k is one fixed order: that keeps the bits.
//
// Included by bfloat16/kernels.cpp only, once for each family.
#pragma once

#include "cpu/layout.hpp"
#include "cpu/simd.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

struct TileArgs {
    std::int64_t steps;  // of kPairsInTile pairs
    const Pair* a;
    std::int64_t a_stride;
    const Pair* b;             // a panel: [pair][kPairPanel]
    const float* init;         // initial value of the sums
    std::int64_t init_stride;  // between rows; 0: one row for all (bias, zero)
    float* c;
    std::int64_t c_stride;
    std::int64_t rows;     // 1 .. kTileRows
    std::int64_t vectors;  // 1 or 2

    const Pair* upcoming;  // wanted in L2 after this tile: `lines` cache lines, a few for each step
    std::int64_t lines;
};

ISTHMUS_INLINE void fetch(const Pair* from, std::int64_t lines) {
    for (std::int64_t i = 0; i < lines; ++i) __builtin_prefetch(from + i * kPairsInTile, 0, 2);
}

}  // namespace isthmus::cpu::ISTHMUS_ISA

#if defined(__AMX_BF16__)
#include "cpu/bfloat16/tile_amx.hpp"
#else
#include "cpu/bfloat16/tile_avx512bf16.hpp"
#endif
