// SPDX-License-Identifier: Apache-2.0
// What comes into the block's shared memory and leaves it: parameters, once a launch; a step's rows, their numbers and
// the step's constants, while the step before is computed.
#pragma once

#include "cuda/launch.hpp"
#include "cuda/noise.cuh"
#include "cuda/one_block.hpp"
#include "cuda/ptx.hpp"

namespace isthmus::cuda {

// f(element of the flat buffer, place in shared memory, valid) for every four floats of a layer's weight and bias, as
// they lie in shared memory; the first `valid` of them exist, and `aligned` where they may be moved at once.
template <class F>
__device__ __forceinline__ void for_each_four(const BlockLayer& layer, F&& f) {
    const int threads = static_cast<int>(blockDim.x);
    const int thread = static_cast<int>(threadIdx.x);
    const bool aligned = layer.in % 4 == 0;
    for (int i = thread; i < 4 * layer.out_quads * layer.in_quads; i += threads) {
        const int row = layer.in_quads_divisor.quotient(i);
        const int col = 4 * (i - row * layer.in_quads);
        f(layer.flat_weight + row * layer.in + col, layer.weight + row * layer.weight_stride + col,
          row < layer.out ? at_most(4, layer.in - col) : 0, aligned);
    }
    for (int i = thread; i < layer.out_quads; i += threads) {
        f(layer.flat_bias + 4 * i, layer.bias + 4 * i, at_most(4, layer.out - 4 * i), true);
    }
}

// Zeros where the flat buffer has nothing.
__device__ __forceinline__ void fetch_parameters(const OneBlockArgs& a, const float* flat, float* shared) {
    for (int l = 0; l < a.layout.n_layers; ++l) {
        for_each_four(a.layout.layers[l], [&](int from, int to, int valid, bool aligned) {
            if (aligned) {
                copy_async_16(shared + to, valid > 0 ? flat + from : flat, 4 * valid);
                return;
            }
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                copy_async_4(shared + to + j, j < valid ? flat + from + j : flat, j < valid ? 4 : 0);
            }
        });
    }
}

__device__ __forceinline__ void store_parameters(const OneBlockArgs& a, float* flat, const float* shared) {
    for (int l = 0; l < a.layout.n_layers; ++l) {
        for_each_four(a.layout.layers[l], [&](int to, int from, int valid, bool aligned) {
            const float4 four = *reinterpret_cast<const float4*>(shared + from);
            if (aligned && valid == 4) {
                *reinterpret_cast<float4*>(flat + to) = four;
                return;
            }
            if (valid > 0) flat[to] = four.x;
            if (valid > 1) flat[to + 1] = four.y;
            if (valid > 2) flat[to + 2] = four.z;
            if (valid > 3) flat[to + 3] = four.w;
        });
    }
}

__device__ __forceinline__ int rows_of(const OneBlockArgs& a, int step) {
    return step + 1 < a.steps ? a.layout.batch : step + 1 == a.steps ? a.rows_of_last : 0;
}

__device__ __forceinline__ std::int64_t* numbers_of(const OneBlockArgs& a, float* shared, int step) {
    return reinterpret_cast<std::int64_t*>(shared + a.layout.numbers) + step % 2 * a.layout.batch;
}

__device__ __forceinline__ void fetch_numbers(const OneBlockArgs& a, float* shared, int step) {
    const int words = 2 * rows_of(a, step);
    const auto* const from = reinterpret_cast<const int*>(a.rows.numbers + std::int64_t{step} * a.layout.batch);
    auto* const to = reinterpret_cast<int*>(numbers_of(a, shared, step));
    for (int i = static_cast<int>(threadIdx.x); i < words; i += static_cast<int>(blockDim.x)) {
        copy_async_4(to + i, from + i);
    }
}

__device__ __forceinline__ const StepConstants* constants_of(const OneBlockArgs& a, const float* shared, int step) {
    return reinterpret_cast<const StepConstants*>(shared + a.layout.constants) + step % 2;
}

__device__ __forceinline__ void fetch_constants(const OneBlockArgs& a, float* shared, int step) {
    if (threadIdx.x >= 3 || step >= a.steps) return;
    const auto* const from = reinterpret_cast<const float4*>(a.constants + step);
    auto* const to = reinterpret_cast<float4*>(shared + a.layout.constants) + step % 2 * 3;
    copy_async_16(to + threadIdx.x, from + threadIdx.x);
}

// Whose numbers are there. From the last thread down: the first ones have most to do.
__device__ __forceinline__ void fetch_rows(const OneBlockArgs& a, float* shared, int step) {
    const BlockLayout& net = a.layout;
    const int count = rows_of(a, step);
    const int odd = step % 2;
    const std::int64_t* const numbers = numbers_of(a, shared, step);
    const int threads = static_cast<int>(blockDim.x);
    const int thread = threads - 1 - static_cast<int>(threadIdx.x);
    for (int i = thread; i < count * net.rows_quads.n; i += threads) {
        const int r = net.rows_quads.quotient(i);
        const int col = 4 * (i - r * net.rows_quads.n);
        const std::int64_t from = (a.rows.first + numbers[r]) * a.rows.stride + col;
        const int to = r * net.rows_stride + col;
        copy_async_16(shared + net.rows + odd * net.rows_toggle + to, a.rows.inputs + from);
        if (net.targets != net.rows) {
            copy_async_16(shared + net.targets + odd * net.targets_toggle + to, a.rows.targets + from);
        }
    }
    if (a.rows.weights == nullptr) return;
    for (int r = thread; r < count; r += threads) {
        copy_async_4(shared + net.weights + odd * net.weights_toggle + r, a.rows.weights + a.rows.first + numbers[r]);
    }
}

template <class Kind>
__device__ __forceinline__ void corrupt_rows_with(const OneBlockArgs& a, float* shared, int step, int count) {
    const BlockLayout& net = a.layout;
    const std::int64_t* const numbers = numbers_of(a, shared, step);
    const float* const rows = shared + net.rows + step % 2 * net.rows_toggle;
    for (int i = static_cast<int>(threadIdx.x); i < count * net.rows_quads.n; i += static_cast<int>(blockDim.x)) {
        const int r = net.rows_quads.quotient(i);
        const int group = i - r * net.rows_quads.n;
        const int at = r * net.rows_stride + 4 * group;
        *reinterpret_cast<float4*>(shared + net.corrupted + at) =
            corrupted<Kind>(*reinterpret_cast<const float4*>(rows + at), static_cast<std::uint32_t>(group),
                            net.layers[0].in, numbers[r], a.noise);
    }
}

__device__ __forceinline__ void corrupt_rows(const OneBlockArgs& a, float* shared, int step, int count) {
    if (a.noise.kind == NoiseKind::gaussian) {
        corrupt_rows_with<Gaussian>(a, shared, step, count);
    } else {
        corrupt_rows_with<Mask>(a, shared, step, count);
    }
}

}  // namespace isthmus::cuda
