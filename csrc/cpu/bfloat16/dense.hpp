// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer with operands in bfloat16, each a walk of the tile, and an epilogue in float32
// on the tile while it is in L1.
//
// Included by bfloat16/kernels.cpp only, once for each family.
#pragma once

#include "cpu/bfloat16/rounding.hpp"
#include "cpu/bfloat16/tile.hpp"
#include "cpu/bias_gradient.hpp"
#include "cpu/isa.hpp"
#include "cpu/vector_group.hpp"
#include "math/activations.hpp"
#include "math/registry.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

alignas(64) static constexpr float kZeros[kPairPanel] = {};

// Steps of k that are taken over all rows before the next: 20 KB of a panel, and as much of the rows of a tile, stay in
// L1. What is summed waits in float32, which changes nothing.
inline constexpr std::int64_t kMostSteps = 10;
inline constexpr std::int64_t kMostBlockRows = 8 * kTileRows;

struct PanelProduct {
    std::int64_t rows, depth;
    const Pair* a;
    PanelLayout layout;  // of the result's columns
    const Pair* panels;
    std::int64_t first_panel, last_panel;
};

ISTHMUS_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// init(panel) + a (rows, depth) @ panels, tile by tile; then(tile, row, height, column, width) takes what is in the
// tile, rows of `width` floats.
template <class Init, class Then>
ISTHMUS_INLINE void multiply_panels(const PanelProduct& product, Init&& init, Then&& then) {
    alignas(64) float sums[kMostBlockRows * kPairPanel];
    TileUnit unit;
    TileArgs t{};
    t.a_stride = pair_stride(product.depth);
    const std::int64_t steps = padded_pairs(product.depth) / kPairsInTile;
    const std::int64_t pieces = (steps + kMostSteps - 1) / kMostSteps;
    const std::int64_t piece_steps = (steps + pieces - 1) / pieces;
    const std::int64_t panel_size = PairPanels{product.depth, 0}.panel_size();
    const bool far = panel_size * (product.last_panel - product.first_panel) > kWordsBesideRows;
    const std::int64_t fitting = kWordsInL2 / t.a_stride / kTileRows * kTileRows;
    const std::int64_t block_rows = smaller(fitting < 4 * kTileRows ? 4 * kTileRows : fitting, kMostBlockRows);
    for (std::int64_t begin = 0; begin < product.rows; begin += block_rows) {
        const std::int64_t rows = smaller(block_rows, product.rows - begin);
        const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
        for (std::int64_t p = product.first_panel; p < product.last_panel; ++p) {
            const std::int64_t width = product.layout.panel_width(p);
            t.c_stride = width;
            t.vectors = width / kLanes;
            for (std::int64_t step = 0; step < steps; step += piece_steps) {
                t.steps = smaller(piece_steps, steps - step);
                t.b = product.panels + p * panel_size + step * kPairsInTile * kPairPanel;
                t.init_stride = step == 0 ? 0 : width;
                // The next of the panel, or of the panel behind it, while this one is used.
                const std::int64_t lines = t.steps * kPairPanel;
                t.lines = far ? (lines + tiles - 1) / tiles : 0;
                const Pair* next = t.b + t.steps * kPairsInTile * kPairPanel;
                for (std::int64_t row = 0; row < rows; row += kTileRows, next += t.lines * kPairsInTile) {
                    t.rows = smaller(kTileRows, rows - row);
                    t.a = product.a + (begin + row) * t.a_stride + step * kPairsInTile;
                    t.c = sums + row * width;
                    t.init = step == 0 ? init(p) : t.c;
                    t.upcoming = next;
                    unit.multiply(t);
                    if (step + t.steps == steps) then(t.c, begin + row, t.rows, p * kPairPanel, width);
                }
            }
        }
    }
}

// Stores a row of a tile, apply(vector, column) of it, and rounded: whole tiles of k, so that no padding stays as it
// was.
template <class Apply>
ISTHMUS_INLINE void store_row(const float* row, std::int64_t width, float* values, Pair* pairs, Apply&& apply) {
    const Vec low = apply(Vec::load(row), 0);
    const Vec high = width > kLanes ? apply(Vec::load(row + kLanes), kLanes) : Vec(0.0F);
    if (values) {
        low.store(values);
        if (width > kLanes) high.store(values + kLanes);
    }
    if (pairs) store_pairs(neighbours(low, high), pairs);
}

template <class Act>
static void dense_forward_with(const ForwardArgs& f) {
    const PanelLayout layout{f.in + 1, f.out, kLanes, kPairPanel};
    const std::int64_t pairs_stride = pair_stride(f.out);
    const auto unchanged = [](Vec x, std::int64_t) ISTHMUS_LAMBDA_INLINE { return x; };
    multiply_panels(
        {f.rows, f.in, f.x_pairs, layout, reinterpret_cast<const Pair*>(f.copies), f.first_panel, f.last_panel},
        [&](std::int64_t p)
            ISTHMUS_LAMBDA_INLINE { return f.panels + layout.panel_offset(p) + f.in * layout.panel_width(p); },
        [&](float* tile, std::int64_t row, std::int64_t height, std::int64_t column,
            std::int64_t width) ISTHMUS_LAMBDA_INLINE {
            // A long formula goes over the tile first, four vectors at a time.
            constexpr bool kLong = Act::id != Activation::linear && Act::id != Activation::relu;
            if constexpr (Act::needs_z) {
                if (f.z) {
                    for (std::int64_t r = 0; r < height; ++r) {
                        store_row(tile + r * width, width, f.z + (row + r) * f.y_stride + column, nullptr, unchanged);
                    }
                }
            }
            if constexpr (kLong) {
                for_each_vector(height * width, [&](std::int64_t i, auto part) ISTHMUS_LAMBDA_INLINE {
                    part.store(Act::forward(part.load(tile + i)), tile + i);
                });
            }
            for (std::int64_t r = 0; r < height; ++r) {
                store_row(tile + r * width, width, f.y ? f.y + (row + r) * f.y_stride + column : nullptr,
                          f.y_pairs ? f.y_pairs + (row + r) * pairs_stride + column / 2 : nullptr,
                          [](Vec x, std::int64_t) ISTHMUS_LAMBDA_INLINE {
                              if constexpr (kLong) return x;
                              return Act::forward(x);
                          });
            }
        });
}

static void dense_forward(const ForwardArgs& args) {
    math::visit(args.activation, [&](auto act) { dense_forward_with<decltype(act)>(args); });
}

template <class Act>
static void dense_backward_input_with(const BackwardInputArgs& f) {
    const PanelLayout layout{f.out, f.in, kLanes, kPairPanel};
    const std::int64_t pairs_stride = pair_stride(f.in);
    const Pair* panels = reinterpret_cast<const Pair*>(f.copies) + PairPanels{f.in, f.out}.size();
    multiply_panels(
        {f.rows, f.out, f.dz_pairs, layout, panels, 0, layout.count()},
        [](std::int64_t) ISTHMUS_LAMBDA_INLINE { return kZeros; },
        [&](float* tile, std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width)
            ISTHMUS_LAMBDA_INLINE {
                for (std::int64_t r = 0; r < height; ++r) {
                    const float* kept = f.kept + (row + r) * f.kept_stride + column;
                    store_row(tile + r * width, width, f.dx + (row + r) * f.dx_stride + column,
                              f.dx_pairs ? f.dx_pairs + (row + r) * pairs_stride + column / 2 : nullptr,
                              [&](Vec dy, std::int64_t j) ISTHMUS_LAMBDA_INLINE {
                                  if constexpr (Act::id == Activation::linear) return dy;
                                  return dy * Act::derivative(Vec::load(kept + j));
                              });
                }
            });
}

static void dense_backward_input(const BackwardInputArgs& args) {
    math::visit(args.activation, [&](auto act) { dense_backward_input_with<decltype(act)>(args); });
}

// What is upcoming is not fetched: the tile is over before memory could answer.
static void weight_gradient(const WeightGradientArgs& w) {
    if (w.bias) {
        bias_gradient(w.rows, w.dz_rows, w.dz_rows_stride, w.panel_width, w.accumulate, w.dw + w.inputs * w.dw_stride);
    }
    TileUnit unit;
    TileArgs t{};
    t.a_stride = padded_pairs(w.rows);
    t.steps = t.a_stride / kPairsInTile;
    t.b = reinterpret_cast<const Pair*>(w.dz);
    t.c_stride = w.dw_stride;
    t.vectors = w.panel_width / kLanes;
    t.init_stride = w.accumulate ? w.dw_stride : 0;
    for (std::int64_t i = 0; i < w.inputs; i += kTileRows) {
        t.rows = w.inputs - i < kTileRows ? w.inputs - i : kTileRows;
        t.a = reinterpret_cast<const Pair*>(w.x) + i * t.a_stride;
        t.c = w.dw + i * w.dw_stride;
        t.init = w.accumulate ? t.c : kZeros;
        unit.multiply(t);
    }
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
