// SPDX-License-Identifier: Apache-2.0
#include "cpu/single_kernels.hpp"

#include <algorithm>
#include <vector>

#include "cpu/buffer.hpp"
#include "cpu/cpu.hpp"
#include "cpu/isa.hpp"
#include "cpu/packing.hpp"
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

// An element of an activation, a loss or an update costs about as much as this many operations.
constexpr double kElementwiseFlops = 16.0;

// y = work(rows, stride, scratch) in blocks of rows, each computed with padded rows and copied out without the padding.
constexpr std::int64_t kBlockRows = 64;

template <class F>
void for_each_row_block(std::int64_t rows, double flops, MutableMatrixView out, const CompileOptions& options,
                        F&& compute) {
    const int count = threads(flops, options);
    const std::int64_t stride = activation_stride(out.cols);
    Buffer scratch(kBlockRows * stride * count);
    run_team(count, [&](const Member& me) {
        float* block = scratch.data() + me.id * kBlockRows * stride;
        for (std::int64_t row = me.begin(rows); row < me.end(rows); row += kBlockRows) {
            const std::int64_t height = std::min(kBlockRows, me.end(rows) - row);
            compute(row, height, block, stride);
            for (std::int64_t r = 0; r < height; ++r) std::copy_n(block + r * stride, out.cols, out.row(row + r));
        }
    });
}

}  // namespace

void CpuKernels::dense_forward(MatrixView x, MatrixView weight, const float* bias, Activation activation,
                               MutableMatrixView y, const CompileOptions& options) const {
    const InstructionSet& isa = active_instruction_set();
    const PanelLayout layout{weight.cols + 1, weight.rows, isa.lanes, isa.panel};
    Buffer panels(layout.size());
    pack_weight(layout, weight, bias, panels.data());
    const double flops = product_flops(x.rows, weight.cols, weight.rows);
    for_each_row_block(x.rows, flops, y, options,
                       [&](std::int64_t row, std::int64_t rows, float* block, std::int64_t stride) {
                           isa.dense_forward({rows, weight.cols, weight.rows, x.row(row), x.stride, panels.data(),
                                              activation, block, stride, nullptr, nullptr});
                       });
}

void CpuKernels::dense_backward_input(MatrixView dz, MatrixView weight, MutableMatrixView dx,
                                      const CompileOptions& options) const {
    const InstructionSet& isa = active_instruction_set();
    const PanelLayout layout{weight.rows, weight.cols, isa.lanes, isa.panel};
    Buffer panels(layout.size());
    pack(layout, weight, panels.data());
    const double flops = product_flops(dz.rows, weight.cols, weight.rows);
    for_each_row_block(dz.rows, flops, dx, options,
                       [&](std::int64_t row, std::int64_t rows, float* block, std::int64_t stride) {
                           isa.dense_backward_input({rows, weight.cols, weight.rows, dz.row(row), dz.stride,
                                                     panels.data(), Activation::linear, nullptr, 0, block, stride});
                       });
}

void CpuKernels::dense_backward_weight(MatrixView x, MatrixView dz, MutableMatrixView dweight, float* dbias,
                                       const CompileOptions& options) const {
    const InstructionSet& isa = active_instruction_set();
    const PanelLayout layout{x.cols + 1, dz.cols, isa.lanes, isa.panel};
    const std::int64_t stride = activation_stride(dz.cols);
    Buffer padded(std::min(kPieceRows, dz.rows) * stride);
    Buffer dw(layout.size());
    const std::int64_t tiles_down = (x.cols + kWeightTileRows - 1) / kWeightTileRows;
    const std::int64_t tiles = tiles_down * layout.count();
    run_team(threads(product_flops(x.rows, x.cols, dz.cols), options), [&](const Member& me) {
        for (std::int64_t begin = 0; begin < x.rows; begin += kPieceRows) {
            const std::int64_t rows = std::min(kPieceRows, x.rows - begin);
            for (std::int64_t r = me.begin(rows); r < me.end(rows); ++r) {
                std::copy_n(dz.row(begin + r), dz.cols, padded.data() + r * stride);
            }
            me.wait();
            for (std::int64_t t = me.begin(tiles); t < me.end(tiles); ++t) {
                const std::int64_t panel = t / tiles_down;
                const std::int64_t top = t % tiles_down * kWeightTileRows;
                const std::int64_t width = layout.panel_width(panel);
                const float* columns = padded.data() + panel * layout.panel;
                const std::int64_t inputs = std::min(kWeightTileRows, x.cols - top);
                isa.weight_gradient({rows,
                                     x.row(begin) + top,
                                     x.stride,
                                     false,
                                     inputs,
                                     columns,
                                     stride,
                                     width,
                                     top + inputs == x.cols,
                                     begin > 0,
                                     dw.data() + layout.panel_offset(panel) + top * width,
                                     {}});
            }
            me.wait();
        }
    });
    unpack_weight(layout, dw.data(), dweight, dbias);
}

void CpuKernels::activation_forward(MatrixView z, Activation activation, MutableMatrixView y,
                                    const CompileOptions& options) const {
    const InstructionSet& isa = active_instruction_set();
    const double flops = kElementwiseFlops * static_cast<double>(z.rows * z.cols);
    run_team(threads(flops, options), [&](const Member& me) {
        for (std::int64_t r = me.begin(z.rows); r < me.end(z.rows); ++r) {
            isa.activation_forward(activation, z.cols, z.row(r), y.row(r));
        }
    });
}

void CpuKernels::activation_backward(MatrixView z, MatrixView dy, Activation activation, MutableMatrixView dz,
                                     const CompileOptions& options) const {
    const InstructionSet& isa = active_instruction_set();
    bool needs_z = false;
    math::visit(activation, [&](auto act) { needs_z = decltype(act)::needs_z; });
    const double flops = 2.0 * kElementwiseFlops * static_cast<double>(z.rows * z.cols);
    const int count = threads(flops, options);
    Buffer scratch(z.cols * count);
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
    const InstructionSet& isa = active_instruction_set();
    const double n = static_cast<double>(y.rows) * static_cast<double>(y.cols);
    std::vector<double> sums(static_cast<std::size_t>(y.rows));
    std::vector<const float*> targets(static_cast<std::size_t>(y.rows));
    for (std::int64_t r = 0; r < y.rows; ++r) targets[static_cast<std::size_t>(r)] = target.row(r);
    const std::vector<float> scales(static_cast<std::size_t>(std::min(kBlockRows, y.rows)),
                                    static_cast<float>(1.0 / n));
    for_each_row_block(y.rows, kElementwiseFlops * n, dy, options,
                       [&](std::int64_t row, std::int64_t rows, float* block, std::int64_t stride) {
                           const auto r = static_cast<std::size_t>(row);
                           isa.loss({loss, rows, y.cols, y.row(row), y.stride, targets.data() + r, scales.data(),
                                     sums.data() + r, block, stride, nullptr, 0});
                       });
    double total = 0.0;
    for (const double sum : sums) total += sum;
    return total / n;
}

void CpuKernels::update(const UpdateRule& rule, double learning_rate, std::int64_t step, float* param,
                        const float* gradient, float* m, float* v, std::int64_t n,
                        const CompileOptions& options) const {
    const InstructionSet& isa = active_instruction_set();
    const auto constants = math::make_constants(rule.optimizer, learning_rate, rule.beta_1, rule.beta_2, rule.epsilon,
                                                rule.momentum, rule.weight_decay, step);
    run_team(threads(kElementwiseFlops * static_cast<double>(n), options), [&](const Member& me) {
        const std::int64_t begin = me.begin(n);
        isa.update({rule.optimizer, &constants, 1.0F, param + begin, gradient + begin, m + begin, v + begin,
                    me.end(n) - begin});
    });
}

}  // namespace isthmus::cpu
