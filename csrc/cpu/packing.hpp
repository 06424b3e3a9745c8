// SPDX-License-Identifier: Apache-2.0
// Between row-major matrices and panels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/isa.hpp"
#include "cpu/layout.hpp"
#include "isthmus/types.hpp"

namespace isthmus::cpu {

// Panel p of a layer's panels, {in + 1, out}: the transpose of its rows of the weight (out, in), and their biases as
// the last row. No bias: zero.
inline void pack_weight_panel(const InstructionSet& isa, const PanelLayout& layout, std::int64_t p, MatrixView weight,
                              const float* bias, float* to) {
    const std::int64_t column = p * layout.panel;
    const std::int64_t columns = std::min(layout.panel, layout.width - column);
    const std::int64_t width = layout.panel_width(p);
    float* panel = to + layout.panel_offset(p);
    isa.pack_transposed({weight.row(column), columns, weight.cols, weight.stride}, width, panel);
    float* last = panel + weight.cols * width;
    std::fill_n(last, width, 0.0F);
    if (bias != nullptr) std::copy_n(bias + column, columns, last);
}

// The same of a layer whose weight is the transpose of `weight` (in, out): the panel's rows lie in it as they are.
inline void pack_transposed_weight_panel(const PanelLayout& layout, std::int64_t p, MatrixView weight,
                                         const float* bias, float* to) {
    const std::int64_t column = p * layout.panel;
    const std::int64_t columns = std::min(layout.panel, layout.width - column);
    const std::int64_t width = layout.panel_width(p);
    float* row = to + layout.panel_offset(p);
    for (std::int64_t k = 0; k < layout.depth; ++k, row += width) {
        std::copy_n(k < weight.rows ? weight.row(k) + column : bias + column, columns, row);
        std::fill(row + columns, row + width, 0.0F);
    }
}

inline void unpack_bias_panel(const PanelLayout& layout, std::int64_t p, const float* from, float* bias) {
    const std::int64_t column = p * layout.panel;
    const std::int64_t width = layout.panel_width(p);
    std::copy_n(from + layout.panel_offset(p) + (layout.depth - 1) * width,
                std::min(layout.panel, layout.width - column), bias + column);
}

inline void unpack_weight_panel(const InstructionSet& isa, const PanelLayout& layout, std::int64_t p, const float* from,
                                MutableMatrixView weight, float* bias) {
    const std::int64_t column = p * layout.panel;
    const std::int64_t columns = std::min(layout.panel, layout.width - column);
    const std::int64_t width = layout.panel_width(p);
    const float* panel = from + layout.panel_offset(p);
    isa.unpack_transposed(panel, width, {weight.row(column), columns, weight.cols, weight.stride});
    if (bias != nullptr) unpack_bias_panel(layout, p, from, bias);
}

// All panels.
inline void pack_weight(const InstructionSet& isa, const PanelLayout& layout, MatrixView weight, const float* bias,
                        float* to) {
    for (std::int64_t p = 0; p < layout.count(); ++p) pack_weight_panel(isa, layout, p, weight, bias, to);
}
inline void unpack_weight(const InstructionSet& isa, const PanelLayout& layout, const float* from,
                          MutableMatrixView weight, float* bias) {
    for (std::int64_t p = 0; p < layout.count(); ++p) unpack_weight_panel(isa, layout, p, from, weight, bias);
}

}  // namespace isthmus::cpu
