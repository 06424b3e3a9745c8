// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer, each a walk of the GEMM tile with an epilogue in registers, or on the tile while
// it is in L1.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/bias_gradient.hpp"
#include "cpu/isa.hpp"
#include "cpu/panel_product.hpp"
#include "cpu/vector_group.hpp"
#include "math/activations.hpp"
#include "math/registry.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

template <class Act>
struct Activate {
    static constexpr bool reads_kept = false;
    ISTHMUS_INLINE static Vec apply(Vec z) { return Act::forward(z); }
};

template <class Act>
struct TimesDerivative {
    static constexpr bool reads_kept = true;
    ISTHMUS_INLINE static Vec apply(Vec dy, Vec kept) { return dy * Act::derivative(kept); }
};

// A long formula in registers would be repeated for each accumulator of each tile. Here the tiles leave z in y, and as
// soon as a panel has rows for four vectors, the formula takes them; a panel's last few rows go one vector at a time.
template <class Act, class Place>
ISTHMUS_INLINE void forward_by_groups(const ForwardArgs& f, const PanelProduct& product, Place&& place) {
    std::int64_t done = 0;  // rows of the present panel
    multiply_panels<Unchanged, true>(
        product, place,
        [&](std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width, RowsOfPanel rows)
            ISTHMUS_LAMBDA_INLINE {
                if (row == rows.begin) done = row;
                const auto activate = [&](auto part, std::int64_t vectors) ISTHMUS_LAMBDA_INLINE {
                    const std::int64_t at = done * f.y_stride + column;
                    const auto z = part.load_rows(f.y + at, vectors, f.y_stride);
                    if constexpr (Act::needs_z) {
                        if (f.z) part.store_rows(z, f.z + at, vectors, f.y_stride);
                    }
                    part.store_rows(Act::forward(z), f.y + at, vectors, f.y_stride);
                };
                const std::int64_t vectors = width / kLanes;  // of a row: 1 or 2
                for (; done + 4 / vectors <= row + height; done += 4 / vectors) activate(FourVectors{}, vectors);
                if (row + height < rows.end) return;
                for (; done < rows.end; ++done) {
                    for (std::int64_t j = 0; j < width; j += kLanes) {
                        const std::int64_t at = done * f.y_stride + column + j;
                        const Vec z = Vec::load(f.y + at);
                        if constexpr (Act::needs_z) {
                            if (f.z) z.store(f.z + at);
                        }
                        Act::forward(z).store(f.y + at);
                    }
                }
            });
}

template <class Act>
static void dense_forward_with(const ForwardArgs& f) {
    const PanelLayout layout{f.in + 1, f.out, kLanes, kPanel};
    const PanelProduct product{f.rows,   f.in,          f.x,          f.x_stride, layout,
                               f.panels, f.first_panel, f.last_panel, true,       f.ahead};
    const auto place = [&](TileArgs& t, std::int64_t row, std::int64_t column) ISTHMUS_LAMBDA_INLINE {
        t.c = f.y + row * f.y_stride + column;
        t.c_stride = f.y_stride;
    };
    if constexpr (Act::id == Activation::linear || Act::id == Activation::relu) {
        multiply_panels<Activate<Act>, true>(product, place, kNothing);
    } else if (f.rows < 4) {
        // Too few rows for a group of vectors in each panel: all of z first, then the formula along each row.
        multiply_panels<Unchanged, true>(product, place, kNothing);
        const std::int64_t first = f.first_panel * kPanel;
        const std::int64_t last = f.last_panel * kPanel;
        const std::int64_t width = (last < layout.padded_width() ? last : layout.padded_width()) - first;
        for (std::int64_t r = 0; r < f.rows; ++r) {
            float* y = f.y + r * f.y_stride + first;
            for_each_vector(width, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
                const auto z = part.load(y + j);
                if constexpr (Act::needs_z) {
                    if (f.z) part.store(z, f.z + r * f.y_stride + first + j);
                }
                part.store(Act::forward(z), y + j);
            });
        }
    } else {
        forward_by_groups<Act>(f, product, place);
    }
}

static void dense_forward(const ForwardArgs& args) {
    math::visit(args.activation, [&](auto act) { dense_forward_with<decltype(act)>(args); });
}

template <class Act>
static void dense_backward_input_with(const BackwardInputArgs& f) {
    const PanelLayout layout{f.out, f.in, kLanes, kPanel};
    const PanelProduct product{f.rows, f.out, f.dz, f.dz_stride, layout, f.copies, 0, layout.count(), false, nullptr};
    // `kept` may be dx itself (z is kept where dz will stand): then all of a tile is computed before any is stored, in
    // registers or in a tile of its own.
    if constexpr (Act::id == Activation::linear) {
        multiply_panels<Unchanged, true>(
            product,
            [&](TileArgs& t, std::int64_t row, std::int64_t column) ISTHMUS_LAMBDA_INLINE {
                t.c = f.dx + row * f.dx_stride + column;
                t.c_stride = f.dx_stride;
            },
            kNothing);
    } else if constexpr (Act::id == Activation::relu || Act::id == Activation::sigmoid || Act::id == Activation::tanh) {
        multiply_panels<TimesDerivative<Act>, true>(
            product,
            [&](TileArgs& t, std::int64_t row, std::int64_t column) ISTHMUS_LAMBDA_INLINE {
                t.c = f.dx + row * f.dx_stride + column;
                t.c_stride = f.dx_stride;
                t.kept = f.kept + row * f.kept_stride + column;
                t.kept_stride = f.kept_stride;
            },
            kNothing);
    } else {
        alignas(64) float tile[kNarrowTileRows * kPanel];
        multiply_panels<Unchanged, false>(
            product,
            [&](TileArgs& t, std::int64_t, std::int64_t) ISTHMUS_LAMBDA_INLINE {
                t.c = tile;
                t.c_stride = kPanel;
            },
            [&](std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width, RowsOfPanel)
                ISTHMUS_LAMBDA_INLINE {
                    for (std::int64_t r = 0; r < height; ++r) {
                        const float* kept = f.kept + (row + r) * f.kept_stride + column;
                        float* dx = f.dx + (row + r) * f.dx_stride + column;
                        for_each_vector(width, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
                            part.store(part.load(tile + r * kPanel + j) * Act::derivative(part.load(kept + j)), dx + j);
                        });
                    }
                });
    }
}

static void dense_backward_input(const BackwardInputArgs& args) {
    math::visit(args.activation, [&](auto act) { dense_backward_input_with<decltype(act)>(args); });
}

static void weight_gradient(const WeightGradientArgs& w) {
    TileArgs t{};
    t.k = w.rows;
    t.b = w.dz;
    t.b_stride = w.dz_stride;
    t.c_stride = w.dw_stride;
    // Rows that lie far apart, in a matrix that L1 does not hold: no hardware prefetcher follows. Of the panel that
    // comes next, and of columns that are not packed, each tile fetches another line of each row.
    const bool far_panel = w.rows * w.dz_rows_stride > kFloatsInL1;
    const bool far_columns = !w.packed && w.rows * w.x_stride > kFloatsInL1;
    const bool fetch = w.upcoming[0] != nullptr;
    t.upcoming_stride[0] = fetch ? kLine : w.x_stride;
    t.upcoming_stride[1] = t.upcoming_stride[2] = fetch ? kLine : w.dz_rows_stride;
    t.later_stride = w.dz_rows_stride;
    std::int64_t number = 0;
    const std::int64_t vectors = w.panel_width / kLanes;
    for_each_tile(w.inputs, w.packed ? kTileRows : most_tile_rows(vectors),
                  [&](std::int64_t i, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
                      t.a = w.packed ? w.x + i * w.rows : w.x + i;
                      t.a_stride = w.packed ? height : w.x_stride;
                      t.c = w.dw + i * w.dw_stride;
                      t.init = w.accumulate ? t.c : kZeros;
                      t.init_stride = w.accumulate ? w.dw_stride : 0;
                      const float* next_panel = w.dz_rows + w.panel_width + number % kPanelLines * kLine;
                      if (fetch) {
                          for (int j = 0; j < 3; ++j) t.upcoming[j] = w.upcoming[j] + i * w.panel_width;
                          t.lines = height * w.panel_width / kLine;
                          t.later = next_panel;
                          t.more = far_panel && number < kPanelLines ? w.rows : 0;
                      } else if (far_panel || far_columns) {
                          t.upcoming[0] = w.x + w.inputs + number * kLine;
                          t.upcoming[1] = t.upcoming[2] = next_panel;
                          t.lines = w.rows;
                      }
                      ++number;
                      find_tile<Order::columns, Unchanged>(height, vectors)(t);
                  });
    if (w.bias) {
        bias_gradient(w.rows, w.dz, w.dz_stride, w.panel_width, w.accumulate, w.dw + w.inputs * w.dw_stride);
    }
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
