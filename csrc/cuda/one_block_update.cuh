// SPDX-License-Identifier: Apache-2.0
// Weight gradients and the optimizer's update in one: a thread sums a tile of a gradient over the rows, as
// weight_gradient.cu does, parts and all, and updates those weights at once. No gradient is ever stored.
#pragma once

#include <type_traits>

#include "cuda/one_block_passes.cuh"

namespace isthmus::cuda {

// What one thread does of an update: update_rows x 4 of a weight, or four of a bias. Few registers, for a thread keeps
// its first item from step to step.
struct UpdateItem {
    int layer = 0;
    int param = 0;  // the first of them
    int dz = 0;
    int x = 0;
    bool of_bias = false;
};

__device__ __forceinline__ UpdateItem update_item(const BlockLayout& net, int item) {
    int l = 0;
    int first = 0;
    while (l + 1 < net.n_layers && item >= net.layers[l].bias_items) first = net.layers[l++].bias_items;
    const BlockLayer& layer = net.layers[l];
    UpdateItem found;
    found.layer = l;
    found.dz = layer.dz;
    found.of_bias = item >= layer.weight_items;
    if (found.of_bias) {
        const int col = 4 * (item - layer.weight_items);
        found.param = layer.bias + col;
        found.dz += col;
    } else {
        const int row_tile = layer.in_quads_divisor.quotient(item - first);
        const int col = 4 * (item - first - row_tile * layer.in_quads);
        found.param = layer.weight + row_tile * net.update_rows * layer.weight_stride + col;
        found.dz += row_tile * net.update_rows;
        found.x = layer.x + col;
    }
    return found;
}

// Sums over the rows, each part of them apart: then the parts in their order, from 0 on.
template <int kRows, int kCols, class AddRow>
__device__ __forceinline__ void sum_over_rows(int count, int part_rows, float (&sums)[kRows][kCols], AddRow&& add_row) {
    if (part_rows >= count) {
#pragma unroll 2
        for (int r = 0; r < count; ++r) add_row(r, sums);
        return;
    }
    for (int first = 0; first < count; first += part_rows) {
        float part[kRows][kCols] = {};
        const int end = at_most(count, first + part_rows);
#pragma unroll 2
        for (int r = first; r < end; ++r) add_row(r, part);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
            for (int j = 0; j < kCols; ++j) sums[i][j] += part[i][j];
        }
    }
}

// Four parameters and their moments. x * 0 is NaN for a NaN or an infinity: so `suspect` becomes NaN.
template <class Opt>
__device__ __forceinline__ void update_four(const StepConstants& c, const float (&gradient)[4], float* param, int size,
                                            float& suspect) {
    float p[4], m[4], v[4] = {};
    read_four(param, p);
    read_four(param + size, m);
    if constexpr (Opt::uses_v) read_four(param + 2 * size, v);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        Opt::update(c.update, p[j], gradient[j] * c.scale, m[j], v[j]);
        suspect = math::fma(p[j], 0.0F, suspect);
        if constexpr (Opt::uses_v) suspect = math::fma(v[j], 0.0F, suspect);
    }
    *reinterpret_cast<float4*>(param) = make_float4(p[0], p[1], p[2], p[3]);
    *reinterpret_cast<float4*>(param + size) = make_float4(m[0], m[1], m[2], m[3]);
    if constexpr (Opt::uses_v) *reinterpret_cast<float4*>(param + 2 * size) = make_float4(v[0], v[1], v[2], v[3]);
}

template <class Opt, int kRows>
__device__ __forceinline__ void update_weights(const UpdateItem& item, const BlockLayer& layer, const StepConstants& c,
                                               float* shared, int size, int odd, int count, int part_rows,
                                               float& suspect) {
    const float* const dz = shared + item.dz;
    const float* const x = shared + item.x + odd * layer.x_toggle;
    float sums[kRows][4] = {};
    sum_over_rows(count, part_rows, sums, [&](int r, float (&to)[kRows][4]) {
        float values_x[4];
        float values_dz[kRows];
        read_four(x + r * layer.x_stride, values_x);
        const float* const from = dz + r * layer.y_stride;
        if constexpr (kRows == 4) {
            read_four(from, values_dz);
        } else if constexpr (kRows == 2) {
            const float2 two = *reinterpret_cast<const float2*>(from);
            values_dz[0] = two.x;
            values_dz[1] = two.y;
        } else {
            values_dz[0] = *from;
        }
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) to[i][j] = math::fma(values_dz[i], values_x[j], to[i][j]);
        }
    });
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        update_four<Opt>(c, sums[i], shared + item.param + i * layer.weight_stride, size, suspect);
    }
}

template <class Opt>
__device__ __forceinline__ void update_bias(const UpdateItem& item, const BlockLayer& layer, const StepConstants& c,
                                            float* shared, int size, int count, int part_rows, float& suspect) {
    const float* const dz = shared + item.dz;
    float sums[1][4] = {};
    sum_over_rows(count, part_rows, sums, [&](int r, float (&to)[1][4]) {
        float values[4];
        read_four(dz + r * layer.y_stride, values);
#pragma unroll
        for (int j = 0; j < 4; ++j) to[0][j] += values[j];
    });
    update_four<Opt>(c, sums[0], shared + item.param, size, suspect);
}

// All parameters. `mine` is this thread's first item, which is the same in every step.
template <class Opt>
__device__ __forceinline__ void update_parameters(const OneBlockArgs& a, float* shared, const UpdateItem& mine,
                                                  int step, int count) {
    const BlockLayout& net = a.layout;
    const StepConstants c = *constants_of(a, shared, step);
    if (c.updates == 0.0F) return;
    float suspect = 0.0F;
    UpdateItem item = mine;
    for (int i = static_cast<int>(threadIdx.x); i < net.update_items;) {
        const BlockLayer& layer = net.layers[item.layer];
        const int part_rows = layer.part_rows[count == net.batch ? 0 : 1];
        if (item.of_bias) {
            update_bias<Opt>(item, layer, c, shared, net.params_size, count, part_rows, suspect);
        } else {
            const auto rows_at_a_time = [&](auto rows) {
                update_weights<Opt, decltype(rows)::value>(item, layer, c, shared, net.params_size, step % 2, count,
                                                           part_rows, suspect);
            };
            switch (net.update_rows) {
                case 4: rows_at_a_time(std::integral_constant<int, 4>{}); break;
                case 2: rows_at_a_time(std::integral_constant<int, 2>{}); break;
                default: rows_at_a_time(std::integral_constant<int, 1>{});
            }
        }
        i += static_cast<int>(blockDim.x);
        if (i < net.update_items) item = update_item(net, i);
    }
    if (suspect != 0.0F) atomicExch(reinterpret_cast<int*>(shared + net.diverged), 1);
}

}  // namespace isthmus::cuda
