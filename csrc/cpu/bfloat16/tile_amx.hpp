// SPDX-License-Identifier: Apache-2.0
// The tile of AMX: two by two tile registers of sums, 16 rows by 16 columns each. Fewer rows are a shape of their own,
// so that none beyond the last is read.
#pragma once

#include "cpu/bfloat16/tile.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

inline constexpr std::int64_t kTileRows = 32;

class TileUnit {
public:
    TileUnit() = default;
    TileUnit(const TileUnit&) = delete;
    TileUnit& operator=(const TileUnit&) = delete;
    ISTHMUS_INLINE ~TileUnit() {
        if (rows_ != 0) _tile_release();  // or the system saves 8 KB at each switch of threads
    }

    ISTHMUS_INLINE void multiply(const TileArgs& t) {
        if (t.rows != rows_) shape(t.rows);
        // GCC 12 does not know that a tile load reads memory.
        asm volatile("" : : : "memory");
        if (t.rows > 16) {
            t.vectors == 1 ? multiply_tiles<true, 1>(t) : multiply_tiles<true, 2>(t);
        } else {
            t.vectors == 1 ? multiply_tiles<false, 1>(t) : multiply_tiles<false, 2>(t);
        }
    }

private:
    // Registers: sums 0 1 above 2 3; rows of a 4 above 5; columns of b 6 7.
    template <bool kBelow, int NV>
    __attribute__((noinline)) static void multiply_tiles(const TileArgs& t) {
        constexpr long kRowBytes = kPairPanel * sizeof(Pair);
        const long init_bytes = t.init_stride * 4;
        const float* const init_below = t.init + 16 * t.init_stride;
        _tile_loadd(0, t.init, init_bytes);
        if constexpr (NV == 2) _tile_loadd(1, t.init + 16, init_bytes);
        if constexpr (kBelow) _tile_loadd(2, init_below, init_bytes);
        if constexpr (kBelow && NV == 2) _tile_loadd(3, init_below + 16, init_bytes);
        const Pair* a = t.a;
        const Pair* below = t.a + 16 * t.a_stride;
        const Pair* b = t.b;
        const long a_bytes = t.a_stride * 4;
        const std::int64_t lines = (t.lines + t.steps - 1) / t.steps;
        for (std::int64_t s = 0; s < t.steps; ++s) {
            fetch(t.upcoming + s * lines * kPairsInTile, lines);
            _tile_loadd(6, b, kRowBytes);
            _tile_loadd(4, a, a_bytes);
            _tile_dpbf16ps(0, 4, 6);
            if constexpr (NV == 2) {
                _tile_loadd(7, b + 16, kRowBytes);
                _tile_dpbf16ps(1, 4, 7);
            }
            if constexpr (kBelow) {
                _tile_loadd(5, below, a_bytes);
                _tile_dpbf16ps(2, 5, 6);
            }
            if constexpr (kBelow && NV == 2) _tile_dpbf16ps(3, 5, 7);
            a += kPairsInTile;
            below += kPairsInTile;
            b += kPairsInTile * kPairPanel;
        }
        const long c_bytes = t.c_stride * 4;
        float* const c_below = t.c + 16 * t.c_stride;
        _tile_stored(0, t.c, c_bytes);
        if constexpr (NV == 2) _tile_stored(1, t.c + 16, c_bytes);
        if constexpr (kBelow) _tile_stored(2, c_below, c_bytes);
        if constexpr (kBelow && NV == 2) _tile_stored(3, c_below + 16, c_bytes);
        asm volatile("" : : : "memory");
    }

    ISTHMUS_INLINE void shape(std::int64_t rows) {
        struct {
            std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
            std::uint16_t row_bytes[16] = {};
            std::uint8_t rows[16] = {};
        } config;
        const std::int64_t above = rows < 16 ? rows : 16;
        const std::int64_t below = rows > 16 ? rows - 16 : 16;
        const std::int64_t height[8] = {above, above, below, below, above, below, 16, 16};
        for (int i = 0; i < 8; ++i) {
            config.row_bytes[i] = 64;
            config.rows[i] = static_cast<std::uint8_t>(height[i]);
        }
        asm volatile("" : : "r"(&config) : "memory");  // its intrinsic claims to read eight bytes of the 64
        _tile_loadconfig(&config);
        rows_ = rows;
    }

    std::int64_t rows_ = 0;
};

}  // namespace isthmus::cpu::ISTHMUS_ISA
