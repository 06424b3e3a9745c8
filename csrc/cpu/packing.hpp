// SPDX-License-Identifier: Apache-2.0
// Between row-major matrices and panels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/layout.hpp"
#include "isthmus/types.hpp"

namespace isthmus::cpu {

// Calls f(panel's first element, its width, its first column, its columns without padding).
template <class F>
void for_each_panel(const PanelLayout& layout, F&& f) {
    for (std::int64_t p = 0; p < layout.count(); ++p) {
        const std::int64_t column = p * layout.panel;
        f(layout.panel_offset(p), layout.panel_width(p), column, std::min(layout.panel, layout.width - column));
    }
}

// Panels of a matrix (depth, width).
inline void pack(const PanelLayout& layout, MatrixView from, float* to) {
    for_each_panel(layout, [&](std::int64_t offset, std::int64_t width, std::int64_t column, std::int64_t columns) {
        for (std::int64_t k = 0; k < layout.depth; ++k)
            std::copy_n(from.row(k) + column, columns, to + offset + k * width);
    });
}

// A layer's panels, {in + 1, out}: the transpose of its weight (out, in), and its bias as the last row. No bias: zero.
inline void pack_weight(const PanelLayout& layout, MatrixView weight, const float* bias, float* to) {
    for_each_panel(layout, [&](std::int64_t offset, std::int64_t width, std::int64_t column, std::int64_t columns) {
        for (std::int64_t c = 0; c < columns; ++c) {
            const float* row = weight.row(column + c);
            float* out = to + offset + c;
            for (std::int64_t k = 0; k < weight.cols; ++k) out[k * width] = row[k];
            out[weight.cols * width] = bias ? bias[column + c] : 0.0F;
        }
    });
}

inline void unpack_weight(const PanelLayout& layout, const float* from, MutableMatrixView weight, float* bias) {
    for_each_panel(layout, [&](std::int64_t offset, std::int64_t width, std::int64_t column, std::int64_t columns) {
        for (std::int64_t c = 0; c < columns; ++c) {
            float* row = weight.row(column + c);
            const float* in = from + offset + c;
            for (std::int64_t k = 0; k < weight.cols; ++k) row[k] = in[k * width];
            if (bias) bias[column + c] = in[weight.cols * width];
        }
    });
}

}  // namespace isthmus::cpu
