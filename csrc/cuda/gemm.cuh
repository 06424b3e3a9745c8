// SPDX-License-Identifier: Apache-2.0
// The one product of the SIMT kernels: c (m, n) = sum over k of a(m, k) b(n, k), float32, each output one chain of
// fused multiply-adds over ascending k. Forward, input gradient and weight gradient differ only in which index of an
// operand is contiguous and in the epilogue that takes the sums. A small weight gradient is several chains, one for
// each part of the rows: see row_parts.
//
// A block computes a tile; both operands pass through shared memory, k-slice by k-slice, stored with k as the row, in
// two buffers: while one is multiplied the next slices are already on their way to registers, and one barrier a slice
// keeps them apart.
#pragma once

#include <cstdint>

#include "cuda/gemm_tile.cuh"
#include "cuda/launch.hpp"
#include "cuda/plan.hpp"
#include "cuda/row_sums.cuh"
#include "math/scalar.hpp"

namespace isthmus::cuda {

// Epilogue: start(m, n, valid, values) fills the sums that a run of outputs begins with, finish(m, n, valid, values)
// takes them, both for the outputs (m, n) to (m, n + valid - 1).
//
// kOverRows, for a weight gradient, whose k are rows: a is summed over k as well, for sum_of_a(m), which may be null,
// and finish_sum; and k may be divided into parts of part_k: see row_sums.cuh.
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
    const bool divided = is_divided<Epilogue>(at);
    if (!divided) {
        for_each_run([&](int row, int column, int valid, auto& values) { epilogue.start(row, column, valid, values); });
    }

    SumOfRows<Epilogue> sum_of_a(epilogue, at, thread < Shape::kM && first_m + thread < m, first_m + thread);
    if constexpr (Epilogue::kOverRows) {
        const int first_k = take_part(epilogue, at, k);
        a.data += first_k * (kA == Contiguous::k ? 1 : a.stride);
        b.data += first_k * (kB == Contiguous::k ? 1 : b.stride);
    }

    Slices<Shape, Shape::kM, kA> slices_a(a, first_m, m, k);
    Slices<Shape, Shape::kN, kB> slices_b(b, first_n, n, k);
    const auto load = [&](int place) {
        slices_a.load(place);
        slices_b.load(place);
    };
    const auto store = [&](int place, int buffer) {
        slices_a.store(place, shared_a + buffer * kSliceA);
        slices_b.store(place, shared_b + buffer * kSliceB);
    };
    const auto multiply = [&](const float* slice_a, const float* slice_b) {
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
            if (sum_of_a.to != nullptr) {
#pragma unroll
                for (int step = 0; step < Shape::kK; ++step) {
                    sum_of_a.sum += slice_a[step * (Shape::kM + kGap) + thread];
                }
            }
        }
    };

    constexpr int kAhead = Shape::kAhead;
#pragma unroll
    for (int place = 0; place < kAhead; ++place) load(place);
    store(0, 0);
    __syncthreads();
    int buffer = 0;
    for (int k_left = k; k_left > 0;) {
#pragma unroll
        for (int place = 0; place < kAhead; ++place) {  // where the slice has been that is multiplied now
            if (k_left > kAhead * Shape::kK) load(place);
            multiply(shared_a + buffer * kSliceA, shared_b + buffer * kSliceB);
            k_left -= Shape::kK;
            buffer ^= 1;
            if (k_left > 0) store((place + 1) % kAhead, buffer);
            __syncthreads();
            if (k_left <= 0) break;
        }
    }

    if constexpr (Epilogue::kOverRows) {
        if (divided && !add_parts(epilogue, at, for_each_run, sum_of_a)) return;
        if (sum_of_a.to != nullptr) epilogue.finish_sum(sum_of_a.to, sum_of_a.sum);
    }
    for_each_run([&](int row, int column, int valid, auto& values) { epilogue.finish(row, column, valid, values); });
}

template <class Shape, Contiguous kA, Contiguous kB, class Epilogue>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kThreads == 256 ? 2 : 4)
    gemm(Operand a, Operand b, int m, int n, int k, Epilogue epilogue) {
    gemm_block<Shape, kA, kB>(a, b, m, n, k, epilogue, place_in_grid());
}

// ---- launch -------------------------------------------------------------------------------------------------------

template <Contiguous kA, Contiguous kB, class Epilogue>
void launch_gemm(TileSize size, const Operand& a, const Operand& b, std::int64_t m, std::int64_t n, std::int64_t k,
                 const Epilogue& epilogue, cudaStream_t stream, std::int64_t parts = 1) {
    with_tile<LargeTile, MediumTile, SmallTile>(size, [&](auto shape) {
        using Shape = decltype(shape);
        launch(gemm<Shape, kA, kB, Epilogue>, tile_grid<Shape>(m, n, parts), dim3(Shape::kThreads), 0, stream, a, b, m,
               n, k, epilogue);
    });
}

}  // namespace isthmus::cuda
