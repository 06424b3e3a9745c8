// SPDX-License-Identifier: Apache-2.0
// A batch through the network and back in shared memory: the sums and formulas of gemm.cuh, epilogues.cuh and loss.cu,
// in their order, so that both plans have the same bits. A thread has a few rows times a column or two.
//
// The forward pass leaves act'(y or z) where dz will be: the way back then knows of no activation.
#pragma once

#include <type_traits>

#include "cuda/launch.hpp"
#include "cuda/one_block.hpp"
#include "cuda/reduction.cuh"
#include "cuda/visit.cuh"
#include "math/registry.hpp"

namespace isthmus::cuda {

__device__ __forceinline__ void read_four(const float* from, float (&values)[4]) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    values[0] = four.x;
    values[1] = four.y;
    values[2] = four.z;
    values[3] = four.w;
}

// sums[i][j] += sum over k of a(i, k) b(k, j). Rows of a are a_stride apart. kAlongK: column j of b begins at
// b + j * b_column and is contiguous in k; else its elements are b_row apart.
template <bool kAlongK, int kRows, int kCols>
__device__ __forceinline__ void multiply(const float* a, int a_stride, const float* b, int b_column, int b_row,
                                         int k_quads, float (&sums)[kRows][kCols]) {
#pragma unroll 2
    for (int q = 0; q < k_quads; ++q) {
        float values_a[kRows][4];
        float values_b[kCols][4];
#pragma unroll
        for (int i = 0; i < kRows; ++i) read_four(a + i * a_stride + 4 * q, values_a[i]);
#pragma unroll
        for (int j = 0; j < kCols; ++j) {
            if constexpr (kAlongK) {
                read_four(b + j * b_column + 4 * q, values_b[j]);
            } else {
#pragma unroll
                for (int k = 0; k < 4; ++k) values_b[j][k] = b[(4 * q + k) * b_row + j * b_column];
            }
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
#pragma unroll
            for (int i = 0; i < kRows; ++i) {
#pragma unroll
                for (int j = 0; j < kCols; ++j) sums[i][j] = math::fma(values_a[i][k], values_b[j][k], sums[i][j]);
            }
        }
    }
}

// finish(first row, first column, columns apart, sums) for every tile of a product of the batch.
template <bool kAlongK, class Finish>
__device__ __forceinline__ void for_each_tile(const BlockProduct& product, int count, const float* a, int a_stride,
                                              const float* weight, int weight_stride, int k_quads, Finish&& finish) {
    with_thread_tile(product.tile, [&](auto tile) {
        constexpr int kRows = decltype(tile)::kRows;
        constexpr int kCols = decltype(tile)::kCols;
        const int col_tiles = product.col_tiles.n;
        const int items = (count + kRows - 1) / kRows * col_tiles;
        for (int item = static_cast<int>(threadIdx.x); item < items; item += static_cast<int>(blockDim.x)) {
            const int row_tile = product.col_tiles.quotient(item);
            const int col = item - row_tile * col_tiles;
            const int row = row_tile * kRows;
            float sums[kRows][kCols] = {};
            multiply<kAlongK>(a + row * a_stride, a_stride, weight + col * (kAlongK ? weight_stride : 1),
                              col_tiles * (kAlongK ? weight_stride : 1), weight_stride, k_quads, sums);
            finish(row, col, col_tiles, sums);
        }
    });
}

// z becomes y = act(z), and d the derivative there.
template <int kRows, int kCols>
__device__ __forceinline__ void activate(Activation activation, float (&z)[kRows][kCols], float (&d)[kRows][kCols]) {
    visit_on_device(math::Activations{}, activation, [&](auto act) {
        using Act = decltype(act);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
            for (int j = 0; j < kCols; ++j) {
                const float y = Act::forward(z[i][j]);
                d[i][j] = Act::derivative(Act::needs_z ? z[i][j] : y);
                z[i][j] = y;
            }
        }
    });
}

__device__ __forceinline__ float weight_of(const OneBlockArgs& a, const float* shared, int odd, int row) {
    return a.rows.weights == nullptr ? 1.0F : shared[a.layout.weights + odd * a.layout.weights_toggle + row];
}

// Layer l; the last one goes on to the loss: its values stand where y would, dz is what the way back begins with.
__device__ __forceinline__ void forward_layer(const OneBlockArgs& a, float* shared, int l, int odd, int count) {
    const BlockLayout& net = a.layout;
    const BlockLayer& layer = net.layers[l];
    const bool last = l + 1 == net.n_layers;
    for_each_tile<true>(
        layer.forward, count, shared + layer.x + odd * layer.x_toggle, layer.x_stride, shared + layer.weight,
        layer.weight_stride, layer.in_quads, [&](int row, int col, int apart, auto& y) {
            constexpr int kRows = static_cast<int>(std::extent_v<std::remove_reference_t<decltype(y)>, 0>);
            constexpr int kCols = static_cast<int>(std::extent_v<std::remove_reference_t<decltype(y)>, 1>);
            float dz[kRows][kCols] = {};
#pragma unroll
            for (int j = 0; j < kCols; ++j) {
                const float bias = shared[layer.bias + col + j * apart];
#pragma unroll
                for (int i = 0; i < kRows; ++i) y[i][j] += bias;
            }
            activate(layer.activation, y, dz);
            if (last) {
                const float* const targets = shared + net.targets + odd * net.targets_toggle;
                visit_on_device(math::Losses{}, a.loss, [&](auto loss) {
#pragma unroll
                    for (int i = 0; i < kRows; ++i) {
                        const float scale = weight_of(a, shared, odd, row + i) / static_cast<float>(layer.out);
#pragma unroll
                        for (int j = 0; j < kCols; ++j) {
                            const int c = col + j * apart;
                            float value;
                            float gradient;
                            decltype(loss)::evaluate(y[i][j], targets[(row + i) * net.rows_stride + c], value,
                                                     gradient);
                            y[i][j] = value;
                            dz[i][j] = c < layer.out ? gradient * scale * dz[i][j] : 0.0F;
                        }
                    }
                });
            }
#pragma unroll
            for (int i = 0; i < kRows; ++i) {
#pragma unroll
                for (int j = 0; j < kCols; ++j) {
                    const int at = (row + i) * layer.y_stride + col + j * apart;
                    // act(0) need not be 0, and a column beyond would make the next layer's weights beyond grow.
                    shared[layer.y + at] = col + j * apart < layer.out ? y[i][j] : 0.0F;
                    shared[layer.dz + at] = dz[i][j];
                }
            }
        });
}

// dz of the layer below layer l.
__device__ __forceinline__ void backward_layer(const OneBlockArgs& a, float* shared, int l, int count) {
    const BlockLayer& layer = a.layout.layers[l];
    const BlockLayer& below = a.layout.layers[l - 1];
    for_each_tile<false>(layer.backward, count, shared + layer.dz, layer.y_stride, shared + layer.weight,
                         layer.weight_stride, layer.out_quads, [&](int row, int col, int apart, auto& sums) {
                             int i = 0;
#pragma unroll
                             for (auto& of_row : sums) {
                                 int c = col;
#pragma unroll
                                 for (const float sum : of_row) {
                                     shared[below.dz + (row + i) * below.y_stride + c] *= sum;
                                     c += apart;
                                 }
                                 ++i;
                             }
                         });
}

// ---- loss ----------------------------------------------------------------------------------------------------------

// The sum that lane `kFirst` of sum_of_warp's butterfly has when the distances from 16 down to kStep are done, where
// lane i began with the sum of values i, i + stride, i + 2 stride ... below n.
template <int kStep>
__device__ __forceinline__ double sum_of_lanes(const float* values, int first, int stride, int n) {
    if constexpr (kStep < 32) {
        return sum_of_lanes<2 * kStep>(values, first, stride, n) +
               sum_of_lanes<2 * kStep>(values, first + kStep, stride, n);
    } else {
        double sum = 0.0;
        for (int j = first; j < n; j += stride) sum += static_cast<double>(values[j]);
        return sum;
    }
}

// One thread's e_r as loss.cu has it: a warp's, or eight's from 256 columns on.
__device__ __forceinline__ double row_error(const float* values, int cols) {
    const int warps = cols < 256 ? 1 : 8;
    double sum = 0.0;
    for (int warp = 0; warp < warps; ++warp) {
        sum += sum_of_lanes<1>(values + 32 * warp, 0, 32 * warps, cols - 32 * warp);
    }
    return sum / static_cast<double>(cols);
}

// The sums of the rows' errors, to be added up by the host: group g is what warp g of loss.cu's last block has. A warp
// takes a group, a lane a row, beginning with the last warp, which has least else to do.
__device__ __forceinline__ void add_up_losses(const OneBlockArgs& a, const float* shared, int step, int count) {
    const BlockLayout& net = a.layout;
    const BlockLayer& layer = net.layers[net.n_layers - 1];
    const int warps = static_cast<int>(blockDim.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int group = warps - 1 - static_cast<int>(threadIdx.x) / 32; group < net.loss_groups; group += warps) {
        double sum = 0.0;
        for (int r = 32 * group + lane; r < count; r += 256) {
            const double error = row_error(shared + layer.y + r * layer.y_stride, layer.out);
            sum += static_cast<double>(weight_of(a, shared, step % 2, r)) * error;
        }
        sum = sum_of_warp(sum);
        if (lane == 0) a.losses[std::int64_t{step} * net.loss_groups + group] = sum;
    }
}

}  // namespace isthmus::cuda
