// SPDX-License-Identifier: Apache-2.0
// What the kernels of a weight gradient share: they sum over rows, a small gradient in parts of them (row_parts), and
// add up the rows of a as well. Nothing of it is in the kernels of other products.
#pragma once

#include "cuda/launch.hpp"
#include "cuda/reduction.cuh"

namespace isthmus::cuda {

// Which tile of c a block has, of how many along m, and which part of k, of how many.
struct PlaceInProduct {
    unsigned x, y, part;
    unsigned columns, parts;
};
// Where the grid is one product, the parts of k along its z.
__device__ __forceinline__ PlaceInProduct place_in_grid() {
    return {blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.z};
}

template <class Epilogue>
__device__ __forceinline__ bool is_divided(const PlaceInProduct& at) {
    return Epilogue::kOverRows && at.parts > 1;
}

// Makes k the number of rows in this block's part; returns the part's first row.
template <class Epilogue>
__device__ __forceinline__ int take_part(const Epilogue& epilogue, const PlaceInProduct& at, int& k) {
    const int first = static_cast<int>(at.part) * epilogue.part_k;
    k = k - first < epilogue.part_k ? k - first : epilogue.part_k;
    return first;
}

// The sum of a's elements over k, which the blocks of the first column make: a is in shared memory anyway.
template <class Epilogue>
struct SumOfRows {
    // `has`: whether this thread sums an m of a.
    __device__ __forceinline__ SumOfRows([[maybe_unused]] const Epilogue& epilogue,
                                         [[maybe_unused]] const PlaceInProduct& at, [[maybe_unused]] bool has,
                                         int index)
        : m(index) {
        if constexpr (Epilogue::kOverRows) {
            if (at.y == 0 && has) to = epilogue.sum_of_a(m);
            if (to != nullptr && !is_divided<Epilogue>(at)) sum = epilogue.first_sum(to);
        }
    }

    int m;
    float* to = nullptr;
    float sum = 0.0F;
};

// The sums of one part of k. They pass through put_part and add_part to the block that ends last, for
// which true comes back and for_each_run(f) then has the sums of all parts. f(m, n, valid, values) may change values.
template <class Epilogue, class ForEachRun>
__device__ __forceinline__ bool add_parts(const Epilogue& epilogue, const PlaceInProduct& at, ForEachRun&& for_each_run,
                                          SumOfRows<Epilogue>& sum_of_a) {
    ISTHMUS_SHARED(unsigned, last, 1);
    const auto part = static_cast<int>(at.part);
    for_each_run(
        [&](int row, int column, int valid, auto& values) { epilogue.put_part(part, row, column, valid, values); });
    if (sum_of_a.to != nullptr) epilogue.put_bias_part(part, sum_of_a.m, sum_of_a.sum);
    if (!is_last_block(epilogue.arrived + at.x + at.columns * at.y, at.parts, last)) return false;
    const auto parts = static_cast<int>(at.parts);
    for_each_run([&](int row, int column, int valid, auto& values) {
        for (auto& value : values) value = 0.0F;
        epilogue.start(row, column, valid, values);
        for (int p = 0; p < parts; ++p) epilogue.add_part(p, row, column, valid, values);
    });
    if (sum_of_a.to != nullptr) {
        sum_of_a.sum = epilogue.sum_of_parts(parts, sum_of_a.m, epilogue.first_sum(sum_of_a.to));
    }
    return true;
}

}  // namespace isthmus::cuda
