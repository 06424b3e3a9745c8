// SPDX-License-Identifier: Apache-2.0
// Between float32 and pairs of bfloat16. The conversion is the instruction's: to nearest, ties to even, denormals to
// zero, a NaN stays one.
//
// Included by bfloat16/kernels.cpp only, once for each family.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/transpose.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

using Pairs = Vec;  // 16 pairs, moved about as lanes

// Neighbours in a row: the pairs of 32 numbers, 16 in `low` and the 16 behind them.
ISTHMUS_INLINE Pairs neighbours(Vec low, Vec high) {
    return Vec(reinterpret_cast<NativeFloat>(_mm512_cvtne2ps_pbh((__m512)high.v, (__m512)low.v)));
}

alignas(64) static constexpr std::uint16_t kInterleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                              21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                              11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

// Neighbours in a column: lane i holds the pair of even[i] and odd[i], two rows of k.
ISTHMUS_INLINE Pairs stack(Vec even, Vec odd) {
    const __m512i order = _mm512_load_si512(kInterleave);
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd.v, (__m512)even.v);
    return Vec(reinterpret_cast<NativeFloat>(_mm512_maskz_permutexvar_epi16(0xffffffffU, order, both)));
}

ISTHMUS_INLINE void store_pairs(Pairs x, Pair* p) { _mm512_storeu_ps(p, (__m512)x.v); }

// The first `count` (also 0 or less: none) floats at p, the other lanes zero.
ISTHMUS_INLINE Vec load_some(const float* p, std::int64_t count) { return count > 0 ? load_part(p, count) : Vec(0.0F); }

static void round(std::int64_t rows, std::int64_t cols, const float* x, std::int64_t x_stride, Pair* pairs) {
    const std::int64_t stride = pair_stride(cols);
    for (std::int64_t r = 0; r < rows; ++r, x += x_stride, pairs += stride) {
        for (std::int64_t j = 0; j < cols; j += 2 * kLanes) {
            store_pairs(neighbours(load_some(x + j, cols - j), load_some(x + j + kLanes, cols - j - kLanes)),
                        pairs + j / 2);
        }
    }
}

// [input][pair of rows], by squares: 16 pairs of rows of 16 columns, transposed.
static void pack_columns(std::int64_t rows, const float* x, std::int64_t x_stride, std::int64_t inputs, float* out) {
    Pair* const to = reinterpret_cast<Pair*>(out);
    const std::int64_t pairs = padded_pairs(rows);
    for (std::int64_t i = 0; i < inputs; i += kLanes) {
        for (std::int64_t q = 0; q < pairs; q += kLanes) {
            Vec square[kLanes];
            const float* from = x + 2 * q * x_stride + i;
            for (int k = 0; k < kLanes; ++k, from += 2 * x_stride) {
                const std::int64_t rest = rows - 2 * (q + k);
                square[k] = stack(rest > 0 ? load_part(from, inputs - i) : Vec(0.0F),
                                  rest > 1 ? load_part(from + x_stride, inputs - i) : Vec(0.0F));
            }
            transpose_square(square);
            for (int lane = 0; lane < kLanes; ++lane) store_pairs(square[lane], to + (i + lane) * pairs + q);
        }
    }
}

static void pack_panel(std::int64_t rows, const float* dz, std::int64_t dz_stride, std::int64_t width, float* out) {
    Pair* to = reinterpret_cast<Pair*>(out);
    const std::int64_t pairs = padded_pairs(rows);
    for (std::int64_t q = 0; q < pairs; ++q, to += kPairPanel) {
        const float* even = dz + 2 * q * dz_stride;
        const float* odd = even + dz_stride;
        for (std::int64_t j = 0; j < width; j += kLanes) {
            store_pairs(stack(2 * q < rows ? Vec::load(even + j) : Vec(0.0F),
                              2 * q + 1 < rows ? Vec::load(odd + j) : Vec(0.0F)),
                        to + j);
        }
    }
}

// A layer's copies: the weight's panels over the outputs, k the inputs; then, for dx, those over the inputs, k the
// outputs.
static void copy_weights(const CopyArgs& c) {
    const PanelLayout layout{c.in + 1, c.out, kLanes, kPairPanel};
    const PairPanels forward{c.in, c.out};
    const PairPanels backward{c.out, c.in};
    const std::int64_t width = layout.panel_width(c.panel);
    const float* const weight = c.panels + layout.panel_offset(c.panel);
    Pair* const copies = reinterpret_cast<Pair*>(c.copies);

    Pair* const panel = copies + c.panel * forward.panel_size();
    for (std::int64_t i = c.begin; i < c.end; i += 2) {
        const float* row = weight + i * width;
        for (std::int64_t j = 0; j < width; j += kLanes) {
            store_pairs(stack(Vec::load(row + j), i + 1 < c.end ? Vec::load(row + width + j) : Vec(0.0F)),
                        panel + i / 2 * kPairPanel + j);
        }
    }
    if (!c.input_gradient) return;
    // Outputs are neighbours in a row here, so that a pair is there already and 16 of them are a square.
    for (std::int64_t i = c.begin; i < c.end; i += kLanes) {
        Vec square[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
            const float* row = weight + (i + lane) * width;
            square[lane] = i + lane >= c.end
                               ? Vec(0.0F)
                               : neighbours(Vec::load(row), width > kLanes ? Vec::load(row + kLanes) : Vec(0.0F));
        }
        transpose_square(square);
        Pair* to = copies + forward.size() + i / kPairPanel * backward.panel_size() + i % kPairPanel +
                   c.panel * kPairsInTile * kPairPanel;
        for (int q = 0; q < kLanes; ++q) store_pairs(square[q], to + q * kPairPanel);
    }
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
