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
#include "cuda/thread_products.cuh"

namespace isthmus::cuda {

// finish(first row, first column, columns apart, sums) for every tile of a product of the batch. Where a thread begins
// is worked out before the shape of its tile is looked at: what the constant cache is asked for then comes all at once.
template <bool kAlongK, class Finish>
__device__ __forceinline__ void for_each_tile(const BlockProduct& product, int count, const float* a, int a_stride,
                                              const float* weight, int weight_stride, int k_quads, Finish&& finish) {
    const Divisor by_columns = product.col_tiles;
    const int col_tiles = by_columns.n;
    int item = static_cast<int>(threadIdx.x);
    int row_tile = by_columns.quotient(item);
    with_thread_tile(product.tile, [&](auto tile) {
        constexpr int kRows = decltype(tile)::kRows;
        constexpr int kCols = decltype(tile)::kCols;
        const int row_tiles = (count + kRows - 1) / kRows;
        while (row_tile < row_tiles) {
            const int col = item - row_tile * col_tiles;
            const int row = row_tile * kRows;
            float sums[kRows][kCols] = {};
            multiply<kAlongK>(a + row * a_stride, a_stride, weight + col * (kAlongK ? weight_stride : 1),
                              col_tiles * (kAlongK ? weight_stride : 1), weight_stride, k_quads, sums);
            finish(row, col, col_tiles, sums);
            item += static_cast<int>(blockDim.x);
            row_tile = by_columns.quotient(item);
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
                take_loss(
                    a.loss, targets, net.rows_stride, layer.out, row, col, apart,
                    [&](int r) { return weight_of(a, shared, odd, r); }, y, dz);
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
// lane i began with the sum of values i, i + stride, i + 2 stride ... below n. Lanes from n on have 0, and to add that
// changes no bit: of 10 columns nine sums in double are left of 31, all by one thread, while others update.
template <int kStep>
__device__ __forceinline__ double sum_of_lanes(const float* values, int first, int stride, int n) {
    if constexpr (kStep < 32) {
        const double sum = sum_of_lanes<2 * kStep>(values, first, stride, n);
        if (first + kStep >= n) return sum;
        return sum + sum_of_lanes<2 * kStep>(values, first + kStep, stride, n);
    } else {
        double sum = 0.0;
        for (int j = first; j < n; j += stride) sum += static_cast<double>(values[j]);
        return sum;
    }
}

// One thread's e_r as loss.cu has it: a warp's, or eight's from 256 columns on.
__device__ __forceinline__ double row_error(const float* values, int cols) {
    const int warps = cols < kWideLoss ? 1 : 8;
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
