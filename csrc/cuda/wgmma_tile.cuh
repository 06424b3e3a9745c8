// SPDX-License-Identifier: Apache-2.0
// What a block of wgmma_gemm.cuh is made of: its shared memory, the way of the operands into it by the tensor memory
// accelerator, and the matrices that wgmma finds there.
//
// A slot holds a slice of one plane of both operands. Slots are filled in a ring by one thread, and each has two
// mbarriers: `full`, when all bytes have come, and `empty`, when all consumer warps have done with it.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "cuda/gemm_tile.cuh"
#include "cuda/launch.hpp"
#include "cuda/ptx/wgmma.hpp"
#include "cuda/wgmma_plan.hpp"

namespace isthmus::cuda {

// An operand of up to three planes, each a matrix of its own to the accelerator.
struct PlaneMaps {
    CUtensorMap plane[3];
};

// Warpgroup 0 brings the operands, the others multiply 64 rows of the tile each.
inline constexpr int kWgmmaProducerThreads = 128;
inline constexpr int kWgmmaConsumerThreads = 2 * 128;
inline constexpr int kWgmmaThreads = kWgmmaProducerThreads + kWgmmaConsumerThreads;
// Of the 168 registers that 384 threads begin with: 24 would do for the producer; 232 are what is left, in steps of 8.
inline constexpr int kProducerRegisters = 40;
inline constexpr int kConsumerRegisters = 232;

// Rows of shared memory of 128 bytes: 64 elements. 64 of them are a panel, what an MN-major operand comes in.
inline constexpr int kRowBytes = 128;
inline constexpr int kPanelBytes = 64 * kRowBytes;
inline constexpr int kAtomBytes = 8 * kRowBytes;  // what the swizzle repeats after

template <int kColumns>
struct WgmmaTile {
    static constexpr int kBytesA = kWgmmaRows * kRowBytes;
    static constexpr int kSlotBytes = kBytesA + kColumns * kRowBytes;
    static constexpr int kSlots = 192 * 1024 / kSlotBytes;  // 4, 6, 8

    // A warp's outputs on their way (wgmma_outputs.cuh): rows 8 floats longer than a chunk lie in different banks.
    static constexpr int kChunk = 32;
    static constexpr int kChunkStride = kChunk + 8;
    static constexpr int kStagingFloats = 16 * kChunkStride;

    static constexpr int kOnes = kSlots * kSlotBytes;  // offsets in bytes
    static constexpr int kStaging = kOnes + kAtomBytes;
    static constexpr int kBarriers = kStaging + kWgmmaConsumerThreads / 32 * kStagingFloats * 4;
    static constexpr int kLast = kBarriers + 2 * kSlots * 8;
    // The begin is aligned to 1024 by hand.
    static constexpr int kBytes = kLast + 16 + 1024;
    static_assert(kBytes <= 227 * 1024, "what a block of compute capability 9.0 may have");

    __device__ __forceinline__ explicit WgmmaTile(unsigned char* shared)
        : begin_(shared + (kAtomBytes - shared_window(shared) % kAtomBytes) % kAtomBytes) {}

    __device__ __forceinline__ unsigned char* a(int slot) const { return begin_ + slot * kSlotBytes; }
    __device__ __forceinline__ unsigned char* b(int slot) const { return begin_ + slot * kSlotBytes + kBytesA; }
    __device__ __forceinline__ unsigned char* ones() const { return begin_ + kOnes; }
    __device__ __forceinline__ float* staging(int warp) const {
        return reinterpret_cast<float*>(begin_ + kStaging) + warp * kStagingFloats;
    }
    __device__ __forceinline__ std::uint64_t* full(int slot) const {
        return reinterpret_cast<std::uint64_t*>(begin_ + kBarriers) + slot;
    }
    __device__ __forceinline__ std::uint64_t* empty(int slot) const { return full(slot) + kSlots; }
    __device__ __forceinline__ unsigned* last() const { return reinterpret_cast<unsigned*>(begin_ + kLast); }

private:
    unsigned char* begin_;
};

// A place in the ring, and the parity of its round.
template <int kSlots>
struct RingPlace {
    int slot = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void advance() {
        if (++slot == kSlots) {
            slot = 0;
            parity ^= 1U;
        }
    }
};

// Planes of a slice in the order in which they come: what the smallest products need first.
template <int kPlanes>
__device__ __forceinline__ int plane_at(int position) {
    return kPlanes == 1 ? 0 : (position + 2) % 3;
}

// A slice of one operand, kOthers of m or n from `first` on: whole, or panel by panel.
template <Contiguous kContiguous, int kOthers>
__device__ __forceinline__ void copy_slice(unsigned char* to, const CUtensorMap* map, int first, int k,
                                           std::uint64_t* full) {
    if constexpr (kContiguous == Contiguous::k) {
        copy_box(to, map, k, first, full);
    } else {
#pragma unroll
        for (int panel = 0; panel < kOthers / 64; ++panel) {
            copy_box(to + panel * kPanelBytes, map, first + 64 * panel, k, full);
        }
    }
}

// What one thread does: all slices of all pieces of the block, as slots become empty.
template <int kColumns, int kPlanes, Contiguous kA, Contiguous kB>
__device__ __forceinline__ void produce(const WgmmaTile<kColumns>& tile, const PlaneMaps& a, const PlaneMaps& b,
                                        const WgmmaPieces& pieces) {
    using Shape = WgmmaTile<kColumns>;
    RingPlace<Shape::kSlots> at;
    for (int index = static_cast<int>(blockIdx.x); index < pieces.total(); index += static_cast<int>(gridDim.x)) {
        const WgmmaPiece piece = wgmma_piece(pieces, index);
        for (int slice = 0; slice < piece.slices; ++slice) {
            const int k = (piece.first_slice + slice) * kWgmmaSlice;
            for (int position = 0; position < kPlanes; ++position) {
                const int plane = plane_at<kPlanes>(position);
                std::uint64_t* const full = tile.full(at.slot);
                mbarrier_wait(tile.empty(at.slot), at.parity ^ 1U);
                mbarrier_arrive_expect(full, Shape::kSlotBytes);
                copy_slice<kA, kWgmmaRows>(tile.a(at.slot), &a.plane[plane], piece.tile_m * kWgmmaRows, k, full);
                copy_slice<kB, kColumns>(tile.b(at.slot), &b.plane[plane], piece.tile_n * kColumns, k, full);
                at.advance();
            }
        }
    }
}

// The matrix of 64 rows of a, or of all columns of b, that begins there.
template <Contiguous kContiguous>
__device__ __forceinline__ std::uint64_t slice_descriptor(const unsigned char* begin) {
    return kContiguous == Contiguous::k ? matrix_descriptor(begin, 0, kAtomBytes)
                                        : matrix_descriptor(begin, kPanelBytes, kAtomBytes);
}
// Bytes to the next 16 of k.
template <Contiguous kContiguous>
inline constexpr int kStepBytes = kContiguous == Contiguous::k ? 32 : 16 * kRowBytes;

}  // namespace isthmus::cuda
