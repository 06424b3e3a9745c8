// SPDX-License-Identifier: Apache-2.0
#include "cpu/single_kernels.hpp"

#include <algorithm>
#include <vector>

#include "cpu/bfloat16/single_kernels.hpp"
#include "cpu/cpu.hpp"
#include "cpu/isa.hpp"
#include "cpu/packing.hpp"
#include "cpu/scratch.hpp"
#include "cpu/single_weight_gradient.hpp"
#include "cpu/team.hpp"
#include "cpu/workspace.hpp"
#include "math/activations.hpp"
#include "math/optimizers.hpp"
#include "math/registry.hpp"

namespace isthmus::cpu {

namespace {

int threads(double flops, const CompileOptions& options) {
    return threads_for(flops, options.n_threads > 0 ? options.n_threads : default_threads());
}

double product_flops(std::int64_t n, std::int64_t in, std::int64_t out) {
    return 2.0 * static_cast<double>(n) * static_cast<double>(in) * static_cast<double>(out);
}

// What is not a product is float32 in every precision that there is.
const InstructionSet& elementwise(const CompileOptions& options) {
    active_products(options.precision);
    return active_instruction_set();
}

// An element of an activation, a loss or an update costs about as much as this many operations.
constexpr double kElementwiseFlops = 16.0;

// Rows of an elementwise kernel that writes whole vectors, through a padded block.
constexpr std::int64_t kBlockRows = 64;

template <class F>
void for_each_padded_block(std::int64_t rows, double flops, MutableMatrixView out, const CompileOptions& options,
                           F&& compute) {
    const int count = threads(flops, options);
    const std::int64_t stride = activation_stride(out.cols);
    Scratch scratch(kBlockRows * stride * count);
    run_team(count, [&](const Member& me) {
        float* block = scratch.data() + me.id * kBlockRows * stride;
        for (std::int64_t row = me.begin(rows); row < me.end(rows); row += kBlockRows) {
            const std::int64_t height = std::min(kBlockRows, me.end(rows) - row);
            compute(row, height, block, stride);
            for (std::int64_t r = 0; r < height; ++r) std::copy_n(block + r * stride, out.cols, out.row(row + r));
        }
    });
}

// y (rows, width) from panels that are packed where they are used: a thread packs as many as stay in its L2 and takes
// all its rows past them. Threads share the panels, or the rows where there are too few panels.
//
// pack(first column, columns, to) fills one panel; multiply(first row, rows, columns, panel, out, stride) uses it, and
// may write whole vectors.
template <class Pack, class Multiply>
void multiply_packed(const InstructionSet& isa, std::int64_t depth, MutableMatrixView y, int count, Pack&& pack,
                     Multiply&& multiply) {
    const std::int64_t panel = isa.panel;
    const std::int64_t panels = (y.cols + panel - 1) / panel;
    const bool by_panels = panels >= 2 * count;
    const std::int64_t size = round_up(depth * panel, 16);
    const std::int64_t group = std::min(std::max<std::int64_t>(1, kWordsInL2 / size), panels);
    const std::int64_t block_rows = std::min(y.rows, std::max(4 * std::int64_t{isa.tile_rows}, kWordsInL2 / depth));
    const std::int64_t scratch_size = group * size + block_rows * panel;
    Scratch scratch(scratch_size * count);
    run_team(count, [&](const Member& me) {
        float* packed = scratch.data() + me.id * scratch_size;
        float* block = packed + group * size;
        const std::int64_t first_row = by_panels ? 0 : me.begin(y.rows);
        const std::int64_t last_row = by_panels ? y.rows : me.end(y.rows);
        const std::int64_t last_panel = by_panels ? me.end(panels) : panels;
        for (std::int64_t first = by_panels ? me.begin(panels) : 0; first < last_panel; first += group) {
            const std::int64_t last = std::min(first + group, last_panel);
            const auto columns = [&](std::int64_t p) { return std::min(panel, y.cols - p * panel); };
            for (std::int64_t p = first; p < last; ++p) pack(p * panel, columns(p), packed + (p - first) * size);
            for (std::int64_t row = first_row; row < last_row; row += block_rows) {
                const std::int64_t rows = std::min(block_rows, last_row - row);
                for (std::int64_t p = first; p < last; ++p) {
                    const std::int64_t width = columns(p);
                    const float* from = packed + (p - first) * size;
                    float* out = y.row(row) + p * panel;
                    if (width % isa.lanes == 0) {
                        multiply(row, rows, width, from, out, y.stride);
                        continue;
                    }
                    multiply(row, rows, width, from, block, panel);
                    for (std::int64_t r = 0; r < rows; ++r) std::copy_n(block + r * panel, width, out + r * y.stride);
                }
            }
        }
    });
}

}  // namespace

void CpuKernels::dense_forward(MatrixView x, MatrixView weight, const float* bias, Activation activation,
                               MutableMatrixView y, const CompileOptions& options) const {
    const InstructionSet& isa = active_instruction_set();
    const std::int64_t in = weight.cols;
    const int count = threads(product_flops(x.rows, in, weight.rows), options);
    const Products& products = active_products(options.precision);
    if (products.rounds) return rounded::dense_forward(products, x, weight, bias, activation, y, count);
    multiply_packed(
        isa, in + 1, y, count,
        [&](std::int64_t column, std::int64_t columns, float* to) {
            const MatrixView rows{weight.row(column), columns, in, weight.stride};
            isa.pack_transposed(rows, PanelLayout{in + 1, columns, isa.lanes, isa.panel}.panel_width(0), to);
            float* last = to + in * round_up(columns, isa.lanes);
            std::fill_n(last, round_up(columns, isa.lanes), 0.0F);
            if (bias != nullptr) std::copy_n(bias + column, columns, last);
        },
        [&](std::int64_t row, std::int64_t rows, std::int64_t columns, const float* panel, float* out,
            std::int64_t stride) {
            products.dense_forward({rows, in, columns, x.row(row), x.stride, panel, 0, 1, activation, out, stride,
                                    nullptr, nullptr, nullptr, nullptr, nullptr});
        });
}

void CpuKernels::dense_backward_input(MatrixView dz, MatrixView weight, MutableMatrixView dx,
                                      const CompileOptions& options) const {
    const InstructionSet& isa = active_instruction_set();
    const std::int64_t out = weight.rows;
    const int count = threads(product_flops(dz.rows, weight.cols, out), options);
    const Products& products = active_products(options.precision);
    if (products.rounds) return rounded::dense_backward_input(products, dz, weight, dx, count);
    multiply_packed(
        isa, out, dx, count,
        [&](std::int64_t column, std::int64_t columns, float* to) {
            const std::int64_t width = round_up(columns, isa.lanes);
            for (std::int64_t k = 0; k < out; ++k) std::copy_n(weight.row(k) + column, columns, to + k * width);
        },
        [&](std::int64_t row, std::int64_t rows, std::int64_t columns, const float* panel, float* to,
            std::int64_t stride) {
            products.dense_backward_input({rows, columns, out, dz.row(row), dz.stride, panel, Activation::linear,
                                           nullptr, 0, to, stride, nullptr, nullptr});
        });
}

void CpuKernels::dense_backward_weight(MatrixView x, MatrixView dz, MutableMatrixView dweight, float* dbias,
                                       const CompileOptions& options) const {
    const int count = threads(product_flops(x.rows, x.cols, dz.cols), options);
    const Products& products = active_products(options.precision);
    if (products.rounds) return rounded::dense_backward_weight(products, x, dz, dweight, dbias, count);
    single_weight_gradient(products, x, dz, dweight, dbias, count);
}

void CpuKernels::activation_forward(MatrixView z, Activation activation, MutableMatrixView y,
                                    const CompileOptions& options) const {
    const InstructionSet& isa = elementwise(options);
    const double flops = kElementwiseFlops * static_cast<double>(z.rows * z.cols);
    run_team(threads(flops, options), [&](const Member& me) {
        for (std::int64_t r = me.begin(z.rows); r < me.end(z.rows); ++r) {
            isa.activation_forward(activation, z.cols, z.row(r), y.row(r));
        }
    });
}

void CpuKernels::activation_backward(MatrixView z, MatrixView dy, Activation activation, MutableMatrixView dz,
                                     const CompileOptions& options) const {
    const InstructionSet& isa = elementwise(options);
    bool needs_z = false;
    math::visit(activation, [&](auto act) { needs_z = decltype(act)::needs_z; });
    const double flops = 2.0 * kElementwiseFlops * static_cast<double>(z.rows * z.cols);
    const int count = threads(flops, options);
    Scratch scratch(z.cols * count);
    run_team(count, [&](const Member& me) {
        float* y = scratch.data() + me.id * z.cols;
        for (std::int64_t r = me.begin(z.rows); r < me.end(z.rows); ++r) {
            const float* kept = z.row(r);
            if (!needs_z) {
                isa.activation_forward(activation, z.cols, z.row(r), y);
                kept = y;
            }
            isa.activation_backward(activation, z.cols, kept, dy.row(r), dz.row(r));
        }
    });
}

double CpuKernels::loss(Loss loss, MatrixView y, MatrixView target, MutableMatrixView dy,
                        const CompileOptions& options) const {
    const InstructionSet& isa = elementwise(options);
    const double n = static_cast<double>(y.rows) * static_cast<double>(y.cols);
    std::vector<double> sums(static_cast<std::size_t>(y.rows));
    std::vector<const float*> targets(static_cast<std::size_t>(y.rows));
    for (std::int64_t r = 0; r < y.rows; ++r) targets[static_cast<std::size_t>(r)] = target.row(r);
    const std::vector<float> scales(static_cast<std::size_t>(std::min(kBlockRows, y.rows)),
                                    static_cast<float>(1.0 / n));
    for_each_padded_block(y.rows, kElementwiseFlops * n, dy, options,
                          [&](std::int64_t row, std::int64_t rows, float* block, std::int64_t stride) {
                              const auto r = static_cast<std::size_t>(row);
                              isa.loss({loss, rows, y.cols, y.row(row), y.stride, targets.data() + r, scales.data(),
                                        1.0, sums.data() + r, block, stride, nullptr, 0});
                          });
    double total = 0.0;
    for (const double sum : sums) total += sum;
    return total / n;
}

void CpuKernels::update(const UpdateRule& rule, double learning_rate, std::int64_t step, float* param,
                        const float* gradient, float* m, float* v, std::int64_t n,
                        const CompileOptions& options) const {
    const InstructionSet& isa = elementwise(options);
    const auto constants = math::make_constants(rule.optimizer, learning_rate, rule.beta_1, rule.beta_2, rule.epsilon,
                                                rule.momentum, rule.weight_decay, step);
    run_team(threads(kElementwiseFlops * static_cast<double>(n), options), [&](const Member& me) {
        const std::int64_t begin = me.begin(n);
        isa.update({rule.optimizer, &constants, 1.0F, param + begin, gradient + begin, m + begin, v + begin,
                    me.end(n) - begin});
    });
}

}  // namespace isthmus::cpu
