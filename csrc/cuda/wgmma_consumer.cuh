// SPDX-License-Identifier: Apache-2.0
// What a consumer warpgroup of wgmma_gemm.cuh does: the products of the slices of a piece.
//
// One plane: the sums stay with the tensor cores over all of k. Three planes: six products a slice, smallest first,
// whose sums are then added to plain ones. Tensor cores truncate when they add: 4 additions of full size, those of the
// product of the two planes 0, are between two roundings to nearest, and the small products lose nothing that counts.
#pragma once

#include "cuda/wgmma_tile.cuh"

namespace isthmus::cuda {

// What a consumer warpgroup has of a piece: its sums and, for a weight gradient, the sums of a over k.
template <int kColumns, int kPlanes, Contiguous kA, Contiguous kB>
class WgmmaConsumer {
public:
    using Shape = WgmmaTile<kColumns>;
    static constexpr int kSums = kColumns / 2;

    __device__ __forceinline__ WgmmaConsumer(const Shape& tile, int warpgroup) : tile_(tile), group_(warpgroup) {}

    template <bool kSumOfA>
    __device__ __forceinline__ void multiply(int slices) {
        if constexpr (kPlanes == 3) {
            three_planes<kSumOfA>(slices);
        } else {
            one_plane<kSumOfA>(slices);
        }
    }

    float sums[kSums];
    float sums_of_a[4];

private:
    // Products of a slice with one plane of each: 4 of 16 k. The sum of a is its product with ones.
    template <bool kSumOfA>
    __device__ __forceinline__ void products(float (&to)[kSums], float (&to_of_a)[4], int slot_a, int slot_b,
                                             bool accumulate, bool accumulate_of_a) const {
        const std::uint64_t a = slice_descriptor<kA>(tile_.a(slot_a) + group_ * kPanelBytes);
        const std::uint64_t b = slice_descriptor<kB>(tile_.b(slot_b));
#pragma unroll
        for (int step = 0; step < 4; ++step) {
            const std::uint64_t a_step = advanced(a, step * kStepBytes<kA>);
            wgmma<kA != Contiguous::k, kB != Contiguous::k>(to, a_step, advanced(b, step * kStepBytes<kB>),
                                                            accumulate || step > 0);
            if constexpr (kSumOfA) {
                wgmma<kA != Contiguous::k, false>(to_of_a, a_step, slice_descriptor<Contiguous::k>(tile_.ones()),
                                                  accumulate_of_a || step > 0);
            }
        }
    }

    __device__ __forceinline__ void wait_full() const { mbarrier_wait(tile_.full(at_.slot), at_.parity); }
    __device__ __forceinline__ void release(int slot) const {
        if (threadIdx.x % 32 == 0) mbarrier_arrive(tile_.empty(slot));
    }
    template <bool kSumOfA>
    __device__ __forceinline__ void fence(float (&to)[kSums], float (&to_of_a)[4]) const {
        wgmma_fence(to);
        if constexpr (kSumOfA) wgmma_fence(to_of_a);
    }
    template <bool kSumOfA>
    __device__ __forceinline__ void wait_all(float (&to)[kSums], float (&to_of_a)[4]) const {
        wgmma_wait<0>(to);
        if constexpr (kSumOfA) wgmma_wait<0>(to_of_a);
    }

    // One slice is multiplied while the one before may still be under way.
    template <bool kSumOfA>
    __device__ __forceinline__ void one_plane(int slices) {
        int before = 0;
        for (int slice = 0; slice < slices; ++slice) {
            wait_full();
            fence<kSumOfA>(sums, sums_of_a);
            products<kSumOfA>(sums, sums_of_a, at_.slot, at_.slot, slice > 0, slice > 0);
            wgmma_commit();
            if (slice > 0) {
                wgmma_wait<1>();
                release(before);
            }
            before = at_.slot;
            at_.advance();
        }
        wait_all<kSumOfA>(sums, sums_of_a);
        release(before);
    }

    template <bool kSumOfA>
    __device__ __forceinline__ void three_planes(int slices) {
        float part[kSums];
        float part_of_a[4];
#pragma unroll
        for (int i = 0; i < kSums; ++i) part[i] = 0.0F;
#pragma unroll
        for (int i = 0; i < 4; ++i) part_of_a[i] = 0.0F;
        // -0 + x is x, whatever its sign.
#pragma unroll
        for (int i = 0; i < kSums; ++i) sums[i] = -0.0F;
#pragma unroll
        for (int i = 0; i < 4; ++i) sums_of_a[i] = -0.0F;
        for (int slice = 0; slice < slices; ++slice) {
            int slot[3];  // of the planes, which come in the order 2, 0, 1
            wait_full();
            slot[2] = at_.slot;
            at_.advance();
            wait_full();
            slot[0] = at_.slot;
            at_.advance();
            wait_full();
            slot[1] = at_.slot;
            at_.advance();
            fence<kSumOfA>(part, part_of_a);
            products<kSumOfA>(part, part_of_a, slot[2], slot[0], false, false);
            products<false>(part, part_of_a, slot[1], slot[1], true, true);
            products<false>(part, part_of_a, slot[0], slot[2], true, true);
            wgmma_commit();
            products<kSumOfA>(part, part_of_a, slot[1], slot[0], true, true);
            products<false>(part, part_of_a, slot[0], slot[1], true, true);
            wgmma_commit();
            products<kSumOfA>(part, part_of_a, slot[0], slot[0], true, true);
            wgmma_commit();
            wgmma_wait<2>();
            release(slot[2]);
            wgmma_wait<1>();
            release(slot[1]);
            wait_all<kSumOfA>(part, part_of_a);
            release(slot[0]);
#pragma unroll
            for (int i = 0; i < kSums; ++i) sums[i] += part[i];
            if constexpr (kSumOfA) {
#pragma unroll
                for (int i = 0; i < 4; ++i) sums_of_a[i] += part_of_a[i];
            }
        }
    }

    Shape tile_;
    int group_;
    RingPlace<Shape::kSlots> at_;
};

}  // namespace isthmus::cuda
