// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer, each a walk of the GEMM tile with an epilogue in registers, or on the tile while
// it is in L1.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/gemm_tile.hpp"
#include "cpu/isa.hpp"
#include "cpu/vector_group.hpp"
#include "math/activations.hpp"
#include "math/registry.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

alignas(64) static constexpr float kZeros[kPanel] = {};

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

// Panels that do not fit L2 beside the rows come from L3 or memory, once for each block of rows.
inline constexpr std::int64_t kPanelsInL2 = std::int64_t{1} << 16;
// Rows that stay in L2 while all panels pass: half of 2 MB.
inline constexpr std::int64_t kRowsInL2 = std::int64_t{1} << 18;

struct PanelProduct {
    std::int64_t rows, depth;
    const float* a;
    std::int64_t a_stride;
    PanelLayout layout;
    const float* panels;
    std::int64_t first_panel, last_panel;
    bool bias;  // the panels' last row is the initial value
    Ahead* ahead;
};

// Gives a tile its prefetches: a share of the next panel, and lines of what lies ahead.
ISTHMUS_INLINE void fetch_ahead(TileArgs& t, const float* panel, std::int64_t lines, Ahead* ahead) {
    t.lines = 0;
    t.more = lines;
    t.upcoming[0] = panel;
    if (ahead == nullptr || ahead->at == ahead->count) return;
    const Stretch& stretch = ahead->stretches[ahead->at];
    t.upcoming[1] = stretch.data + ahead->line * kLine;
    if (lines == 0) t.upcoming[0] = t.upcoming[1];
    const std::int64_t rest = stretch.lines - ahead->line;
    t.lines = rest < t.k ? rest : t.k;
    ahead->line += t.lines;
    if (ahead->line == stretch.lines) {
        ahead->line = 0;
        ++ahead->at;
    }
}

// init + a (rows, depth) @ panels, tile by tile. `place(t, row, column)` says where a tile goes, `then(row, height,
// column, width)` is what is left to do with it. The panel is the outer loop of a block of rows: it stays in L1 or L2
// while the rows stream past it, and the next one is fetched meanwhile.
template <class Finish, class Place, class Then>
ISTHMUS_INLINE void multiply_panels(const PanelProduct& product, Place&& place, Then&& then) {
    const PanelLayout& layout = product.layout;
    const std::int64_t first = product.first_panel;
    const std::int64_t last = product.last_panel;
    const std::int64_t fitting = kRowsInL2 / product.depth;
    const std::int64_t block_rows = fitting < 4 * kTileRows ? 4 * kTileRows : fitting;
    const std::int64_t blocks = (product.rows + block_rows - 1) / block_rows;
    TileArgs t{};
    t.k = product.depth;
    t.a_stride = product.a_stride;
    for (std::int64_t block = 0; block < blocks; ++block) {
        const std::int64_t begin = product.rows * block / blocks;
        const std::int64_t end = product.rows * (block + 1) / blocks;
        const std::int64_t tiles = (end - begin + kTileRows - 1) / kTileRows;
        for (std::int64_t p = first; p < last; ++p) {
            const std::int64_t column = p * kPanel;
            const std::int64_t width = layout.panel_width(p);
            t.b = product.panels + layout.panel_offset(p);
            t.b_stride = width;
            t.init = product.bias ? t.b + product.depth * width : kZeros;
            if (end - begin == 1 && p + kRowPanels <= last && layout.panel_width(p + kRowPanels - 1) == kPanel) {
                const std::int64_t panel_stride = layout.depth * kPanel;
                t.a = product.a + begin * product.a_stride;
                t.init_stride = product.bias ? panel_stride : 0;
                place(t, begin, column);
                gemm_row<Finish>(t, panel_stride);
                t.init_stride = 0;
                then(begin, 1, column, kRowPanels * kPanel);
                p += kRowPanels - 1;
                continue;
            }
            const std::int64_t next = p + 1 < last ? p + 1 : first;
            const float* upcoming = product.panels + layout.panel_offset(next);
            const std::int64_t share = (layout.depth * layout.panel_width(next) / kLine + tiles - 1) / tiles;
            const std::int64_t lines = layout.size() > kPanelsInL2 ? share : 0;
            for_each_tile(end - begin, [&](std::int64_t tile, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
                const std::int64_t row = begin + tile;
                t.a = product.a + row * product.a_stride;
                fetch_ahead(t, upcoming, lines, product.ahead);
                upcoming += lines * kLine;
                place(t, row, column);
                find_tile<Order::rows, Finish>(height, width / kLanes)(t);
                then(row, height, column, width);
            });
        }
    }
}

inline constexpr auto kNothing = [](std::int64_t, std::int64_t, std::int64_t, std::int64_t) ISTHMUS_LAMBDA_INLINE {};

// A long formula in registers would be repeated for each accumulator of each tile; here it is a loop over the tile.
template <class Act>
ISTHMUS_INLINE void forward_through_tile(const ForwardArgs& f, const PanelProduct& product) {
    alignas(64) float tile[kTileRows * kPanel] = {};
    const auto copy = [&](std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width, float* to)
                          ISTHMUS_LAMBDA_INLINE {
                              for (std::int64_t r = 0; r < height; ++r) {
                                  for (std::int64_t j = 0; j < width; j += kLanes) {
                                      Vec::load(tile + r * width + j).store(to + (row + r) * f.y_stride + column + j);
                                  }
                              }
                          };
    multiply_panels<Unchanged>(
        product,
        [&](TileArgs& t, std::int64_t, std::int64_t column) ISTHMUS_LAMBDA_INLINE {
            t.c = tile;
            t.c_stride = product.layout.panel_width(column / kPanel);
        },
        [&](std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width) ISTHMUS_LAMBDA_INLINE {
            if constexpr (Act::needs_z) {
                if (f.z) copy(row, height, column, width, f.z);
            }
            // Whole groups of vectors: what lies behind the tile's last row costs less than a formula on one vector
            // alone.
            constexpr FourVectors four;
            static_assert(kTileRows * kPanel % four.count == 0);
            for (std::int64_t i = 0; i < height * width; i += four.count) {
                four.store(Act::forward(four.load(tile + i)), tile + i);
            }
            copy(row, height, column, width, f.y);
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
        multiply_panels<Activate<Act>>(product, place, kNothing);
    } else if (f.rows < kLanes / 4) {
        // So few rows that a tile does not fill a group of vectors: z first, then the formula along each row.
        multiply_panels<Unchanged>(product, place, kNothing);
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
        forward_through_tile<Act>(f, product);
    }
}

static void dense_forward(const ForwardArgs& args) {
    math::visit(args.activation, [&](auto act) { dense_forward_with<decltype(act)>(args); });
}

template <class Act>
static void dense_backward_input_with(const BackwardInputArgs& f) {
    const PanelLayout layout{f.out, f.in, kLanes, kPanel};
    const PanelProduct product{f.rows, f.out, f.dz, f.dz_stride, layout, f.panels, 0, layout.count(), false, nullptr};
    // `kept` may be dx itself (z is kept where dz will stand): then all of a tile is computed before any is stored, in
    // registers or in a tile of its own.
    if constexpr (Act::id == Activation::linear) {
        multiply_panels<Unchanged>(
            product,
            [&](TileArgs& t, std::int64_t row, std::int64_t column) ISTHMUS_LAMBDA_INLINE {
                t.c = f.dx + row * f.dx_stride + column;
                t.c_stride = f.dx_stride;
            },
            kNothing);
    } else if constexpr (Act::id == Activation::relu || Act::id == Activation::sigmoid || Act::id == Activation::tanh) {
        multiply_panels<TimesDerivative<Act>>(
            product,
            [&](TileArgs& t, std::int64_t row, std::int64_t column) ISTHMUS_LAMBDA_INLINE {
                t.c = f.dx + row * f.dx_stride + column;
                t.c_stride = f.dx_stride;
                t.kept = f.kept + row * f.kept_stride + column;
                t.kept_stride = f.kept_stride;
            },
            kNothing);
    } else {
        alignas(64) float tile[kTileRows * kPanel];
        multiply_panels<Unchanged>(
            product,
            [&](TileArgs& t, std::int64_t, std::int64_t) ISTHMUS_LAMBDA_INLINE {
                t.c = tile;
                t.c_stride = kPanel;
            },
            [&](std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width) ISTHMUS_LAMBDA_INLINE {
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

// Row r goes to chain r % 4: an add takes four cycles, and one chain would wait for each.
static void bias_gradient(const WeightGradientArgs& w, float* db) {
    for (std::int64_t j = 0; j < w.panel_width; j += kLanes) {
        Vec chain[4] = {Vec(0.0F), Vec(0.0F), Vec(0.0F), Vec(0.0F)};
        const float* dz = w.dz + j;
        std::int64_t r = 0;
        for (; r + 4 <= w.rows; r += 4, dz += 4 * w.dz_stride) {
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) chain[i] = chain[i] + Vec::load(dz + i * w.dz_stride);
        }
        for (int i = 0; r < w.rows; ++r, ++i, dz += w.dz_stride) chain[i] = chain[i] + Vec::load(dz);
        const Vec sum = (chain[0] + chain[1]) + (chain[2] + chain[3]);
        (w.accumulate ? Vec::load(db + j) + sum : sum).store(db + j);
    }
}

static void weight_gradient(const WeightGradientArgs& w) {
    TileArgs t{};
    t.k = w.rows;
    t.b = w.dz;
    t.b_stride = w.dz_stride;
    t.c_stride = w.panel_width;
    for_each_tile(w.inputs, [&](std::int64_t i, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
        t.a = w.packed ? w.x + i * w.rows : w.x + i;
        t.a_stride = w.packed ? height : w.x_stride;
        t.c = w.dw + i * w.panel_width;
        t.init = w.accumulate ? t.c : kZeros;
        t.init_stride = w.accumulate ? w.panel_width : 0;
        if (w.upcoming[0]) {
            for (int j = 0; j < 3; ++j) t.upcoming[j] = w.upcoming[j] + i * w.panel_width;
            t.lines = height * w.panel_width / kLine;
        }
        find_tile<Order::columns, Unchanged>(height, w.panel_width / kLanes)(t);
    });
    if (w.bias) bias_gradient(w, w.dw + w.inputs * w.panel_width);
}

static void pack_columns(std::int64_t rows, const float* x, std::int64_t x_stride, std::int64_t inputs, float* out) {
    for_each_tile(inputs, [&](std::int64_t i, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
        float* to = out + i * rows;
        for (std::int64_t r = 0; r < rows; ++r, to += height) {
            // What a whole vector writes too much is written again by what comes next.
            for (std::int64_t j = 0; j < height; j += kLanes)
                load_part(x + r * x_stride + i + j, height - j).store(to + j);
        }
    });
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

}  // namespace isthmus::cpu::ISTHMUS_ISA
