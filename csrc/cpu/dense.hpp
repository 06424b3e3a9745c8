// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer, each a walk of the GEMM tile with an epilogue in registers, or on the tile while
// it is in L1.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/bias_gradient.hpp"
#include "cpu/gemm_tile.hpp"
#include "cpu/isa.hpp"
#include "cpu/transpose.hpp"
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
inline constexpr std::int64_t kPanelLines = (kPanel + kLine - 1) / kLine;  // cache lines of a panel's row
inline constexpr std::int64_t kFloatsInL1 = std::int64_t{1} << 13;
// Depth of a slice, and rows of it that stay in L2 while all panels pass: half of 2 MB.
inline constexpr std::int64_t kSliceDepth = 1024;
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
    t.upcoming[0] = t.later = panel;
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

// The rows that go past a panel before the next one.
struct RowsOfPanel {
    std::int64_t begin, end;
};

struct Slice {
    std::int64_t begin, end;
};

inline constexpr auto kNothing = [](std::int64_t, std::int64_t, std::int64_t, std::int64_t, RowsOfPanel)
                                     ISTHMUS_LAMBDA_INLINE {};

// All panels over some rows and a slice of k, tile by tile: c = act(sum), where the sum goes on from c itself unless
// the slice is the first. The panel is the outer loop: it stays in L1 or L2 while the rows stream past it, and the next
// one is fetched meanwhile.
template <class Finish, class Place, class Then>
ISTHMUS_INLINE void multiply_slice(const PanelProduct& product, RowsOfPanel rows, Slice slice, Place&& place,
                                   Then&& then) {
    const PanelLayout& layout = product.layout;
    const std::int64_t tiles = (rows.end - rows.begin + kTileRows - 1) / kTileRows;
    TileArgs t{};
    t.k = slice.end - slice.begin;
    t.a_stride = product.a_stride;
    t.upcoming_stride[0] = t.upcoming_stride[1] = t.later_stride = kLine;
    for (std::int64_t p = product.first_panel; p < product.last_panel; ++p) {
        const std::int64_t column = p * kPanel;
        const std::int64_t width = layout.panel_width(p);
        const float* panel = product.panels + layout.panel_offset(p);
        t.b = panel + slice.begin * width;
        t.b_stride = width;
        t.init = product.bias ? panel + product.depth * width : kZeros;
        if (rows.end - rows.begin == 1 && p + kRowPanels <= product.last_panel &&
            layout.panel_width(p + kRowPanels - 1) == kPanel) {
            const std::int64_t panel_stride = layout.depth * kPanel;
            t.a = product.a + rows.begin * product.a_stride;
            t.init_stride = product.bias ? panel_stride : 0;
            place(t, rows.begin, column);
            gemm_row<Finish>(t, panel_stride);
            t.init_stride = 0;
            then(rows.begin, 1, column, kRowPanels * kPanel, rows);
            p += kRowPanels - 1;
            continue;
        }
        const std::int64_t next = p + 1 < product.last_panel ? p + 1 : product.first_panel;
        const float* upcoming = product.panels + layout.panel_offset(next) + slice.begin * layout.panel_width(next);
        const std::int64_t share = (t.k * layout.panel_width(next) / kLine + tiles - 1) / tiles;
        const std::int64_t lines = layout.size() > kPanelsInL2 ? share : 0;
        for_each_tile(rows.end - rows.begin, [&](std::int64_t tile, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
            const std::int64_t row = rows.begin + tile;
            t.a = product.a + row * product.a_stride + slice.begin;
            fetch_ahead(t, upcoming, lines, product.ahead);
            upcoming += lines * kLine;
            place(t, row, column);
            if (slice.begin > 0) {
                t.init = t.c;
                t.init_stride = t.c_stride;
            }
            find_tile<Order::rows, Finish>(height, width / kLanes)(t);
            then(row, height, column, width, rows);
        });
        t.init_stride = 0;
    }
}

// init + a (rows, depth) @ panels. `place(t, row, column)` says where a tile goes, `then(row, height, column, width,
// rows)` is what is left to do with it. kKeepsSums: a tile's place is its own and may hold sums that are not finished.
// Then a deep product is taken in slices of k, so that many rows of a slice stay in L2 and the weights come from memory
// once for all of them; each output is still one chain over k.
template <class Finish, bool kKeepsSums, class Place, class Then>
ISTHMUS_INLINE void multiply_panels(const PanelProduct& product, Place&& place, Then&& then) {
    const bool deep = kKeepsSums && product.rows >= 8 * kTileRows && product.depth > kSliceDepth;
    const std::int64_t slices = deep ? (product.depth + kSliceDepth - 1) / kSliceDepth : 1;
    const std::int64_t fitting = kRowsInL2 / (product.depth / slices);
    const std::int64_t block_rows = fitting < 4 * kTileRows ? 4 * kTileRows : fitting;
    const std::int64_t blocks = (product.rows + block_rows - 1) / block_rows;
    for (std::int64_t block = 0; block < blocks; ++block) {
        const RowsOfPanel rows{product.rows * block / blocks, product.rows * (block + 1) / blocks};
        if constexpr (kKeepsSums) {
            for (std::int64_t i = 0; i + 1 < slices; ++i) {
                const Slice slice{product.depth * i / slices, product.depth * (i + 1) / slices};
                multiply_slice<Unchanged>(product, rows, slice, place, kNothing);
            }
        }
        multiply_slice<Finish>(product, rows, {product.depth * (slices - 1) / slices, product.depth}, place, then);
    }
}

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
        alignas(64) float tile[kTileRows * kPanel];
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
    t.c_stride = w.panel_width;
    // Rows that lie far apart, in a matrix that L1 does not hold: no hardware prefetcher follows. Of the panel that
    // comes next, and of columns that are not packed, each tile fetches another line of each row.
    const bool far_panel = w.rows * w.dz_rows_stride > kFloatsInL1;
    const bool far_columns = !w.packed && w.rows * w.x_stride > kFloatsInL1;
    const bool fetch = w.upcoming[0] != nullptr;
    t.upcoming_stride[0] = fetch ? kLine : w.x_stride;
    t.upcoming_stride[1] = t.upcoming_stride[2] = fetch ? kLine : w.dz_rows_stride;
    t.later_stride = w.dz_rows_stride;
    std::int64_t number = 0;
    for_each_tile(w.inputs, [&](std::int64_t i, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
        t.a = w.packed ? w.x + i * w.rows : w.x + i;
        t.a_stride = w.packed ? height : w.x_stride;
        t.c = w.dw + i * w.panel_width;
        t.init = w.accumulate ? t.c : kZeros;
        t.init_stride = w.accumulate ? w.panel_width : 0;
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
        find_tile<Order::columns, Unchanged>(height, w.panel_width / kLanes)(t);
    });
    if (w.bias) {
        bias_gradient(w.rows, w.dz, w.dz_stride, w.panel_width, w.accumulate, w.dw + w.inputs * w.panel_width);
    }
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
