// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer, each a walk of the GEMM tile with an epilogue on the tile while it is in L1.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/gemm_tile.hpp"
#include "cpu/isa.hpp"
#include "math/activations.hpp"
#include "math/registry.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

alignas(64) static constexpr float kZeros[kPanel] = {};

// Calls tile(row, height) over the rows, tops first.
template <class F>
ISTHMUS_INLINE void for_each_tile(std::int64_t rows, F&& tile) {
    const TileRows split(rows);
    std::int64_t row = 0;
    for (std::int64_t t = 0; t < split.tiles; ++t) {
        const std::int64_t height = split.height(t);
        tile(row, height);
        row += height;
    }
}

// init + a (rows, depth) @ panels, tile by tile. `place(t, row, column)` says where a tile goes, `finish(row, height,
// column, width)` is its epilogue. The panel is the outer loop: it stays in L1 or L2 while the rows stream past it.
template <class Place, class Finish>
ISTHMUS_INLINE void multiply_panels(std::int64_t rows, const float* a, std::int64_t a_stride, const PanelLayout& layout,
                                    const float* panels, const float* bias, Place&& place, Finish&& finish) {
    const std::int64_t count = layout.count();
    for (std::int64_t p = 0; p < count; ++p) {
        const std::int64_t column = p * kPanel;
        const std::int64_t width = layout.panel_width(p);
        TileArgs t;
        t.k = layout.depth;
        t.a_stride = a_stride;
        t.b = panels + layout.panel_offset(p);
        t.b_stride = width;
        t.init = bias ? bias + column : kZeros;
        t.init_stride = 0;
        for_each_tile(rows, [&](std::int64_t row, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
            t.a = a + row * a_stride;
            place(t, row, column);
            find_tile<Order::rows>(height, width / kLanes)(t);
            finish(row, height, column, width);
        });
    }
}

template <class Act>
static void dense_forward_with(const ForwardArgs& f) {
    multiply_panels(
        f.rows, f.x, f.x_stride, PanelLayout{f.in, f.out, kLanes, kPanel}, f.panels, f.bias,
        [&](TileArgs& t, std::int64_t row, std::int64_t column) ISTHMUS_LAMBDA_INLINE {
            t.c = f.y + row * f.y_stride + column;
            t.c_stride = f.y_stride;
        },
        [&](std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width) ISTHMUS_LAMBDA_INLINE {
            if constexpr (Act::id == Activation::linear) return;
            for (std::int64_t r = row; r < row + height; ++r) {
                float* y = f.y + r * f.y_stride;
                for (std::int64_t j = column; j < column + width; j += kLanes) {
                    const Vec z = Vec::load(y + j);
                    if constexpr (Act::needs_z) {
                        if (f.z) z.store(f.z + r * f.y_stride + j);
                    }
                    Act::forward(z).store(y + j);
                }
            }
        });
}

static void dense_forward(const ForwardArgs& args) {
    math::visit(args.activation, [&](auto act) { dense_forward_with<decltype(act)>(args); });
}

template <class Act>
static void dense_backward_input_with(const BackwardInputArgs& f) {
    // `kept` may be dx itself (z is kept where dz will stand), so the product goes through a tile of its own.
    constexpr bool kDirect = Act::id == Activation::linear;
    alignas(64) float tile[kDirect ? 1 : kTileRows * kPanel];
    multiply_panels(
        f.rows, f.dz, f.dz_stride, PanelLayout{f.out, f.in, kLanes, kPanel}, f.panels, nullptr,
        [&](TileArgs& t, std::int64_t row, std::int64_t column) ISTHMUS_LAMBDA_INLINE {
            t.c = kDirect ? f.dx + row * f.dx_stride + column : tile;
            t.c_stride = kDirect ? f.dx_stride : kPanel;
        },
        [&](std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width) ISTHMUS_LAMBDA_INLINE {
            if constexpr (kDirect) return;
            for (std::int64_t r = 0; r < height; ++r) {
                const float* kept = f.kept + (row + r) * f.kept_stride + column;
                float* dx = f.dx + (row + r) * f.dx_stride + column;
                for (std::int64_t j = 0; j < width; j += kLanes) {
                    (Vec::load(tile + r * kPanel + j) * Act::derivative(Vec::load(kept + j))).store(dx + j);
                }
            }
        });
}

static void dense_backward_input(const BackwardInputArgs& args) {
    math::visit(args.activation, [&](auto act) { dense_backward_input_with<decltype(act)>(args); });
}

static void weight_gradient(const WeightGradientArgs& w) {
    TileArgs t;
    t.k = w.rows;
    t.a_stride = w.x_stride;
    t.b = w.dz;
    t.b_stride = w.dz_stride;
    t.c_stride = w.panel_width;
    for_each_tile(w.in_end - w.in_begin, [&](std::int64_t i, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
        t.a = w.x + w.in_begin + i;
        t.c = w.dw + i * w.panel_width;
        t.init = w.accumulate ? t.c : kZeros;
        t.init_stride = w.accumulate ? w.panel_width : 0;
        find_tile<Order::columns>(height, w.panel_width / kLanes)(t);
    });
}

static void bias_gradient(const BiasGradientArgs& b) {
    for (std::int64_t j = 0; j < b.panel_width; j += kLanes) {
        Vec sum = b.accumulate ? Vec::load(b.db + j) : Vec(0.0F);
        for (std::int64_t r = 0; r < b.rows; ++r) sum = sum + Vec::load(b.dz + r * b.dz_stride + j);
        sum.store(b.db + j);
    }
}

// Transposes a square of kLanes vectors in place: log2(kLanes) rounds of interleaving row i with row i + kLanes / 2.
ISTHMUS_INLINE void transpose_square(Vec (&rows)[kLanes]) {
#pragma GCC unroll 4
    for (int round = 1; round < kLanes; round *= 2) {
        Vec next[kLanes];
#pragma GCC unroll 8
        for (int i = 0; i < kLanes / 2; ++i) {
            next[2 * i] = interleave_low(rows[i], rows[i + kLanes / 2]);
            next[2 * i + 1] = interleave_high(rows[i], rows[i + kLanes / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) rows[i] = next[i];
    }
}

// Rows [k_begin, k_end) of panel `panel` of the source, an L1-sized piece, written where the target keeps them: source
// element (k, column) is target element (column, k). k_begin is a multiple of kLanes; k_end too, or the source's depth.
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

}  // namespace isthmus::cpu::ISTHMUS_ISA
