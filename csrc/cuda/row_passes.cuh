// SPDX-License-Identifier: Apache-2.0
// A pass of a block's rows, which stay in shared memory, through weights that stream past: each output is one chain of
// fused multiply-adds over ascending k, as in gemm.cuh.
#pragma once

#include "cuda/row_blocks_layout.hpp"
#include "cuda/thread_products.cuh"
#include "cuda/weight_stream.cuh"

namespace isthmus::cuda {

// finish(first row, first column, columns apart, sums) for every thread tile of the product.
template <bool kForward, class Finish>
__device__ __forceinline__ void run_pass(const RowBlockLayout& net, const float* shared, const WeightPass& pass,
                                         WeightStream& weights, Finish&& finish) {
    with_thread_tile(pass.tile, [&](auto tile) {
        constexpr int kRows = decltype(tile)::kRows;
        constexpr int kCols = decltype(tile)::kCols;
        const RowBlockLayer& layer = net.layers[pass.layer];
        const int apart = pass.threads_a_row.n;
        const int row_tile = pass.threads_a_row.quotient(static_cast<int>(threadIdx.x));
        const int row = row_tile * kRows;
        const int thread_col = static_cast<int>(threadIdx.x) - row_tile * apart;
        const bool works = row < net.rows;
        const int stride = kForward ? layer.x_stride : layer.y_stride;
        const float* const of_rows = shared + (kForward ? layer.x : layer.dz) + row * stride;
        for (int col_tile = 0; col_tile < pass.col_tiles; ++col_tile) {
            float sums[kRows][kCols] = {};
            for (int k_tile = 0; k_tile < pass.k_tiles; ++k_tile) {
                const float* const weight = weights.next();
                const int first = k_tile * pass.quads;
                if (!works) continue;
                multiply<kForward>(of_rows + 4 * first, stride, weight + thread_col * (kForward ? pass.stride : 1),
                                   apart * (kForward ? pass.stride : 1), pass.stride,
                                   at_most(pass.quads, pass.k_quads - first), sums);
            }
            if (works) finish(row, col_tile * pass.cols + thread_col, apart, sums);
        }
    });
}

template <int kRows, int kCols>
__device__ __forceinline__ void add_bias(const float* bias, int width, int col, int apart,
                                         float (&sums)[kRows][kCols]) {
#pragma unroll
    for (int j = 0; j < kCols; ++j) {
        const int c = col + j * apart;
        const float of_column = c < width ? bias[c] : 0.0F;
#pragma unroll
        for (int i = 0; i < kRows; ++i) sums[i][j] += of_column;
    }
}

}  // namespace isthmus::cuda
