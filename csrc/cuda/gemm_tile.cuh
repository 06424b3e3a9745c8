// SPDX-License-Identifier: Apache-2.0
// What a block of gemm.cuh is made of: the shapes of its tile, the way of an operand from global to shared memory, and
// from there to a thread's registers.
#pragma once

#include <cstdint>

#include "cuda/launch.hpp"
#include "cuda/plan.hpp"
#include "math/host_device.hpp"

namespace isthmus::cuda {

// A matrix as its owner stores it, row by row. aligned: every row begins at a multiple of 16 bytes.
struct Operand {
    ISTHMUS_HD Operand(const float* matrix, std::int64_t row_stride)
        : data(matrix),
          stride(row_stride),
          aligned(reinterpret_cast<std::uintptr_t>(matrix) % 16 == 0 && row_stride % 4 == 0) {}

    const float* data;
    std::int64_t stride;
    bool aligned;
};

// A tile of kM x kN outputs, kK of k at a time; a thread has kThreadM x kThreadN of them. 16 threads side by side cover
// kN, and every thread brings four floats of each operand a slice. kAhead slices are on their way to its registers.
//
// A slice takes a multiprocessor with one block of a small tile some 180 cycles, of a medium one 500, with two of a
// large one 2,000; to bring one takes 300 to 600 (on paper). Small tiles are of products that have no more blocks.
template <int kM_, int kN_, int kK_, int kThreadM_, int kThreadN_, int kAhead_>
struct Tile {
    static constexpr int kM = kM_, kN = kN_, kK = kK_, kThreadM = kThreadM_, kThreadN = kThreadN_, kAhead = kAhead_;
    static constexpr int kThreads = (kM / kThreadM) * (kN / kThreadN);
    static_assert(kN / kThreadN == 16 && kM * kK == 4 * kThreads && kN * kK == 4 * kThreads);
};
using LargeTile = Tile<128, 128, 8, 8, 8, 1>;
using MediumTile = Tile<64, 64, 16, 4, 4, 2>;
using SmallTile = Tile<32, 32, 16, 4, 2, 3>;

template <class Large, class Medium, class Small, class F>
void with_tile(TileSize size, F&& f) {
    switch (size) {
        case TileSize::large: return f(Large{});
        case TileSize::medium: return f(Medium{});
        case TileSize::small: return f(Small{});
    }
}

// A block for each tile: m runs along the grid's x, which has no limit that matters; `parts` of k along its z.
template <class Shape>
dim3 tile_grid(std::int64_t m, std::int64_t n, std::int64_t parts) {
    return {static_cast<unsigned>((m + Shape::kM - 1) / Shape::kM),
            static_cast<unsigned>((n + Shape::kN - 1) / Shape::kN), static_cast<unsigned>(parts)};
}

// Which of the two indices of an operand is contiguous.
enum class Contiguous { k, other };

// Rows of shared memory are four floats longer than the tile: the columns that a transposed store walks down then lie
// in different banks, and float4 stay aligned.
inline constexpr int kGap = 4;

// Four floats from global memory, 0 beyond the first `valid`.
__device__ __forceinline__ void load_four(const float* from, int valid, bool aligned, float (&values)[4]) {
    if (aligned && valid >= 4) {
        const float4 four = *reinterpret_cast<const float4*>(from);
        values[0] = four.x;
        values[1] = four.y;
        values[2] = four.z;
        values[3] = four.w;
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] = i < valid ? from[i] : 0.0F;
}

// One thread's way through an operand: its four floats of each slice of the tile that begins at `first`.
template <class Shape, int kWidth, Contiguous kContiguous>
class Slices {
public:
    __device__ __forceinline__ Slices(const Operand& operand, int first, int limit, int k)
        : aligned_(operand.aligned), k_left_(k) {
        const int thread = static_cast<int>(threadIdx.x);
        if constexpr (kContiguous == Contiguous::k) {
            at_ = thread / (Shape::kK / 4);
            k_ = thread % (Shape::kK / 4) * 4;
            valid_ = first + at_ < limit ? 4 : 0;
            from_ = operand.data + (first + at_) * operand.stride + k_;
            step_ = Shape::kK;
        } else {
            k_ = thread / (kWidth / 4);
            at_ = thread % (kWidth / 4) * 4;
            valid_ = limit - (first + at_);
            from_ = operand.data + k_ * operand.stride + (first + at_);
            step_ = Shape::kK * operand.stride;
        }
    }

    // The next slice, to the registers of that number below kAhead.
    __device__ __forceinline__ void load(int place) {
        const int left = k_left_ - k_;
        if constexpr (kContiguous == Contiguous::k) {
            load_four(from_, valid_ > 0 ? left : 0, aligned_, values_[place]);
        } else {
            load_four(from_, left > 0 ? valid_ : 0, aligned_, values_[place]);
        }
        from_ += step_;
        k_left_ -= Shape::kK;
    }

    // And from there to shared memory.
    __device__ __forceinline__ void store(int place, float* slice) const {
        const float (&values)[4] = values_[place];
        float* to = slice + k_ * (kWidth + kGap) + at_;
        if constexpr (kContiguous == Contiguous::k) {
#pragma unroll
            for (int i = 0; i < 4; ++i) to[i * (kWidth + kGap)] = values[i];
        } else {
            *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1], values[2], values[3]);
        }
    }

private:
    const float* from_;
    std::int64_t step_;
    int at_, k_;
    int valid_;  // how many of the four, or whether any, lie within the matrix
    bool aligned_;
    int k_left_;
    float values_[Shape::kAhead][4];
};

// The outputs of a thread along one side of the tile: kCount of them in runs of four, or two, that are spread over the
// tile, so that the threads beside each other read one stretch of shared memory.
template <int kCount, int kWidth>
struct Share {
    static constexpr int kRun = kCount < 4 ? kCount : 4;
    static constexpr int kRuns = kCount / kRun;

    static __device__ __forceinline__ int first(int thread, int run) { return run * (kWidth / kRuns) + thread * kRun; }

    static __device__ __forceinline__ void read(const float* row, int thread, float (&values)[kCount]) {
#pragma unroll
        for (int run = 0; run < kRuns; ++run) {
            const float* from = row + first(thread, run);
            if constexpr (kRun == 4) {
                const float4 four = *reinterpret_cast<const float4*>(from);
                values[run * 4] = four.x;
                values[run * 4 + 1] = four.y;
                values[run * 4 + 2] = four.z;
                values[run * 4 + 3] = four.w;
            } else {
                const float2 two = *reinterpret_cast<const float2*>(from);
                values[run * 2] = two.x;
                values[run * 2 + 1] = two.y;
            }
        }
    }
};

}  // namespace isthmus::cuda
