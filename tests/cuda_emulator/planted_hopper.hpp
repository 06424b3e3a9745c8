// SPDX-License-Identifier: Apache-2.0
// A kernel of the kind of csrc/cuda/wgmma_gemm.cuh with a place for every bug of its kind that the emulator must show.
// Bug::none is right; every other one changes one line.
//
// c (m, n) = a (m, k) @ b (k, n): a is K-major, b MN-major. One warpgroup copies slices of 64 k, two multiply 64 x 128
// outputs each, which pass through shared memory from one thread to another.
#pragma once

#include "cuda/launch.hpp"
#include "cuda/ptx/wgmma.hpp"

namespace planted_hopper {

enum class Bug {
    none,
    swapped_coordinates,
    wrong_parity,
    no_wait_for_full,
    no_wait_for_empty,
    early_release,
    too_few_bytes,
    too_many_bytes,
    one_arrival_too_many,
    no_barrier_after_init,
    wrong_accumulator_layout,
    no_wgmma_fence,
    no_wgmma_commit,
    no_wgmma_wait,
    wrong_stride,
    wrong_leading,
    wrong_step,
    wrong_order,
    not_all_of_the_warpgroup,
    no_named_barrier,
    wrong_named_count,
    registers_by_one_warp,
    too_many_registers,
    last,
};

constexpr int kSlots = 3;
constexpr int kBytesA = 128 * 128;
constexpr int kBytesB = 2 * 64 * 128;  // two panels
constexpr int kSlotBytes = kBytesA + kBytesB;
constexpr int kPitch = 128 + 8;
constexpr int kSharedBytes = kSlots * kSlotBytes + 128 * kPitch * 4 + 1024;
constexpr int kThreads = 384;

template <Bug bug>
__device__ __forceinline__ void produce(unsigned char* slots, std::uint64_t* full, std::uint64_t* empty,
                                        const CUtensorMap* a, const CUtensorMap* b, int first_m, int first_n, int k) {
    using namespace isthmus::cuda;
    for (int slice = 0; slice * 64 < k; ++slice) {
        const int slot = slice % kSlots;
        const unsigned parity = slice / kSlots % 2;
        unsigned char* const to = slots + slot * kSlotBytes;
        constexpr int off = bug == Bug::too_few_bytes ? -kBytesA : bug == Bug::too_many_bytes ? 16 : 0;
        if (bug != Bug::no_wait_for_empty) mbarrier_wait(empty + slot, parity ^ 1U);
        mbarrier_arrive_expect(full + slot, kSlotBytes + off);
        copy_box(to, a, bug == Bug::swapped_coordinates ? first_m : slice * 64,
                 bug == Bug::swapped_coordinates ? slice * 64 : first_m, full + slot);
        copy_box(to + kBytesA, b, first_n, slice * 64, full + slot);
        copy_box(to + kBytesA + kBytesB / 2, b, first_n + 64, slice * 64, full + slot);
    }
}

template <Bug bug>
__device__ __forceinline__ void multiply(const unsigned char* slots, std::uint64_t* full, std::uint64_t* empty, int k,
                                         float (&sums)[64]) {
    using namespace isthmus::cuda;
    const int group = static_cast<int>(threadIdx.x) / 128 - 1;
    for (int slice = 0; slice * 64 < k; ++slice) {
        const int slot = slice % kSlots;
        const unsigned parity = slice / kSlots % 2;
        const unsigned char* const from = slots + slot * kSlotBytes;
        if (bug != Bug::no_wait_for_full) mbarrier_wait(full + slot, bug == Bug::wrong_parity ? parity ^ 1U : parity);
        if (bug != Bug::no_wgmma_fence) wgmma_fence(sums);
        for (int step = 0; step < 4; ++step) {
            const std::uint64_t a =
                advanced(matrix_descriptor(from + group * kBytesA / 2, 0, bug == Bug::wrong_stride ? 512 : 1024),
                         step * (bug == Bug::wrong_step ? 64 : 32));
            const std::uint64_t b = advanced(
                matrix_descriptor(from + kBytesA, bug == Bug::wrong_leading ? 1024 : kBytesB / 2, 1024), step * 2048);
            if (bug == Bug::not_all_of_the_warpgroup && threadIdx.x >= kThreads - 32) continue;
            wgmma<false, bug != Bug::wrong_order>(sums, a, b, slice > 0 || step > 0);
        }
        if (bug == Bug::early_release && threadIdx.x % 32 == 0) mbarrier_arrive(empty + slot);
        if (bug != Bug::no_wgmma_commit) wgmma_commit();
        if (bug != Bug::no_wgmma_wait) wgmma_wait<0>(sums);
        if (bug != Bug::early_release && threadIdx.x % 32 == 0) mbarrier_arrive(empty + slot);
        if (bug == Bug::one_arrival_too_many && threadIdx.x % 32 == 1) mbarrier_arrive(empty + slot);
    }
}

template <Bug bug>
__global__ void product(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b, float* c, int m,
                        int n, int k) {
    using namespace isthmus::cuda;
    ISTHMUS_DYNAMIC_SHARED(unsigned char, shared);
    ISTHMUS_SHARED(std::uint64_t, full, kSlots);
    ISTHMUS_SHARED(std::uint64_t, empty, kSlots);
    unsigned char* const slots = shared + (1024 - shared_window(shared) % 1024) % 1024;
    float* const outputs = reinterpret_cast<float*>(slots + kSlots * kSlotBytes);
    const auto thread = static_cast<int>(threadIdx.x);
    if (thread == 0) {
        for (int slot = 0; slot < kSlots; ++slot) {
            mbarrier_init(full + slot, 1);
            mbarrier_init(empty + slot, 8);
        }
        mbarrier_init_fence();
    }
    if (bug != Bug::no_barrier_after_init) __syncthreads();
    const int first_m = static_cast<int>(blockIdx.y) * 128;
    const int first_n = static_cast<int>(blockIdx.x) * 128;
    if (thread < 128) {
        if (bug != Bug::registers_by_one_warp || thread < 32) fewer_registers<40>();
        if (thread == 0) produce<bug>(slots, full, empty, &a, &b, first_m, first_n, k);
        return;
    }
    more_registers<bug == Bug::too_many_registers ? 240 : 232>();
    float sums[64];
    for (float& sum : sums) sum = 0.0F;
    multiply<bug>(slots, full, empty, k, sums);
    for (int i = 0; i < 64; ++i) {
        const int half = bug == Bug::wrong_accumulator_layout ? i % 2 : i / 2 % 2;
        const int neighbour = bug == Bug::wrong_accumulator_layout ? i / 2 % 2 : i % 2;
        const int row = thread / 32 * 16 - 64 + thread % 32 / 4 + half * 8;
        outputs[row * kPitch + i / 4 * 8 + thread % 4 * 2 + neighbour] = sums[i];
    }
    if (bug != Bug::no_named_barrier) named_barrier<1, bug == Bug::wrong_named_count ? 128 : 256>();
    for (int row = thread / 128 - 1; row < 128 && first_m + row < m; row += 2) {
        const int column = thread % 128;
        if (first_n + column < n) c[(first_m + row) * n + first_n + column] = outputs[row * kPitch + column];
    }
}

}  // namespace planted_hopper
