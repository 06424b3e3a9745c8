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

// Panels of the transpose of a matrix (width, depth).
inline void pack_transposed(const PanelLayout& layout, MatrixView from, float* to) {
    for_each_panel(layout, [&](std::int64_t offset, std::int64_t width, std::int64_t column, std::int64_t columns) {
        for (std::int64_t c = 0; c < columns; ++c) {
            const float* row = from.row(column + c);
            for (std::int64_t k = 0; k < layout.depth; ++k) to[offset + k * width + c] = row[k];
        }
    });
}

inline void unpack_transposed(const PanelLayout& layout, const float* from, MutableMatrixView to) {
    for_each_panel(layout, [&](std::int64_t offset, std::int64_t width, std::int64_t column, std::int64_t columns) {
        for (std::int64_t c = 0; c < columns; ++c) {
            float* row = to.row(column + c);
            for (std::int64_t k = 0; k < layout.depth; ++k) row[k] = from[offset + k * width + c];
        }
    });
}

}  // namespace isthmus::cpu
