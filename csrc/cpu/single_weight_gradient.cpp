// SPDX-License-Identifier: Apache-2.0
// The panel product the other way round: dz gives the tiles' rows and x their columns, so that a tile lies as dweight
// does. A thread packs a group of panels of x, as many as stay in its L2, and takes tiles of 64 outputs past them, a
// slice of rows at a time: the columns of a register tile and a panel are then both in L1.
#include "cpu/single_weight_gradient.hpp"

#include <algorithm>

#include "cpu/cpu.hpp"
#include "cpu/scratch.hpp"
#include "cpu/team.hpp"
#include "cpu/workspace.hpp"

namespace isthmus::cpu {

namespace {

constexpr std::int64_t kSliceRows = 256;

// What is wanted in L2 soon: a line takes 0.1 us from L3, and longer from memory.
enum class Use { read, write };
template <Use kUse>
void fetch(MatrixView rows) {
    for (std::int64_t r = 0; r < rows.rows; ++r) {
        for (std::int64_t c = 0; c < rows.cols; c += 16) __builtin_prefetch(rows.row(r) + c, kUse == Use::write, 2);
    }
}

void copy_rows(MatrixView from, MutableMatrixView to, std::int64_t cols) {
    for (std::int64_t r = 0; r < to.rows; ++r) std::copy_n(from.row(r), cols, to.row(r));
}

struct Problem {
    const InstructionSet& isa;
    const Products& products;
    MatrixView x, dz;
    MutableMatrixView dweight;

    // Rows that are packed at a time.
    std::int64_t piece = std::min(kPieceRows, x.rows);
    std::int64_t panels = (x.cols + isa.panel - 1) / isa.panel;
    std::int64_t tiles = (dz.cols + kWeightTileRows - 1) / kWeightTileRows;
    std::int64_t columns_size = kWeightTileRows * std::min(kSliceRows, piece) + 16;
    std::int64_t panel_size = round_up(piece * isa.panel, 16);
    std::int64_t group = std::min(std::max<std::int64_t>(1, kWordsInL2 / panel_size), panels);
    std::int64_t scratch_size = columns_size + group * panel_size + kWeightTileRows * isa.panel;

    std::int64_t cols(std::int64_t panel) const {
        return std::min<std::int64_t>(isa.panel, x.cols - panel * isa.panel);
    }
    std::int64_t padded(std::int64_t panel) const { return round_up(cols(panel), isa.lanes); }
    bool is_ragged(std::int64_t panel) const { return cols(panel) != padded(panel); }
    // A single tile would use the copy once.
    bool is_packed(std::int64_t panel) const { return tiles > 1 || is_ragged(panel); }
};

// What one thread does.
class Share {
public:
    Share(const Problem& problem, float* scratch)
        : problem_(problem),
          columns_(scratch),
          packed_(columns_ + problem.columns_size),
          ragged_(packed_ + problem.group * problem.panel_size) {}

    // Tiles [first_tile, last_tile) of panels [first, last).
    void take(std::int64_t first, std::int64_t last, std::int64_t first_tile, std::int64_t last_tile) {
        for (std::int64_t begin = first; begin < last; begin += problem_.group) {
            const Panels panels{begin, std::min(begin + problem_.group, last)};
            for (std::int64_t row = 0; row < problem_.x.rows; row += problem_.piece) {
                const std::int64_t rows = std::min(problem_.piece, problem_.x.rows - row);
                for (std::int64_t p = panels.first; p < panels.last; ++p) {
                    if (problem_.is_packed(p)) pack(problem_.x, p, row, rows, packed(panels, p));
                }
                for (std::int64_t t = first_tile; t < last_tile; ++t) take_tile(t, panels, row, rows);
            }
        }
    }

    // dbias of a panel of outputs.
    void take_bias(std::int64_t panel, float* dbias) {
        const Problem& of = problem_;
        const std::int64_t outputs = std::min<std::int64_t>(of.isa.panel, of.dz.cols - panel * of.isa.panel);
        const std::int64_t width = round_up(outputs, of.isa.lanes);
        for (std::int64_t row = 0; row < of.x.rows; row += of.piece) {
            const std::int64_t rows = std::min(of.piece, of.x.rows - row);
            pack(of.dz, panel, row, rows, packed_);
            WeightGradientArgs args{};
            args.rows = rows;
            args.packed = true;
            args.dz = packed_;
            args.dz_stride = width;
            args.panel_width = width;
            args.bias = true;
            args.accumulate = row > 0;
            args.dw = ragged_;
            args.dw_stride = width;
            of.products.weight_gradient(args);
        }
        std::copy_n(ragged_, outputs, dbias + panel * of.isa.panel);
    }

private:
    struct Panels {
        std::int64_t first, last;
    };
    struct Slice {
        std::int64_t output, row, rows;
    };

    float* packed(const Panels& panels, std::int64_t p) const {
        return packed_ + (p - panels.first) * problem_.panel_size;
    }

    void pack(MatrixView from, std::int64_t panel, std::int64_t row, std::int64_t rows, float* to) const {
        const std::int64_t column = panel * problem_.isa.panel;
        const std::int64_t cols = std::min<std::int64_t>(problem_.isa.panel, from.cols - column);
        const std::int64_t width = round_up(cols, problem_.isa.lanes);
        copy_rows({from.row(row) + column, rows, cols, from.stride}, {to, rows, width, width}, cols);
    }

    void take_tile(std::int64_t tile, const Panels& panels, std::int64_t row, std::int64_t rows) {
        const auto slice = [&](std::int64_t t, std::int64_t r) {
            return Slice{t * kWeightTileRows, row + r, t < problem_.tiles ? std::min(kSliceRows, rows - r) : 0};
        };
        for (std::int64_t r = 0; r < rows; r += kSliceRows) {
            const bool last = r + kSliceRows >= rows;
            take_slice(slice(tile, r), last ? slice(tile + 1, 0) : slice(tile, r + kSliceRows), panels, r);
        }
    }

    // `at`: where the slice's rows begin in a packed panel. The first rows of all begin the sums. Rows of the next
    // slice are fetched meanwhile, some for each panel.
    void take_slice(const Slice& slice, const Slice& next, const Panels& panels, std::int64_t at) {
        const Problem& of = problem_;
        const std::int64_t outputs = std::min(kWeightTileRows, of.dz.cols - slice.output);
        of.products.pack_columns(slice.rows, of.dz.row(slice.row) + slice.output, of.dz.stride, outputs, columns_);
        for (std::int64_t p = panels.first; p < panels.last; ++p) {
            const std::int64_t count = panels.last - panels.first;
            const std::int64_t begin = next.rows * (p - panels.first) / count;
            const std::int64_t end = next.rows * (p - panels.first + 1) / count;
            fetch<Use::read>({of.dz.row(next.row + begin) + next.output, end - begin, kWeightTileRows, of.dz.stride});

            const std::int64_t column = p * of.isa.panel;
            const std::int64_t width = of.padded(p);
            const bool is_packed = of.is_packed(p);
            const MutableMatrixView dw{of.dweight.row(slice.output) + column, outputs, of.cols(p), of.dweight.stride};
            const MutableMatrixView aside{ragged_, outputs, width, width};
            const MutableMatrixView& to = of.is_ragged(p) ? aside : dw;
            if (slice.row == 0) fetch<Use::write>(dw);
            if (of.is_ragged(p) && slice.row > 0) copy_rows(dw, aside, dw.cols);
            WeightGradientArgs args{};
            args.rows = slice.rows;
            args.x = columns_;
            args.packed = true;
            args.inputs = outputs;
            args.dz = is_packed ? packed(panels, p) + at * width : of.x.row(slice.row) + column;
            args.dz_stride = is_packed ? width : of.x.stride;
            args.panel_width = width;
            args.accumulate = slice.row > 0;
            args.dw = to.data;
            args.dw_stride = to.stride;
            of.products.weight_gradient(args);
            if (of.is_ragged(p)) copy_rows(aside, dw, dw.cols);
        }
    }

    const Problem& problem_;
    float* columns_;
    float* packed_;
    float* ragged_;  // a tile of a panel that does not end with a whole vector
};

}  // namespace

void single_weight_gradient(const Products& products, MatrixView x, MatrixView dz, MutableMatrixView dweight,
                            float* dbias, int count) {
    const Problem problem{active_instruction_set(), products, x, dz, dweight};
    const std::int64_t bias_panels = (dz.cols + problem.isa.panel - 1) / problem.isa.panel;
    Scratch scratch(problem.scratch_size * count);
    run_team(count, [&](const Member& me) {
        Share share(problem, scratch.data() + me.id * problem.scratch_size);
        if (problem.panels >= me.count) {
            share.take(me.begin(problem.panels), me.end(problem.panels), 0, problem.tiles);
        } else {
            share.take(0, problem.panels, me.begin(problem.tiles), me.end(problem.tiles));
        }
        if (dbias == nullptr) return;
        for (std::int64_t p = me.begin(bias_panels); p < me.end(bias_panels); ++p) share.take_bias(p, dbias);
    });
}

}  // namespace isthmus::cpu
