// SPDX-License-Identifier: Apache-2.0
// Rows times panels: the walk of the GEMM tile over blocks of rows, panels and slices of k, with what is wanted next
// fetched meanwhile.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/gemm_tile.hpp"
#include "cpu/isa.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

alignas(64) static constexpr float kZeros[kPanel] = {};

// Calls tile(row, height) over the rows, tops first, in tiles of at most `most` rows.
template <class F>
ISTHMUS_INLINE void for_each_tile(std::int64_t rows, int most, F&& tile) {
    const TileRows split(rows, most);
    std::int64_t row = 0;
    for (std::int64_t t = 0; t < split.tiles; ++t) {
        const std::int64_t height = split.height(t);
        tile(row, height);
        row += height;
    }
}

inline constexpr std::int64_t kPanelLines = (kPanel + kLine - 1) / kLine;  // cache lines of a panel's row
inline constexpr std::int64_t kFloatsInL1 = std::int64_t{1} << 13;
inline constexpr std::int64_t kSliceDepth = 1024;  // of k, where a product is deeper

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
        const int most = most_tile_rows(width / kLanes);
        const std::int64_t tiles = (rows.end - rows.begin + most - 1) / most;
        const std::int64_t next = p + 1 < product.last_panel ? p + 1 : product.first_panel;
        const float* upcoming = product.panels + layout.panel_offset(next) + slice.begin * layout.panel_width(next);
        const std::int64_t share = (t.k * layout.panel_width(next) / kLine + tiles - 1) / tiles;
        const std::int64_t lines = layout.size() > kWordsBesideRows ? share : 0;
        for_each_tile(rows.end - rows.begin, most, [&](std::int64_t tile, std::int64_t height) ISTHMUS_LAMBDA_INLINE {
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
    const std::int64_t fitting = kWordsInL2 / (product.depth / slices);
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

}  // namespace isthmus::cpu::ISTHMUS_ISA
