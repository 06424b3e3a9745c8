// SPDX-License-Identifier: Apache-2.0
// The one GEMM tile: c (MR, NV vectors) = init + sum over k of a(m, k) * b(k, :), accumulators in registers. All three
// products of a dense layer are this tile with other strides.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/simd.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

// Register tiles: MR rows by 2 vectors, as many rows as the accumulators leave room for two vectors of b and one
// broadcast. Of the shapes tried on a Zen 4 with AVX-512, 8x2 to 14x2 reach 97 % of the FMA peak, 6x4 95 %. A panel one
// vector wide has higher tiles: each multiply-add then takes a load of its own, so that the loads of b are what can be
// saved, and 64 rows are 3 tiles to begin and to end instead of 5.
#if defined(__AVX512F__)
inline constexpr int kTileRows = 14;
inline constexpr int kNarrowTileRows = 24;
#elif defined(__aarch64__)
inline constexpr int kTileRows = 12;
inline constexpr int kNarrowTileRows = 24;
#else
inline constexpr int kTileRows = 6;
inline constexpr int kNarrowTileRows = 12;
#endif
inline constexpr int kTileVectors = 2;
constexpr int most_tile_rows(std::int64_t vectors) { return vectors == 1 ? kNarrowTileRows : kTileRows; }
inline constexpr int kPanel = kTileVectors * kLanes;
inline constexpr std::int64_t kLine = 16;  // floats in a cache line

struct TileArgs {
    std::int64_t k;
    const float* a;
    std::int64_t a_stride;  // between rows m when k is contiguous, between k when m is
    const float* b;
    std::int64_t b_stride;     // between k
    const float* init;         // initial value of the accumulators
    std::int64_t init_stride;  // between rows m, of gemm_row between panels; 0: one row for all (bias, zero)
    float* c;
    std::int64_t c_stride;
    const float* kept;  // for an epilogue that reads what the layer below kept
    std::int64_t kept_stride;

    // What is wanted in L2 after this tile: one cache line for each k at each of `upcoming` for the first `lines` k,
    // and then one at `later` up to `more` k; the lines are a stride apart. Memory and the arithmetic then run side by
    // side; a burst of prefetches before the tile would wait for itself.
    const float* upcoming[3];
    std::int64_t upcoming_stride[3];
    const float* later;
    std::int64_t later_stride;
    std::int64_t lines, more;
};

// How a(m, k) lies in memory: a[m * stride + k], or a[k * stride + m].
enum class Order { rows, columns };

// Epilogue: what becomes of an accumulator before it is stored.
struct Unchanged {
    static constexpr bool reads_kept = false;
    ISTHMUS_INLINE static Vec apply(Vec sum) { return sum; }
};

template <class Finish>
ISTHMUS_INLINE void store_finished(Vec sum, const float* kept, float* c) {
    if constexpr (Finish::reads_kept) {
        Finish::apply(sum, Vec::load(kept)).store(c);
    } else {
        Finish::apply(sum).store(c);
    }
}

template <int MR, int NV, Order kOrder, class Finish>
__attribute__((noinline)) static void gemm_tile(const TileArgs& t) {
    Vec acc[MR][NV];
    const float* const init = t.init;
    const std::int64_t init_stride = t.init_stride;
#pragma GCC unroll 24
    for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 4
        for (int n = 0; n < NV; ++n) acc[m][n] = Vec::load(init + m * init_stride + n * kLanes);
    }

    const float* b = t.b;
    const std::int64_t b_stride = t.b_stride;
    const std::int64_t a_stride = t.a_stride;
    // Of rows, three share a pointer ([p], [p + stride], [p + 2 * stride] are addressing modes), so that 14 rows need
    // five registers and not fourteen.
    constexpr int kGroups = kOrder == Order::rows ? (MR + 2) / 3 : 1;
    const float* a[kGroups];
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) a[g] = t.a + 3 * g * a_stride;

    const auto multiply = [&]() ISTHMUS_LAMBDA_INLINE {
        Vec bk[NV];
#pragma GCC unroll 4
        for (int n = 0; n < NV; ++n) bk[n] = Vec::load(b + n * kLanes);
#pragma GCC unroll 24
        for (int m = 0; m < MR; ++m) {
            const Vec am(kOrder == Order::rows ? a[m / 3][(m % 3) * a_stride] : a[0][m]);
#pragma GCC unroll 4
            for (int n = 0; n < NV; ++n) acc[m][n] = fma(am, bk[n], acc[m][n]);
        }
#pragma GCC unroll 8
        for (int g = 0; g < kGroups; ++g) a[g] += kOrder == Order::rows ? 1 : a_stride;
        b += b_stride;
    };

    constexpr int kStreams = kOrder == Order::rows ? 2 : 3;
    std::int64_t k = 0;
    for (; k < t.lines && k < t.k; ++k) {
#pragma GCC unroll 3
        for (int i = 0; i < kStreams; ++i) __builtin_prefetch(t.upcoming[i] + k * t.upcoming_stride[i], 0, 2);
        multiply();
    }
    for (; k < t.more && k < t.k; ++k) {
        __builtin_prefetch(t.later + k * t.later_stride, 0, 2);
        multiply();
    }
#pragma GCC unroll 2
    for (; k < t.k; ++k) multiply();

    // Copies: to the compiler each store of a vector may change t.
    float* c = t.c;
    const float* kept = t.kept;
    const std::int64_t c_stride = t.c_stride;
    const std::int64_t kept_stride = t.kept_stride;
#pragma GCC unroll 24
    for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 4
        for (int n = 0; n < NV; ++n) store_finished<Finish>(acc[m][n], kept + n * kLanes, c + n * kLanes);
        c += c_stride;
        kept += kept_stride;
    }
}

// One row by kRowPanels full panels, `panel_stride` floats apart: with a single row, one panel's two accumulators would
// wait four cycles for every k.
inline constexpr int kRowPanels = 4;

template <class Finish>
__attribute__((noinline)) static void gemm_row(const TileArgs& t, std::int64_t panel_stride) {
    Vec acc[kRowPanels][kTileVectors];
#pragma GCC unroll 4
    for (int p = 0; p < kRowPanels; ++p) {
#pragma GCC unroll 4
        for (int n = 0; n < kTileVectors; ++n) {
            acc[p][n] = Vec::load(t.init + p * t.init_stride + n * kLanes);
        }
    }
    for (std::int64_t k = 0; k < t.k; ++k) {
        const Vec am(t.a[k]);
        const float* b = t.b + k * kPanel;
#pragma GCC unroll 4
        for (int p = 0; p < kRowPanels; ++p) {
#pragma GCC unroll 4
            for (int n = 0; n < kTileVectors; ++n) {
                acc[p][n] = fma(am, Vec::load(b + p * panel_stride + n * kLanes), acc[p][n]);
            }
        }
    }
#pragma GCC unroll 4
    for (int p = 0; p < kRowPanels; ++p) {
#pragma GCC unroll 4
        for (int n = 0; n < kTileVectors; ++n) {
            const int j = p * kPanel + n * kLanes;
            store_finished<Finish>(acc[p][n], t.kept + j, t.c + j);
        }
    }
}

using TileFunction = void (*)(const TileArgs&);

// gemm_tile<1 .. most, NV, ...> by number of rows.
template <int NV, Order kOrder, class Finish, int MR = most_tile_rows(NV)>
struct TileTable : TileTable<NV, kOrder, Finish, MR - 1> {
    constexpr TileTable() { this->entry[MR] = &gemm_tile<MR, NV, kOrder, Finish>; }
};
template <int NV, Order kOrder, class Finish>
struct TileTable<NV, kOrder, Finish, 0> {
    TileFunction entry[most_tile_rows(NV) + 1] = {};
};
template <int NV, Order kOrder, class Finish>
static constexpr TileTable<NV, kOrder, Finish> kTiles{};

template <Order kOrder, class Finish>
ISTHMUS_INLINE TileFunction find_tile(std::int64_t rows, std::int64_t vectors) {
    return vectors == 1 ? kTiles<1, kOrder, Finish>.entry[rows] : kTiles<2, kOrder, Finish>.entry[rows];
}

// Splits n rows into the fewest tiles of nearly equal height: 16 rows are 8 + 8, not 14 + 2.
struct TileRows {
    std::int64_t tiles, base, larger;  // the first `larger` tiles have base + 1 rows
    TileRows(std::int64_t n, int most)
        : tiles((n + most - 1) / most), base(tiles ? n / tiles : 0), larger(tiles ? n % tiles : 0) {}
    std::int64_t height(std::int64_t tile) const { return base + (tile < larger ? 1 : 0); }
};

}  // namespace isthmus::cpu::ISTHMUS_ISA
