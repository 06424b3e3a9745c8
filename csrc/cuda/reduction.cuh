// SPDX-License-Identifier: Apache-2.0
// Sums in a fixed tree: the same bits whatever runs first.
#pragma once

#include <cstdint>

#include "cuda/launch.hpp"

namespace isthmus::cuda {

inline constexpr unsigned kWholeWarp = 0xffffffffU;

// The sum over the lanes of the warp, in every lane.
__device__ __forceinline__ double sum_of_warp(double value) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kWholeWarp, value, lanes);
    return value;
}

// The sum of the 8 numbers that the warps of a block of 256 have left there, in their order.
__device__ __forceinline__ double sum_of_warps(const double* partials) {
    double sum = 0.0;
#pragma unroll
    for (int warp = 0; warp < 8; ++warp) sum += partials[warp];
    return sum;
}

// The sum over the threads of a block of 256, in every thread. Called by all of them; `partials` holds 8 numbers of
// shared memory, which may be used again behind a barrier.
__device__ __forceinline__ double sum_of_block(double value, double* partials) {
    value = sum_of_warp(value);
    if (threadIdx.x % 32 == 0) partials[threadIdx.x / 32] = value;
    __syncthreads();
    return sum_of_warps(partials);
}

// True in all threads of the block that comes here last of `blocks`, which then sees what every other wrote before,
// read as volatile. Called by all threads that meet in `barrier`, one of which is the `leader`; `arrived` is left at 0
// for the next kernel; `last` is one number of shared memory.
template <class Barrier>
__device__ __forceinline__ bool is_last_block(unsigned* arrived, unsigned blocks, unsigned* last, bool leader,
                                              Barrier&& barrier) {
    __threadfence();
    barrier();
    if (leader) {
        *last = atomicAdd(arrived, 1U) + 1 == blocks ? 1U : 0U;
        if (*last != 0) *arrived = 0;
    }
    barrier();
    __threadfence();
    return *last != 0;
}
// The same where all threads of the block come.
__device__ __forceinline__ bool is_last_block(unsigned* arrived, unsigned blocks, unsigned* last) {
    return is_last_block(arrived, blocks, last, threadIdx.x == 0, [] { __syncthreads(); });
}

// The sum of n numbers that other blocks wrote, in every thread of a block of 256, or of fewer, that then do as if
// there were 256.
template <unsigned kThreads = 256>
__device__ __forceinline__ double sum_of_written(const double* numbers, std::int64_t n, double* partials) {
    const volatile double* const written = numbers;
#pragma unroll
    for (unsigned thread = threadIdx.x; thread < 256; thread += kThreads) {
        double sum = 0.0;
        for (std::int64_t i = thread; i < n; i += 256) sum += written[i];
        sum = sum_of_warp(sum);
        if (thread % 32 == 0) partials[thread / 32] = sum;
    }
    __syncthreads();
    return sum_of_warps(partials);
}

}  // namespace isthmus::cuda
