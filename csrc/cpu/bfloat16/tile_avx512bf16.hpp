// SPDX-License-Identifier: Apache-2.0
// The tile in registers: up to 14 rows by 2 vectors of accumulators, one dot product of pairs for each pair of k. A
// tile of 28 rows is two of them over the same panel.
#pragma once

#include "cpu/bfloat16/tile.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

inline constexpr std::int64_t kRegisterRows = 14;
inline constexpr std::int64_t kTileRows = 2 * kRegisterRows;

template <int MR, int NV>
__attribute__((noinline)) static void multiply_rows(const TileArgs& t) {
    __m512 sum[MR][NV];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 2
        for (int n = 0; n < NV; ++n) sum[m][n] = _mm512_loadu_ps(t.init + m * t.init_stride + n * kLanes);
    }
    const Pair* b = t.b;
    const std::int64_t a_stride = t.a_stride;
    // Three rows share a pointer, as in the tile in float32.
    constexpr int kGroups = (MR + 2) / 3;
    const Pair* a[kGroups];
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) a[g] = t.a + 3 * g * a_stride;
    const std::int64_t pairs = t.steps * kPairsInTile;
#pragma GCC unroll 2
    for (std::int64_t k = 0; k < pairs; ++k, b += kPairPanel) {
        __m512bh bk[NV];
#pragma GCC unroll 2
        for (int n = 0; n < NV; ++n) bk[n] = (__m512bh)_mm512_loadu_si512(b + n * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) {
            const __m512bh am = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[m / 3][(m % 3) * a_stride + k]));
#pragma GCC unroll 2
            for (int n = 0; n < NV; ++n) sum[m][n] = _mm512_dpbf16_ps(sum[m][n], am, bk[n]);
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 2
        for (int n = 0; n < NV; ++n) _mm512_storeu_ps(t.c + m * t.c_stride + n * kLanes, sum[m][n]);
    }
}

// multiply_rows<1 .. kRegisterRows, NV> by number of rows.
template <int NV, int MR = kRegisterRows>
struct RowsTable : RowsTable<NV, MR - 1> {
    constexpr RowsTable() { this->entry[MR] = &multiply_rows<MR, NV>; }
};
template <int NV>
struct RowsTable<NV, 0> {
    void (*entry[kRegisterRows + 1])(const TileArgs&) = {};
};
template <int NV>
static constexpr RowsTable<NV> kRows{};

class TileUnit {
public:
    ISTHMUS_INLINE void multiply(TileArgs t) {
        fetch(t.upcoming, t.lines);
        const std::int64_t rows = t.rows;
        const std::int64_t top = rows > kRegisterRows ? (rows + 1) / 2 : rows;
        const auto& entry = t.vectors == 1 ? kRows<1>.entry : kRows<2>.entry;
        entry[top](t);
        if (top == rows) return;
        t.a += top * t.a_stride;
        t.init += top * t.init_stride;
        t.c += top * t.c_stride;
        entry[rows - top](t);
    }
};

}  // namespace isthmus::cpu::ISTHMUS_ISA
