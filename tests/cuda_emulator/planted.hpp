// SPDX-License-Identifier: Apache-2.0
// Kernels of the kinds that csrc/cuda has, and a program that runs them in two streams, each with a place for every bug
// that the emulator must show. Bug::none is right; every other one changes one line.
//
// y = sum over columns of (x @ w.T + bias): a tiled product with two stages of cp.async, its k range cut into slices
// that are summed in order, and a sum by shuffles.
#pragma once

#include "cuda/launch.hpp"
#include "cuda/ptx.hpp"
#include "math/scalar.hpp"

namespace planted {

enum class Bug {
    none,
    no_barrier_after_copy,
    no_barrier_before_overwriting,
    no_syncwarp,
    no_copy_wait,
    m_edge_of_load,
    n_edge_of_load,
    k_edge_of_load,
    m_edge_of_store,
    n_edge_of_store,
    k_tail,
    cross_warp_race,
    divergent_barrier,
    divergent_shuffle,
    uninitialised_shared_memory,
    shared_memory_overrun,
    copy_overrun,
    two_blocks_write_one_output,
    atomics_in_any_order,
    no_wait_for_copy,
    no_wait_for_kernel,
    no_stream_synchronisation,
    wrong_fragment_index,
    wrong_accumulator_layout,
    no_wait_for_stage,
    k_tail_of_fragments,
    swapped_matrix_rows,
    last,
};

constexpr int kTile = 32;   // rows of x and of w in a block
constexpr int kDepth = 8;   // of k in a stage
constexpr int kPitch = 12;  // floats between rows of a stage, for alignment and banks
constexpr int kStages = 2;
constexpr int kThreads = 64;  // 8 x 8, each with 4 x 4 results

// Rows x depth of a matrix into a stage, one float4 a thread. What lies outside becomes 0.
template <int off_rows, int off_k>
__device__ __forceinline__ void load_tile(float* stage, const float* matrix, int pitch, int first_row, int rows,
                                          int first_k, int end_k) {
    const int row = static_cast<int>(threadIdx.x) / 2;
    const int k = static_cast<int>(threadIdx.x) % 2 * 4;
    const int left = end_k + off_k - (first_k + k);
    const int valid = first_row + row < rows + off_rows ? (left < 0 ? 0 : left > 4 ? 4 : left) : 0;
    const float* const from = matrix + static_cast<std::size_t>(valid > 0 ? first_row + row : 0) * pitch;
    isthmus::cuda::copy_async_16(stage + row * kPitch + k, valid > 0 ? from + first_k + k : matrix, 4 * valid);
}

// partial[blockIdx.z] = x @ w.T over one slice of k. x (m, k), w (n, k), partial (slices, m, n).
template <Bug bug>
__global__ void product(const float* x, const float* w, float* partial, int m, int n, int k, int pitch, int slice) {
    ISTHMUS_SHARED(float, x_stage, kStages * kTile * kPitch);
    ISTHMUS_SHARED(float, w_stage, kStages * kTile * kPitch);
    const int first_row = static_cast<int>(blockIdx.y) * kTile;
    const int first_col = static_cast<int>(blockIdx.x) * kTile;
    const int begin_k = static_cast<int>(blockIdx.z) * slice;
    const int end_k = begin_k + slice < k ? begin_k + slice : k;
    const int tiles = (end_k - begin_k + (bug == Bug::k_tail ? 0 : kDepth - 1)) / kDepth;
    const int row = static_cast<int>(threadIdx.x) / 8;
    const int col = static_cast<int>(threadIdx.x) % 8;

    const auto load = [&](int tile) {
        constexpr int off_k = bug == Bug::k_edge_of_load ? 1 : 0;
        constexpr int kStage = kTile * kPitch;
        const int overrun = bug == Bug::copy_overrun ? kPitch : 0;
        if (tile < tiles) {
            float* const to = x_stage + (tile % kStages) * kStage + overrun;
            load_tile<bug == Bug::m_edge_of_load ? 1 : 0, off_k>(to, x, pitch, first_row, m, begin_k + tile * kDepth,
                                                                 end_k);
            load_tile<bug == Bug::n_edge_of_load ? 1 : 0, 0>(w_stage + (tile % kStages) * kStage, w, pitch, first_col,
                                                             n, begin_k + tile * kDepth, end_k);
        }
        isthmus::cuda::copy_async_commit();
    };

    float sum[4][4] = {};
    load(0);
    for (int tile = 0; tile < tiles; ++tile) {
        load(tile + 1);
        if (bug != Bug::no_copy_wait) isthmus::cuda::copy_async_wait<1>();
        if (bug != Bug::no_barrier_after_copy) __syncthreads();
        const float* const xs = x_stage + (tile % kStages) * kTile * kPitch;
        const float* const ws = w_stage + (tile % kStages) * kTile * kPitch;
        for (int i = 0; i < kDepth; ++i) {
            for (int r = 0; r < 4; ++r) {
                for (int c = 0; c < 4; ++c) {
                    sum[r][c] =
                        isthmus::math::fma(xs[(row + 8 * r) * kPitch + i], ws[(col + 8 * c) * kPitch + i], sum[r][c]);
                }
            }
        }
        if (bug != Bug::no_barrier_before_overwriting) __syncthreads();
    }

    constexpr int off_rows = bug == Bug::m_edge_of_store ? 1 : 0;
    constexpr int off_cols = bug == Bug::n_edge_of_store ? 1 : 0;
    const unsigned at = bug == Bug::two_blocks_write_one_output || bug == Bug::atomics_in_any_order ? 0 : blockIdx.z;
    float* const out = partial + static_cast<std::size_t>(at) * m * n;
    for (int r = 0; r < 4; ++r) {
        for (int c = 0; c < 4; ++c) {
            const int i = first_row + row + 8 * r;
            const int j = first_col + col + 8 * c;
            if (i >= m + off_rows || j >= n + off_cols) continue;
            float* const y = out + static_cast<std::size_t>(i) * n + j;
            if (bug == Bug::two_blocks_write_one_output) {
                *y += sum[r][c];
            } else if (bug == Bug::atomics_in_any_order) {
                atomicAdd(y, sum[r][c]);
            } else {
                *y = sum[r][c];
            }
        }
    }
}

constexpr int kSumThreads = 96;

// y[row] = sum over columns of (sum over slices of partial + bias), columns spread over the threads. A warp first hands
// its columns round through shared memory.
template <Bug bug>
__global__ void sum_rows(const float* partial, const float* bias, float* y, int m, int n, int slices) {
    ISTHMUS_SHARED(float, exchanged, kSumThreads);
    ISTHMUS_SHARED(float, of_warp, 8);
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread % 32;
    const int row = static_cast<int>(blockIdx.x);
    constexpr int kWarps = bug == Bug::shared_memory_overrun ? 9 : 8;
    if (bug != Bug::uninitialised_shared_memory && thread < kWarps) of_warp[thread] = 0.0F;

    float sum = 0.0F;
    for (int col = thread; col < n; col += kSumThreads) {
        float value = bias[col];
        for (int slice = 0; slice < slices; ++slice) {
            value += partial[(static_cast<std::size_t>(slice) * m + row) * n + col];
        }
        sum += value;
        if (bug == Bug::divergent_barrier) __syncthreads();
        if (bug == Bug::divergent_shuffle) sum += 0.0F * __shfl_sync(0xffffffffU, sum, 0);
    }
    exchanged[thread] = sum;
    if (bug != Bug::no_syncwarp) __syncwarp();
    sum = exchanged[thread - lane + (lane + 5) % 32];
    __syncwarp();
    for (unsigned distance = 16; distance > 0; distance /= 2) {
        sum += __shfl_down_sync(0xffffffffU, sum, distance);
    }
    __syncthreads();
    if (lane == 0) of_warp[thread / 32] = sum;
    if (bug != Bug::cross_warp_race) __syncthreads();
    if (thread == 0) {
        float total = 0.0F;
        for (int warp = 0; warp < 8; ++warp) total += of_warp[warp];
        y[row] = total;
    }
}

}  // namespace planted
