// SPDX-License-Identifier: Apache-2.0
// The one product of the SIMT kernels: c (m, n) = sum over k of a(m, k) b(n, k), float32, each output one chain of
// fused multiply-adds over ascending k. Forward, input gradient and weight gradient differ only in which index of an
// operand is contiguous and in the epilogue that takes the sums. A small weight gradient is several chains, one for
// each part of the rows: see row_parts.
//
// A block computes a tile; both operands pass through shared memory, k-slice by k-slice, stored with k as the row, in
// two buffers: while one is multiplied the next slice is already on its way to registers, and one barrier a slice
// keeps them apart.
#pragma once

#include <cstdint>

#include "cuda/gemm_tile.cuh"
#include "cuda/launch.hpp"
#include "cuda/plan.hpp"
#include "cuda/reduction.cuh"
#include "math/scalar.hpp"

namespace isthmus::cuda {

// Which tile of c a block has, of how many along m, and which part of k, of how many.
struct PlaceInProduct {
    unsigned x, y, part;
    unsigned columns, parts;
};

// Epilogue: start(m, n, valid, values) fills the sums that a run of outputs begins with, finish(m, n, valid, values)
// takes them, both for the outputs (m, n) to (m, n + valid - 1).
//
// kOverRows, for a weight gradient, whose k are rows: a is summed over k as well, for sum_of_a(m), which may be null,
// and finish_sum; and the grid's z divides k into parts of part_k, which pass through put_part and add_part to the
// block that ends last.
template <class Shape, Contiguous kA, Contiguous kB, class Epilogue>
__device__ __forceinline__ void gemm_block(Operand a, Operand b, int m, int n, int k, const Epilogue& epilogue,
                                           const PlaceInProduct& at) {
    using RowShare = Share<Shape::kThreadM, Shape::kM>;
    using ColumnShare = Share<Shape::kThreadN, Shape::kN>;
    constexpr int kSliceA = Shape::kK * (Shape::kM + kGap);
    constexpr int kSliceB = Shape::kK * (Shape::kN + kGap);
    ISTHMUS_SHARED(float, shared_a, 2 * kSliceA);
    ISTHMUS_SHARED(float, shared_b, 2 * kSliceB);

    // A warp is 4 threads high and 8 wide: the least that its lanes read from shared memory together.
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / 32;
    const int lane = thread % 32;
    const int thread_m = warp / 2 * 4 + lane / 8;
    const int thread_n = warp % 2 * 8 + lane % 8;
    const int first_m = static_cast<int>(at.x) * Shape::kM;
    const int first_n = static_cast<int>(at.y) * Shape::kN;

    float sums[Shape::kThreadM][Shape::kThreadN];
    const auto for_each_run = [&](auto&& f) {
#pragma unroll
        for (int i = 0; i < Shape::kThreadM; ++i) {
            const int row = first_m + RowShare::first(thread_m, i / RowShare::kRun) + i % RowShare::kRun;
#pragma unroll
            for (int run = 0; run < ColumnShare::kRuns; ++run) {
                const int column = first_n + ColumnShare::first(thread_n, run);
                float values[ColumnShare::kRun];
#pragma unroll
                for (int j = 0; j < ColumnShare::kRun; ++j) values[j] = sums[i][run * ColumnShare::kRun + j];
                f(row, column, row < m ? n - column : 0, values);
#pragma unroll
                for (int j = 0; j < ColumnShare::kRun; ++j) sums[i][run * ColumnShare::kRun + j] = values[j];
            }
        }
    };
#pragma unroll
    for (int i = 0; i < Shape::kThreadM; ++i) {
#pragma unroll
        for (int j = 0; j < Shape::kThreadN; ++j) sums[i][j] = 0.0F;
    }
    const bool divided = Epilogue::kOverRows && at.parts > 1;
    if (!divided) {
        for_each_run([&](int row, int column, int valid, auto& values) { epilogue.start(row, column, valid, values); });
    }

    // The blocks of the first column add up a as well: it is in shared memory anyway.
    float* sum_to = nullptr;
    float sum_of_a = 0.0F;
    if constexpr (Epilogue::kOverRows) {
        if (at.y == 0 && thread < Shape::kM && first_m + thread < m) sum_to = epilogue.sum_of_a(first_m + thread);
        if (sum_to != nullptr && !divided) sum_of_a = epilogue.first_sum(sum_to);
        const int first_k = static_cast<int>(at.part) * epilogue.part_k;
        k = k - first_k < epilogue.part_k ? k - first_k : epilogue.part_k;
        a.data += first_k * (kA == Contiguous::k ? 1 : a.stride);
        b.data += first_k * (kB == Contiguous::k ? 1 : b.stride);
    }

    Slices<Shape, Shape::kM, kA> slices_a(a, first_m, m, k);
    Slices<Shape, Shape::kN, kB> slices_b(b, first_n, n, k);
    slices_a.load();
    slices_b.load();
    slices_a.store(shared_a);
    slices_b.store(shared_b);
    __syncthreads();
    int buffer = 0;
    for (int k_left = k; k_left > 0; k_left -= Shape::kK) {
        const bool more = k_left > Shape::kK;
        if (more) {
            slices_a.load();
            slices_b.load();
        }
        const float* slice_a = shared_a + buffer * kSliceA;
        const float* slice_b = shared_b + buffer * kSliceB;
#pragma unroll
        for (int step = 0; step < Shape::kK; ++step) {
            float values_a[Shape::kThreadM];
            float values_b[Shape::kThreadN];
            RowShare::read(slice_a + step * (Shape::kM + kGap), thread_m, values_a);
            ColumnShare::read(slice_b + step * (Shape::kN + kGap), thread_n, values_b);
#pragma unroll
            for (int i = 0; i < Shape::kThreadM; ++i) {
#pragma unroll
                for (int j = 0; j < Shape::kThreadN; ++j) sums[i][j] = math::fma(values_a[i], values_b[j], sums[i][j]);
            }
        }
        if constexpr (Epilogue::kOverRows) {
            if (sum_to != nullptr) {
#pragma unroll
                for (int step = 0; step < Shape::kK; ++step) sum_of_a += slice_a[step * (Shape::kM + kGap) + thread];
            }
        }
        buffer ^= 1;
        if (more) {
            slices_a.store(shared_a + buffer * kSliceA);
            slices_b.store(shared_b + buffer * kSliceB);
        }
        __syncthreads();
    }

    if constexpr (Epilogue::kOverRows) {
        if (divided) {
            ISTHMUS_SHARED(unsigned, last, 1);
            const auto part = static_cast<int>(at.part);
            for_each_run([&](int row, int column, int valid, auto& values) {
                epilogue.put_part(part, row, column, valid, values);
            });
            if (sum_to != nullptr) epilogue.put_bias_part(part, first_m + thread, sum_of_a);
            if (!is_last_block(epilogue.arrived + at.x + at.columns * at.y, at.parts, last)) return;
            const auto parts = static_cast<int>(at.parts);
            for_each_run([&](int row, int column, int valid, auto& values) {
                for (auto& value : values) value = 0.0F;
                epilogue.start(row, column, valid, values);
                for (int p = 0; p < parts; ++p) epilogue.add_part(p, row, column, valid, values);
            });
            if (sum_to != nullptr)
                sum_of_a = epilogue.sum_of_parts(parts, first_m + thread, epilogue.first_sum(sum_to));
        }
        if (sum_to != nullptr) epilogue.finish_sum(sum_to, sum_of_a);
    }
    for_each_run([&](int row, int column, int valid, auto& values) { epilogue.finish(row, column, valid, values); });
}

template <class Shape, Contiguous kA, Contiguous kB, class Epilogue>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kThreads == 256 ? 2 : 4)
    gemm(Operand a, Operand b, int m, int n, int k, Epilogue epilogue) {
    gemm_block<Shape, kA, kB>(a, b, m, n, k, epilogue, {blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.z});
}

// ---- launch -------------------------------------------------------------------------------------------------------

template <class F>
void with_tile(TileSize size, F&& f) {
    switch (size) {
        case TileSize::large: return f(LargeTile{});
        case TileSize::medium: return f(MediumTile{});
        case TileSize::small: return f(SmallTile{});
    }
}

// m runs along the grid's x, which has no limit that matters; `parts` of k along its z.
template <Contiguous kA, Contiguous kB, class Epilogue>
void launch_gemm(TileSize size, const Operand& a, const Operand& b, std::int64_t m, std::int64_t n, std::int64_t k,
                 const Epilogue& epilogue, cudaStream_t stream, std::int64_t parts = 1) {
    with_tile(size, [&](auto shape) {
        using Shape = decltype(shape);
        const dim3 grid(static_cast<unsigned>((m + Shape::kM - 1) / Shape::kM),
                        static_cast<unsigned>((n + Shape::kN - 1) / Shape::kN), static_cast<unsigned>(parts));
        launch(gemm<Shape, kA, kB, Epilogue>, grid, dim3(Shape::kThreads), 0, stream, a, b, m, n, k, epilogue);
    });
}

}  // namespace isthmus::cuda
