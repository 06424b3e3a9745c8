// SPDX-License-Identifier: Apache-2.0
#include "cpu/bfloat16/single_kernels.hpp"

#include <algorithm>

#include "cpu/buffer.hpp"
#include "cpu/packing.hpp"
#include "cpu/team.hpp"
#include "cpu/workspace.hpp"

namespace isthmus::cpu::rounded {

namespace {

constexpr std::int64_t kBlockRows = 256;  // rows that are rounded before they are used

PanelLayout panel_layout(std::int64_t depth, std::int64_t width) {
    const InstructionSet& isa = active_instruction_set();
    return {depth, width, isa.lanes, isa.panel};
}

// A layer on its own: its weight as the training loop keeps it, with the copies that the products read.
struct LoneLayer {
    PanelLayout layout;
    Buffer panels;
    Buffer copies;

    LoneLayer(const Products& products, MatrixView weight, const float* bias, bool input_gradient, int count)
        : layout(panel_layout(weight.cols + 1, weight.rows)),
          panels(layout.size()),
          copies(PairPanels{weight.cols, weight.rows}.size() +
                 (input_gradient ? PairPanels{weight.rows, weight.cols}.size() : 0)) {
        pack_weight(active_instruction_set(), layout, weight, bias, panels.data());
        run_team(count, [&](const Member& me) {
            for (std::int64_t p = me.begin(layout.count()); p < me.end(layout.count()); ++p) {
                products.copy_weights(
                    {panels.data(), weight.cols, weight.rows, p, 0, weight.cols, input_gradient, copies.data()});
            }
        });
    }
};

// Rounds the rows of x block by block; multiply(pairs, rows, out, stride) gives as many rows of y, whole vectors, which
// are copied to where they belong.
template <class F>
void for_each_rounded_block(const Products& products, MatrixView x, MutableMatrixView y, int count, F&& multiply) {
    const std::int64_t block_rows = std::min(kBlockRows, x.rows);
    const std::int64_t x_size = block_rows * pair_stride(x.cols);
    const std::int64_t y_stride = activation_stride(y.cols);
    Buffer scratch((x_size + block_rows * y_stride) * count);
    run_team(count, [&](const Member& me) {
        float* const mine = scratch.data() + me.id * (x_size + block_rows * y_stride);
        Pair* const pairs = reinterpret_cast<Pair*>(mine);
        float* const block = mine + x_size;
        for (std::int64_t row = me.begin(x.rows); row < me.end(x.rows); row += block_rows) {
            const std::int64_t rows = std::min(block_rows, me.end(x.rows) - row);
            products.round(rows, x.cols, x.row(row), x.stride, pairs);
            multiply(pairs, rows, block, y_stride);
            for (std::int64_t r = 0; r < rows; ++r) std::copy_n(block + r * y_stride, y.cols, y.row(row + r));
        }
    });
}

}  // namespace

void dense_forward(const Products& products, MatrixView x, MatrixView weight, const float* bias, Activation activation,
                   MutableMatrixView y, int count) {
    const LoneLayer layer(products, weight, bias, false, count);
    for_each_rounded_block(products, x, y, count,
                           [&](const Pair* pairs, std::int64_t rows, float* out, std::int64_t stride) {
                               products.dense_forward({rows, weight.cols, weight.rows, nullptr, 0, layer.panels.data(),
                                                       0, layer.layout.count(), activation, out, stride, nullptr,
                                                       nullptr, pairs, layer.copies.data(), nullptr});
                           });
}

void dense_backward_input(const Products& products, MatrixView dz, MatrixView weight, MutableMatrixView dx, int count) {
    const LoneLayer layer(products, weight, nullptr, true, count);
    for_each_rounded_block(
        products, dz, dx, count, [&](const Pair* pairs, std::int64_t rows, float* out, std::int64_t stride) {
            products.dense_backward_input({rows, weight.cols, weight.rows, nullptr, 0, layer.copies.data(),
                                           Activation::linear, nullptr, 0, out, stride, pairs, nullptr});
        });
}

void dense_backward_weight(const Products& products, MatrixView x, MatrixView dz, MutableMatrixView dweight,
                           float* dbias, int count) {
    const PanelLayout layout = panel_layout(x.cols + 1, dz.cols);
    const std::int64_t piece = std::min(kPieceRows, x.rows);
    const std::int64_t stride = activation_stride(dz.cols);
    const std::int64_t tile_size = kWeightTileRows * padded_pairs(piece);
    const std::int64_t panel_size = PairPanels{piece, 0}.panel_size();
    const std::int64_t tiles_down = (x.cols + kWeightTileRows - 1) / kWeightTileRows;
    Buffer padded(piece * stride);
    Buffer columns(tiles_down * tile_size);
    Buffer panels(layout.count() * panel_size);
    Buffer dw(layout.size());
    run_team(count, [&](const Member& me) {
        for (std::int64_t begin = 0; begin < x.rows; begin += piece) {
            const std::int64_t rows = std::min(piece, x.rows - begin);
            for (std::int64_t r = me.begin(rows); r < me.end(rows); ++r) {
                std::copy_n(dz.row(begin + r), dz.cols, padded.data() + r * stride);
            }
            for (std::int64_t t = me.begin(tiles_down); t < me.end(tiles_down); ++t) {
                const std::int64_t top = t * kWeightTileRows;
                products.pack_columns(rows, x.row(begin) + top, x.stride, std::min(kWeightTileRows, x.cols - top),
                                      columns.data() + t * tile_size);
            }
            me.wait();
            for (std::int64_t p = me.begin(layout.count()); p < me.end(layout.count()); ++p) {
                const std::int64_t width = layout.panel_width(p);
                const float* const dz_rows = padded.data() + p * layout.panel;
                float* const panel = panels.data() + p * panel_size;
                products.pack_panel(rows, dz_rows, stride, width, panel);
                for (std::int64_t t = 0; t < tiles_down; ++t) {
                    const std::int64_t top = t * kWeightTileRows;
                    const std::int64_t inputs = std::min(kWeightTileRows, x.cols - top);
                    products.weight_gradient({rows,
                                              columns.data() + t * tile_size,
                                              0,
                                              true,
                                              inputs,
                                              panel,
                                              width,
                                              dz_rows,
                                              stride,
                                              width,
                                              top + inputs == x.cols,
                                              begin > 0,
                                              dw.data() + layout.panel_offset(p) + top * width,
                                              width,
                                              {}});
                }
            }
            me.wait();
        }
    });
    unpack_weight(active_instruction_set(), layout, dw.data(), dweight, dbias);
}

}  // namespace isthmus::cpu::rounded
