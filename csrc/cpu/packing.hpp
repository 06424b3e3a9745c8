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

inline void unpack_weight_panel(const InstructionSet& isa, const PanelLayout& layout, std::int64_t p, const float* from,
                                MutableMatrixView weight, float* bias) {
    const std::int64_t column = p * layout.panel;
    const std::int64_t columns = std::min(layout.panel, layout.width - column);
    const std::int64_t width = layout.panel_width(p);
    const float* panel = from + layout.panel_offset(p);
    isa.unpack_transposed(panel, width, {weight.row(column), columns, weight.cols, weight.stride});
    if (bias != nullptr) std::copy_n(panel + weight.cols * width, columns, bias + column);
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
