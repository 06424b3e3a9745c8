// SPDX-License-Identifier: Apache-2.0
// What a block of mma_product.cuh is made of: number formats, tiles, the way of an operand from global to shared
// memory, and from there to the fragments of a warp.
//
// A slice of k is 64 bytes of an operand: two steps of 32 bytes, which is one mma of either format. Rows of shared
// memory are 16 bytes longer than what they hold, an odd number of 16 bytes: the eight rows that ldmatrix reads at a
// time then lie in different banks.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/gemm_tile.cuh"
#include "cuda/planes.hpp"
#include "cuda/ptx/mma.hpp"

namespace isthmus::cuda {

// ---- formats --------------------------------------------------------------------------------------------------------

// Operands are floats, rounded as they come into a fragment.
struct Tf32 {
    using Element = float;
    using Source = Operand;
    static constexpr int kPairs = 1;

    static __device__ __forceinline__ int plane_of_a(int) { return 0; }
    static __device__ __forceinline__ int plane_of_b(int) { return 0; }
    static __device__ __forceinline__ const float* plane(const Operand& operand, int) { return operand.data; }
    static __device__ __forceinline__ bool aligned(const Operand& operand) { return operand.aligned; }
    static __device__ __forceinline__ unsigned rounded(unsigned word) { return cvt_rna_tf32(word); }
    static __device__ __forceinline__ float value(float element) { return element; }
    static __device__ __forceinline__ void multiply_add(const unsigned (&a)[4], unsigned b0, unsigned b1,
                                                        float (&c)[4]) {
        mma_m16n8k8_tf32(a, b0, b1, c);
    }
};

// Operands are planes of bfloat16: one, or three of which six pairs are multiplied, those of the smallest products
// first.
template <int kPlanes>
struct Bfloat16Planes {
    using Element = Bfloat16;
    using Source = Planes;
    static constexpr int kPairs = kPlanes == 1 ? 1 : 6;

    // (2, 0) (1, 1) (0, 2) (1, 0) (0, 1) (0, 0), a digit each from the right.
    static __device__ __forceinline__ int plane_of_a(int pair) { return kPairs == 1 ? 0 : 0x001012 >> 4 * pair & 3; }
    static __device__ __forceinline__ int plane_of_b(int pair) { return kPairs == 1 ? 0 : 0x010210 >> 4 * pair & 3; }

    static __device__ __forceinline__ const Bfloat16* plane(const Planes& planes, int p) {
        return planes.data + p * planes.plane;
    }
    static __device__ __forceinline__ bool aligned(const Planes&) { return true; }
    static __device__ __forceinline__ unsigned rounded(unsigned word) { return word; }
    static __device__ __forceinline__ float value(Bfloat16 element) {
        return __uint_as_float(static_cast<unsigned>(element) << 16);
    }
    static __device__ __forceinline__ void multiply_add(const unsigned (&a)[4], unsigned b0, unsigned b1,
                                                        float (&c)[4]) {
        mma_m16n8k16_bf16(a, b0, b1, c);
    }
};

// ---- tiles ----------------------------------------------------------------------------------------------------------

// kSide x kSide outputs, kWarpM x kWarpN for each warp.
template <int kSide, int kWarpM_, int kWarpN_>
struct MmaTile {
    static constexpr int kM = kSide, kN = kSide, kWarpM = kWarpM_, kWarpN = kWarpN_;
    static constexpr int kWarpsN = kN / kWarpN;
    static constexpr int kThreads = kM / kWarpM * kWarpsN * 32;
    static constexpr int kStages = 4;  // slices under way and read
    // Threads that a multiprocessor should have room for: as their sums leave registers, which drained ones take twice.
    static constexpr int kResident = kWarpN == 64 ? 256 : 512;
    static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0 && kThreads >= kM);
};
// A warp of the large tile rounds and reads the least for each product when it has 64 x 64 outputs, which fill half of
// its registers; with sums that are drained they would fill all.
template <class Format>
using LargeMmaTile = MmaTile<128, 64, Format::kPairs == 1 ? 64 : 32>;
using MediumMmaTile = MmaTile<64, 32, 32>;
using SmallMmaTile = MmaTile<32, 16, 16>;

// A slice of an operand in shared memory: kWidth of m or n, kDepth of k.
template <class Element, int kWidth, Contiguous kContiguous>
struct Slice {
    static constexpr int kSize = static_cast<int>(sizeof(Element));
    static constexpr int kDepth = 64 / kSize;
    static constexpr int kStep = kDepth / 2;  // k of an mma
    static constexpr bool kAlongK = kContiguous == Contiguous::k;
    static constexpr int kRows = kAlongK ? kWidth : kDepth;
    static constexpr int kColumns = kAlongK ? kDepth : kWidth;
    // ldmatrix transposes 16-bit elements alone. Floats with k as the row are read one by one, four rows of eight at a
    // time, which lie in different banks when rows are 8 floats apart, modulo 32.
    static constexpr bool kOneByOne = kSize == 4 && !kAlongK;
    static constexpr int kPitch = kColumns * kSize + (kOneByOne ? 32 : 16);
    static constexpr int kBytes = kRows * kPitch;

    // Element k of m or n `at`.
    static __device__ __forceinline__ Element element(const unsigned char* slice, int k, int at) {
        return *reinterpret_cast<const Element*>(slice + (kAlongK ? at * kPitch + k * kSize : k * kPitch + at * kSize));
    }
};

// ---- from global to shared memory -----------------------------------------------------------------------------------

// One thread's part of the slices of an operand, by cp.async. What lies outside of the matrix becomes 0.
template <class Slice, class Element, int kThreads>
class SliceCopy {
public:
    // Tiles begin at `first` of m or n, of which the matrix has `limit`.
    __device__ __forceinline__ SliceCopy(std::int64_t stride, bool aligned, int first, int limit)
        : stride_(stride), aligned_(aligned) {
        const auto thread = static_cast<int>(threadIdx.x);
        row_ = thread / kChunksARow;
        column_ = thread % kChunksARow * kChunk;
        limit_ = limit - first;
        first_ = first;
    }

    // From now on the k of this matrix, `k` of them from first_k on.
    __device__ __forceinline__ void start(const Element* data, int first_k, int k) {
        k_left_ = k;
        from_ = Slice::kAlongK ? data + (first_ + row_) * stride_ + (first_k + column_)
                               : data + (first_k + row_) * stride_ + (first_ + column_);
    }

    // Issues the next slice.
    __device__ __forceinline__ void copy(unsigned char* slice) {
#pragma unroll
        for (int i = 0; i < kMine; ++i) {
            const int row = row_ + i * kRowsApart;
            const int rows = Slice::kAlongK ? limit_ : k_left_;
            const int columns = (Slice::kAlongK ? k_left_ : limit_) - column_;
            const int valid = row >= rows || columns < 0 ? 0 : columns < kChunk ? columns : kChunk;
            const Element* const from = from_ + i * kRowsApart * stride_;
            unsigned char* const to = slice + row * Slice::kPitch + column_ * Slice::kSize;
            if (std::is_same_v<Element, float> && !aligned_) {
#pragma unroll
                for (int j = 0; j < kChunk; ++j) copy_async_4(to + j * Slice::kSize, from + j, j < valid ? 4 : 0);
            } else {
                copy_async_16(to, from, valid * Slice::kSize);
            }
        }
        from_ += Slice::kAlongK ? Slice::kDepth : Slice::kDepth * stride_;
        k_left_ -= Slice::kDepth;
    }

private:
    static constexpr int kChunk = 16 / Slice::kSize;  // elements that are copied at a time
    static constexpr int kChunksARow = Slice::kColumns / kChunk;
    static constexpr int kRowsApart = kThreads / kChunksARow;
    static constexpr int kMine = Slice::kRows / kRowsApart;
    static_assert(kThreads % kChunksARow == 0 && Slice::kRows % kRowsApart == 0);

    const Element* from_ = nullptr;
    std::int64_t stride_;
    int row_, column_;  // in the slice
    int first_, limit_;
    int k_left_ = 0;
    bool aligned_;
};

// ---- from shared memory to fragments --------------------------------------------------------------------------------

// A warp's reads of a slice from m or n `first` on, 16 of them and one step of k at a time. Of a that is a fragment; of
// b it is two, those of words 0 and 1 and of 2 and 3, for columns 0 to 7 and 8 to 15.
template <class Slice, class Format, bool kIsA>
class FragmentReader {
public:
    __device__ __forceinline__ explicit FragmentReader(int first) {
        const auto lane = static_cast<int>(threadIdx.x) % 32;
        if constexpr (Slice::kOneByOne) {
            at_ = lane % 4 * Slice::kPitch + (first + lane / 4) * Slice::kSize;
        } else {
            // Matrices 0 and 1 of ldmatrix are one above the other in shared memory, or side by side.
            constexpr bool kAbove = kIsA == Slice::kAlongK;
            const int row = kAbove ? lane % 16 : lane % 8 + lane / 16 * 8;
            const int column = kAbove ? lane / 16 : lane / 8 % 2;
            at_ = row * Slice::kPitch + column * 16 + (Slice::kAlongK ? first * Slice::kPitch : first * Slice::kSize);
        }
    }

    __device__ __forceinline__ void read(const unsigned char* slice, int block, int step, unsigned (&words)[4]) const {
        const unsigned char* const from =
            slice + at_ +
            (Slice::kAlongK ? block * 16 * Slice::kPitch + step * 32
                            : step * Slice::kStep * Slice::kPitch + block * 16 * Slice::kSize);
        if constexpr (Slice::kOneByOne) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int k = (kIsA ? i / 2 : i % 2) * 4;
                const int other = (kIsA ? i % 2 : i / 2) * 8;
                words[i] = *reinterpret_cast<const unsigned*>(from + k * Slice::kPitch + other * Slice::kSize);
            }
        } else if constexpr (Slice::kAlongK) {
            ldmatrix_x4(from, words);
        } else {
            ldmatrix_x4_trans(from, words);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) words[i] = Format::rounded(words[i]);
    }

private:
    int at_;
};

}  // namespace isthmus::cuda
