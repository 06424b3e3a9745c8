// SPDX-License-Identifier: Apache-2.0
// The one product of tensor cores by the warp, mma.sync, for sm_80 and later: c (m, n) = sum over k of a(m, k) b(n, k),
// in tf32 or in bfloat16 planes, with float32 sums. Each output is one tree over ascending k that no tile changes.
//
// Four slices of k are in shared memory or under way by cp.async; one barrier a slice keeps them apart. Behind the last
// one the sums pass through the same memory to whole runs of outputs: stores are then as wide as they can be, and the
// loop over a thread's runs is short enough to exist once for each activation, so that a kernel serves all of them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/launch.hpp"
#include "cuda/mma_tile.cuh"
#include "cuda/row_sums.cuh"

namespace isthmus::cuda {

// Tensor cores cut what they add (to 24 bits and a few, towards zero), which in a long sum adds up. Where float32's
// accuracy is wanted, sums are therefore taken out and added up in float32 after so many of k.
inline constexpr int kDrainedK = 128;

template <class Shape, class Format, Contiguous kA, Contiguous kB>
struct MmaMemory {
    using SliceA = Slice<typename Format::Element, Shape::kM, kA>;
    using SliceB = Slice<typename Format::Element, Shape::kN, kB>;
    static constexpr int kStage = SliceA::kBytes + SliceB::kBytes;
    static constexpr int kPitch =
        Shape::kN + 8;  // floats between rows of sums: pairs of a half warp in different banks
    static constexpr int kBytes =
        std::max(Shape::kStages * kStage, Shape::kM * kPitch * static_cast<int>(sizeof(float)));
};

// The sums of a warp, 16 x 8 at a time as mma lays them out.
template <class Shape>
struct WarpSums {
    static constexpr int kBlocksM = Shape::kWarpM / 16;
    static constexpr int kBlocksN = Shape::kWarpN / 8;

    __device__ __forceinline__ void clear() {
        for_each_block([&](int i, int j) {
#pragma unroll
            for (float& value : values[i][j]) value = 0.0F;
        });
    }
    __device__ __forceinline__ void add(const WarpSums& other) {
        for_each_block([&](int i, int j) {
#pragma unroll
            for (int c = 0; c < 4; ++c) values[i][j][c] += other.values[i][j][c];
        });
    }
    // To a row-major matrix in shared memory, the warp's first output at (m, n).
    __device__ __forceinline__ void store(float* matrix, int pitch, int m, int n) {
        const auto lane = static_cast<int>(threadIdx.x) % 32;
        float* const to = matrix + (m + lane / 4) * pitch + n + lane % 4 * 2;
        for_each_block([&](int i, int j) {
            const float (&block)[4] = values[i][j];
            float* const at = to + i * 16 * pitch + j * 8;
            *reinterpret_cast<float2*>(at) = make_float2(block[0], block[1]);
            *reinterpret_cast<float2*>(at + 8 * pitch) = make_float2(block[2], block[3]);
        });
    }
    template <class F>
    __device__ __forceinline__ void for_each_block(F&& f) {
#pragma unroll
        for (int i = 0; i < kBlocksM; ++i) {
#pragma unroll
            for (int j = 0; j < kBlocksN; ++j) f(i, j);
        }
    }

    float values[kBlocksM][kBlocksN][4];
};

// sums += a slice.
template <class Format, class Shape, class ReaderA, class ReaderB>
__device__ __forceinline__ void multiply_slice(const unsigned char* slice_a, const unsigned char* slice_b,
                                               const ReaderA& reader_a, const ReaderB& reader_b,
                                               WarpSums<Shape>& sums) {
    using Sums = WarpSums<Shape>;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
        unsigned b[Sums::kBlocksN / 2][4];
#pragma unroll
        for (int j = 0; j < Sums::kBlocksN / 2; ++j) reader_b.read(slice_b, j, step, b[j]);
#pragma unroll
        for (int i = 0; i < Sums::kBlocksM; ++i) {
            unsigned a[4];
            reader_a.read(slice_a, i, step, a);
#pragma unroll
            for (int j = 0; j < Sums::kBlocksN; ++j) {
                Format::multiply_add(a, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1], sums.values[i][j]);
            }
        }
    }
}

// Epilogue: as of gemm.cuh, of runs of four; typed_on_device(f) calls f with it. What start fills is added to the sums.
template <class Shape, class Format, Contiguous kA, Contiguous kB, class Epilogue>
__global__ void __launch_bounds__(Shape::kThreads, (Format::kPairs == 1 ? Shape::kResident : 256) / Shape::kThreads)
    mma_product(typename Format::Source a, typename Format::Source b, int m, int n, int k, Epilogue epilogue) {
    using Element = typename Format::Element;
    using Memory = MmaMemory<Shape, Format, kA, kB>;
    using SliceA = typename Memory::SliceA;
    using SliceB = typename Memory::SliceB;
    ISTHMUS_DYNAMIC_SHARED(unsigned char, shared);

    const auto thread = static_cast<int>(threadIdx.x);
    const int first_m = static_cast<int>(blockIdx.x) * Shape::kM;
    const int first_n = static_cast<int>(blockIdx.y) * Shape::kN;
    const int warp_m = thread / 32 / Shape::kWarpsN * Shape::kWarpM;
    const int warp_n = thread / 32 % Shape::kWarpsN * Shape::kWarpN;
    const PlaceInProduct at = place_in_grid();
    const bool divided = is_divided<Epilogue>(at);
    SumOfRows<Epilogue> sum_of_a(epilogue, at, thread < Shape::kM && first_m + thread < m, first_m + thread);
    int first_k = 0;
    if constexpr (Epilogue::kOverRows) first_k = take_part(epilogue, at, k);

    // A slice is of one pair of planes: all of k for a pair, then all for the next.
    const int slices_a_pair = (k + SliceA::kDepth - 1) / SliceA::kDepth;
    const int slices = Format::kPairs * slices_a_pair;
    SliceCopy<SliceA, Element, Shape::kThreads> copy_a(a.stride, Format::aligned(a), first_m, m);
    SliceCopy<SliceB, Element, Shape::kThreads> copy_b(b.stride, Format::aligned(b), first_n, n);
    int pair_to_copy = 0;
    int left_to_copy = 0;  // slices of the pair
    const auto copy = [&](int slice) {
        if (slice < slices) {
            if (left_to_copy == 0) {
                copy_a.start(Format::plane(a, Format::plane_of_a(pair_to_copy)), first_k, k);
                copy_b.start(Format::plane(b, Format::plane_of_b(pair_to_copy)), first_k, k);
                ++pair_to_copy;
                left_to_copy = slices_a_pair;
            }
            --left_to_copy;
            unsigned char* const stage = shared + slice % Shape::kStages * Memory::kStage;
            copy_a.copy(stage);
            copy_b.copy(stage + SliceA::kBytes);
        }
        copy_async_commit();
    };

    const FragmentReader<SliceA, Format, true> reader_a(warp_m);
    const FragmentReader<SliceB, Format, false> reader_b(warp_n);
    WarpSums<Shape> sums;
    [[maybe_unused]] WarpSums<Shape> drained;
    sums.clear();
    if constexpr (Format::kPairs > 1) drained.clear();

    for (int slice = 0; slice < Shape::kStages - 1; ++slice) copy(slice);
    for (int slice = 0; slice < slices; ++slice) {
        copy_async_wait<Shape::kStages - 2>();
        __syncthreads();  // this slice is there, and nobody reads the one before, where the next goes
        copy(slice + Shape::kStages - 1);
        const unsigned char* const slice_a = shared + slice % Shape::kStages * Memory::kStage;
        multiply_slice<Format>(slice_a, slice_a + SliceA::kBytes, reader_a, reader_b, sums);
        if constexpr (Epilogue::kOverRows) {
            // Each plane of a once: where it meets the first of b.
            if (sum_of_a.to != nullptr && Format::plane_of_b(slice / slices_a_pair) == 0) {
#pragma unroll 4
                for (int i = 0; i < SliceA::kDepth; ++i) {
                    sum_of_a.sum += Format::value(SliceA::element(slice_a, i, thread));
                }
            }
        }
        if constexpr (Format::kPairs > 1) {
            if ((slice + 1) % (kDrainedK / SliceA::kDepth) == 0) {
                drained.add(sums);
                sums.clear();
            }
        }
    }
    if constexpr (Format::kPairs > 1) sums.add(drained);
    copy_async_wait<0>();
    __syncthreads();

    float* const outputs = reinterpret_cast<float*>(shared);
    sums.store(outputs, Memory::kPitch, warp_m, warp_n);
    __syncthreads();

    const auto for_each_run = [&](auto&& f) {
        constexpr int kRunsARow = Shape::kN / 4;
#pragma unroll 1
        for (int run = thread; run < Shape::kM * kRunsARow; run += Shape::kThreads) {
            const int row = run / kRunsARow;
            const int column = run % kRunsARow * 4;
            const int valid = first_m + row < m ? n - (first_n + column) : 0;
            if (valid <= 0) continue;
            auto* const four = reinterpret_cast<float4*>(outputs + row * Memory::kPitch + column);
            float values[4] = {four->x, four->y, four->z, four->w};
            f(first_m + row, first_n + column, valid, values);
            *four = make_float4(values[0], values[1], values[2], values[3]);
        }
    };
    if constexpr (Epilogue::kOverRows) {
        if (divided && !add_parts(epilogue, at, for_each_run, sum_of_a)) return;
        if (sum_of_a.to != nullptr) epilogue.finish_sum(sum_of_a.to, sum_of_a.sum);
    }
    epilogue.typed_on_device([&](const auto& typed) {
        for_each_run([&](int row, int column, int valid, auto& values) {
            if constexpr (Epilogue::kOverRows) {
                float first[4] = {0.0F, 0.0F, 0.0F, 0.0F};
                if (!divided) typed.start(row, column, valid, first);
#pragma unroll
                for (int j = 0; j < 4; ++j) values[j] += first[j];
            }
            typed.finish(row, column, valid, values);
        });
    });
}

// ---- launch ---------------------------------------------------------------------------------------------------------

template <class Format, Contiguous kA, Contiguous kB, class Epilogue>
void launch_mma_product(TileSize size, const typename Format::Source& a, const typename Format::Source& b,
                        std::int64_t m, std::int64_t n, std::int64_t k, const Epilogue& epilogue, cudaStream_t stream,
                        std::int64_t parts) {
    with_tile<LargeMmaTile<Format>, MediumMmaTile, SmallMmaTile>(size, [&](auto shape) {
        using Shape = decltype(shape);
        launch(mma_product<Shape, Format, kA, kB, Epilogue>, tile_grid<Shape>(m, n, parts), dim3(Shape::kThreads),
               MmaMemory<Shape, Format, kA, kB>::kBytes, stream, a, b, m, n, k, epilogue);
    });
}

}  // namespace isthmus::cuda
