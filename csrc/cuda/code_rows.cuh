// SPDX-License-Identifier: Apache-2.0
// What the kernels of code.hpp share: a row of the code is a warp's, eight rows a block's.
#pragma once

#include <cstdint>

#include "cuda/code.hpp"
#include "cuda/planes.cuh"
#include "cuda/reduction.cuh"

namespace isthmus::cuda {

inline constexpr int kCodeThreads = 256;
inline constexpr int kCodeRows = kCodeThreads / 32;

inline dim3 code_blocks(const CodeArgs& args) {
    return dim3(static_cast<unsigned>((args.rows + kCodeRows - 1) / kCodeRows));
}

__device__ __forceinline__ std::int64_t row_of_warp() {
    return std::int64_t{blockIdx.x} * kCodeRows + threadIdx.x / 32;
}

__device__ __forceinline__ void store_unit(float value, float* floats, std::int64_t at, const Planes& planes,
                                           std::int64_t row, std::int64_t col) {
    float values[1] = {value};
    if (floats != nullptr) floats[at] = value;
    if (planes.data != nullptr) store_planes(planes, row, col, values);
}

// Called by all lanes; `sum` is the lane's part of row r's penalty.
__device__ __forceinline__ void store_penalty(const CodeArgs& c, std::int64_t r, double sum) {
    sum = sum_of_warp(sum);
    if (threadIdx.x % 32 != 0) return;
    float weight = 1.0F;
    if (c.batch.weights != nullptr) {
        const std::int64_t position = c.batch.positions != nullptr ? c.batch.positions[c.batch.begin() + r] : r;
        weight = c.batch.weights[c.batch.first + position];
    }
    c.penalties[r] = static_cast<double>(weight) * (sum / c.divisor);
    c.shares[r] = weight * c.share;
}

// Called by all threads of all blocks, behind all rows: the rows' penalties become the step's.
__device__ __forceinline__ void add_up_penalties(const CodeArgs& c, double* partials, unsigned* last) {
    if (c.penalties == nullptr || !is_last_block(&c.progress->blocks_arrived, gridDim.x, last)) return;
    const double sum = sum_of_written(c.penalties, c.rows, partials);
    if (threadIdx.x == 0) c.progress->add_penalty(sum, c.opens);
}

// Has a step diverged? Then nothing is written any more.
__device__ __forceinline__ bool is_over(const CodeArgs& c) {
    return c.progress != nullptr && c.progress->first_diverged() != Progress::kNone;
}

}  // namespace isthmus::cuda
