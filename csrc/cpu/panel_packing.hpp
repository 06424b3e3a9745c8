// SPDX-License-Identifier: Apache-2.0
// Between rows and panels: columns and panels for the weight gradient, parameters from and to the contract's layout,
// the transposed copy of a weight.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/panel_product.hpp"
#include "cpu/transpose.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

static void pack_columns(std::int64_t rows, const float* x, std::int64_t x_stride, std::int64_t inputs, float* out) {
    for_each_tile(inputs, kTileRows, [&](std::int64_t i, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
        float* to = out + i * rows;
        for (std::int64_t r = 0; r < rows; ++r, to += height) {
            // What a whole vector writes too much is written again by what comes next.
            for (std::int64_t j = 0; j < height; j += kLanes)
                load_part(x + r * x_stride + i + j, height - j).store(to + j);
        }
    });
}

static void pack_panel(std::int64_t rows, const float* dz, std::int64_t dz_stride, std::int64_t width, float* out) {
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < width; j += kLanes) Vec::load(dz + r * dz_stride + j).store(out + r * width + j);
    }
}

static void pack_transposed(MatrixView from, std::int64_t width, float* to) {
    for (std::int64_t k = 0; k < from.cols; k += kLanes) {
        const std::int64_t depth = from.cols - k;
        for (std::int64_t c = 0; c < width; c += kLanes) {
            Vec square[kLanes];
            for (int i = 0; i < kLanes; ++i) {
                square[i] = c + i < from.rows ? load_part(from.data + (c + i) * from.stride + k, depth) : Vec(0.0F);
            }
            transpose_square(square);
            for (int i = 0; i < kLanes && i < depth; ++i) square[i].store(to + (k + i) * width + c);
        }
    }
}

static void unpack_transposed(const float* from, std::int64_t width, MutableMatrixView to) {
    for (std::int64_t k = 0; k < to.cols; k += kLanes) {
        const std::int64_t depth = to.cols - k;
        for (std::int64_t c = 0; c < to.rows; c += kLanes) {
            Vec square[kLanes];
            for (int i = 0; i < kLanes; ++i) square[i] = i < depth ? Vec::load(from + (k + i) * width + c) : Vec(0.0F);
            transpose_square(square);
            for (int i = 0; i < kLanes && c + i < to.rows; ++i) {
                store_part(square[i], to.data + (c + i) * to.stride + k, depth);
            }
        }
    }
}

// Rows [k_begin, k_end) of panel `panel` of the source, an L1-sized piece, written where the target keeps them: source
// element (k, column) is target element (column, k). k_begin is a multiple of kLanes; k_end too, or the target's width.
static void transpose(const PanelLayout& source, const float* from, std::int64_t panel, std::int64_t k_begin,
                      std::int64_t k_end, const PanelLayout& target, float* to) {
    const std::int64_t width = source.panel_width(panel);
    const float* rows = from + source.panel_offset(panel);
    for (std::int64_t k = k_begin; k < k_end; k += kLanes) {
        const std::int64_t p = k / kPanel;
        const std::int64_t target_width = target.panel_width(p);
        for (std::int64_t c = 0; c < width; c += kLanes) {
            Vec square[kLanes];
            for (int i = 0; i < kLanes; ++i) {
                square[i] = k + i < k_end ? Vec::load(rows + (k + i) * width + c) : Vec(0.0F);
            }
            transpose_square(square);
            const std::int64_t column = panel * kPanel + c;
            const std::int64_t rest = source.width - column;  // the target has no rows for padded columns
            float* out = to + target.panel_offset(p) + column * target_width + (k - p * kPanel);
            for (int i = 0; i < kLanes && i < rest; ++i) square[i].store(out + i * target_width);
        }
    }
}

static void copy_weights(const CopyArgs& c) {
    if (!c.input_gradient) return;
    transpose({c.in + 1, c.out, kLanes, kPanel}, c.panels, c.panel, c.begin, c.end, {c.out, c.in, kLanes, kPanel},
              c.copies);
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
