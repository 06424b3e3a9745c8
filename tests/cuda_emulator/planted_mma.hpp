// SPDX-License-Identifier: Apache-2.0
// A product on tensor cores of the kind of csrc/cuda/mma_product.cuh, with a place for bugs of its own: three stages of
// cp.async, ldmatrix, mma.sync. Numbers are small integers, so that every right sum has the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/ptx/mma.hpp"
#include "emulated.hpp"
#include "planted.hpp"

namespace planted {

using Half = std::uint16_t;  // a bfloat16

constexpr int kFragmentM = 32, kFragmentN = 16, kFragmentK = 16;  // of a block, which has a warp for each 16 of m
constexpr int kFragmentPitch = 24;                                // halves between rows of a stage
constexpr int kFragmentStages = 3;
constexpr int kFragmentThreads = 64;

constexpr int half_pitch(int k) { return (k + 7) / 8 * 8; }

// One row of 16 halves for each thread of `rows`, in two copies.
template <Bug bug>
__device__ __forceinline__ void copy_halves(Half* stage, const Half* matrix, int first, int limit, int rows, int begin,
                                            int k) {
    const auto row = static_cast<int>(threadIdx.x);
    if (row >= rows) return;
    for (int half = 0; half < 2; ++half) {
        const int at = begin + 8 * half;
        const int whole = bug == Bug::k_tail_of_fragments ? half_pitch(k) : k;
        const int left = first + row < limit ? whole - at : 0;
        const int valid = left < 0 ? 0 : left < 8 ? left : 8;
        const Half* const from = matrix + static_cast<std::size_t>(valid > 0 ? first + row : 0) * half_pitch(k);
        isthmus::cuda::copy_async_16(stage + row * kFragmentPitch + 8 * half, valid > 0 ? from + at : matrix,
                                     2 * valid);
    }
}

// y (m, n) = x @ w.T; x (m, k), w (n, k).
template <Bug bug>
__global__ void fragment_product(const Half* x, const Half* w, float* y, int m, int n, int k) {
    constexpr int kStage = (kFragmentM + kFragmentN) * kFragmentPitch;
    ISTHMUS_SHARED(Half, stages, kFragmentStages * kStage);
    const auto thread = static_cast<int>(threadIdx.x);
    const int lane = thread % 32;
    const int first_m = static_cast<int>(blockIdx.x) * kFragmentM;
    const int first_n = static_cast<int>(blockIdx.y) * kFragmentN;
    const int slices = (k + kFragmentK - 1) / kFragmentK;
    const auto copy = [&](int slice) {
        if (slice < slices) {
            Half* const stage = stages + slice % kFragmentStages * kStage;
            copy_halves<bug>(stage, x, first_m, m, kFragmentM, slice * kFragmentK, k);
            copy_halves<bug>(stage + kFragmentM * kFragmentPitch, w, first_n, n, kFragmentN, slice * kFragmentK, k);
        }
        isthmus::cuda::copy_async_commit();
    };

    const bool swapped = bug == Bug::swapped_matrix_rows;
    const int above = lane % 16, beside = lane / 16;  // of the matrices in a
    const int other_above = lane % 8 + lane / 16 * 8, other_beside = lane / 8 % 2;
    float sums[2][4] = {};
    for (int slice = 0; slice + 1 < kFragmentStages; ++slice) copy(slice);
    for (int slice = 0; slice < slices; ++slice) {
        isthmus::cuda::copy_async_wait<kFragmentStages - (bug == Bug::no_wait_for_stage ? 1 : 2)>();
        __syncthreads();
        copy(slice + kFragmentStages - 1);
        const Half* const stage = stages + slice % kFragmentStages * kStage;
        unsigned a[4], b[4];
        isthmus::cuda::ldmatrix_x4(stage + (thread / 32 * 16 + (swapped ? other_above : above)) * kFragmentPitch +
                                       (swapped ? other_beside : beside) * 8,
                                   a);
        isthmus::cuda::ldmatrix_x4(stage + (kFragmentM + other_above) * kFragmentPitch + other_beside * 8, b);
        constexpr int kOfOneBlock = bug == Bug::wrong_fragment_index ? 2 : 1;  // from b's first word to its second
        for (int j = 0; j < 2; ++j) {
            isthmus::cuda::mma_m16n8k16_bf16(a, b[2 / kOfOneBlock * j], b[2 / kOfOneBlock * j + kOfOneBlock], sums[j]);
        }
    }
    for (int j = 0; j < 2; ++j) {
        for (int c = 0; c < 4; ++c) {
            const bool transposed = bug == Bug::wrong_accumulator_layout;
            const int row = first_m + thread / 32 * 16 + lane / 4 + (transposed ? c % 2 : c / 2) * 8;
            const int column = first_n + j * 8 + lane % 4 * 2 + (transposed ? c / 2 : c % 2);
            if (row < m && column < n) y[static_cast<std::size_t>(row) * n + column] = sums[j][c];
        }
    }
}

inline int small_integer(int i) { return (i * 7919 + 13) % 31 - 15; }

inline std::vector<float> expected_product(int m, int n, int k) {
    std::vector<float> y;
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
            int sum = 0;
            for (int l = 0; l < k; ++l) sum += small_integer(i * k + l) * small_integer(j * k + l + 5);
            y.push_back(static_cast<float>(sum));
        }
    }
    return y;
}

template <Bug bug>
std::vector<float> fragment_product_of(int m, int n, int k) {
    const auto halves = [k](int rows, int salt) {
        // Between the columns and the pitch lies what nobody may read: NaN.
        std::vector<Half> values(static_cast<std::size_t>(rows * half_pitch(k)), 0xffff);
        for (int i = 0; i < rows * k; ++i) {
            const auto number = static_cast<float>(small_integer(i + salt));
            values[static_cast<std::size_t>(i / k * half_pitch(k) + i % k)] =
                static_cast<Half>(__float_as_uint(number) >> 16);
        }
        return values;
    };
    const emulated::DeviceArray<Half> x(halves(m, 0)), w(halves(n, 5));
    const emulated::DeviceArray<float> y(static_cast<std::size_t>(m * n));
    const dim3 grid(static_cast<unsigned>((m + kFragmentM - 1) / kFragmentM),
                    static_cast<unsigned>((n + kFragmentN - 1) / kFragmentN));
    isthmus::cuda::launch(fragment_product<bug>, grid, dim3(kFragmentThreads), 0, nullptr, x.data(), w.data(), y.data(),
                          m, n, k);
    return y.values();
}

}  // namespace planted
