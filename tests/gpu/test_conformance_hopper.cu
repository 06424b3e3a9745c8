// SPDX-License-Identifier: Apache-2.0
// What the wrappers of csrc/cuda/ptx/hopper.hpp and wgmma.hpp promise, as the PTX manual states it, on a GPU of compute
// capability 9.0 and, by the same source, on the emulator. Other GPUs skip. All numbers are small integers, which every
// order of sums keeps.
#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

#include "../cpp/check.hpp"
#include "cuda/buffer.hpp"
#include "cuda/ptx/wgmma.hpp"
#include "cuda/stream.hpp"
#include "cuda/tensor_map.hpp"
#include "math/host_device.hpp"

using namespace isthmus::cuda;

namespace {

bool skipped() {
    static const bool lacks = [] {
        cudaDeviceProp properties;
        isthmus::cuda::check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
        const bool other = properties.major != 9 || properties.minor != 0;
        if (other) std::printf("skipped: compute capability %d.%d, not 9.0\n", properties.major, properties.minor);
        return other;
    }();
    return lacks;
}

constexpr int kSharedBytes = 100 * 1024;  // of every kernel here, beside the alignment

// What a kernel(y, arguments...) leaves in the n elements of y, which were 0.
template <class T, class... P, class... A>
std::vector<T> results(void (*kernel)(T*, P...), unsigned threads, std::int64_t n, A... arguments) {
    const Stream stream;
    const DeviceArray<T> y(n);
    std::vector<T> to(static_cast<std::size_t>(n));
    zero_async(y.data(), n, stream);
    launch(kernel, dim3(1), dim3(threads), kSharedBytes + 1024, stream, y.data(), arguments...);
    copy_async(to.data(), y.data(), n, stream);
    stream.synchronize();
    return to;
}

[[maybe_unused]] __device__ __forceinline__ unsigned char* aligned_shared(unsigned char* shared) {
    return shared + (1024 - shared_window(shared) % 1024) % 1024;
}

// ---- mbarriers ------------------------------------------------------------------------------------------------------

// Warp 0 writes and arrives, warp 1 waits and reads, over several phases and back.
__global__ void hands_over([[maybe_unused]] int* y, [[maybe_unused]] int rounds) {
#if defined(ISTHMUS_HOPPER)
    ISTHMUS_SHARED(std::uint64_t, barriers, 2);
    ISTHMUS_SHARED(int, box, 32);
    const auto thread = static_cast<int>(threadIdx.x);
    std::uint64_t* const full = barriers;
    std::uint64_t* const empty = barriers + 1;
    if (thread == 0) {
        mbarrier_init(full, 32);
        mbarrier_init(empty, 32);
        mbarrier_init_fence();
    }
    __syncthreads();
    int sum = 0;
    for (int round = 0; round < rounds; ++round) {
        const unsigned parity = round % 2;
        if (thread < 32) {
            mbarrier_wait(empty, parity ^ 1U);  // the first returns at once
            box[thread] = 100 * round + thread;
            mbarrier_arrive(full);
        } else {
            mbarrier_wait(full, parity);
            sum += box[63 - thread];
            mbarrier_arrive(empty);
        }
    }
    if (thread >= 32) y[63 - thread] = sum;
#endif
}

TEST(an_mbarrier_hands_over_phase_after_phase) {
    if (skipped()) return;
    constexpr int kRounds = 7;
    const std::vector<int> y = results(hands_over, 64, 32, kRounds);
    for (int i = 0; i < 32; ++i) {
        CHECK(y[static_cast<std::size_t>(i)] == 100 * kRounds * (kRounds - 1) / 2 + kRounds * i);
    }
}

// ---- copies of boxes ------------------------------------------------------------------------------------------------

constexpr int kBoxRows = 16;

// Two boxes on one barrier, and what then stands in shared memory.
__global__ void copies([[maybe_unused]] Bfloat16* y, [[maybe_unused]] const __grid_constant__ CUtensorMap map,
                       [[maybe_unused]] int column, [[maybe_unused]] int row) {
#if defined(ISTHMUS_HOPPER)
    ISTHMUS_DYNAMIC_SHARED(unsigned char, shared);
    ISTHMUS_SHARED(std::uint64_t, full, 1);
    constexpr int kBytes = kBoxRows * 128;
    unsigned char* const boxes = aligned_shared(shared);
    if (threadIdx.x == 0) {
        prefetch_map(&map);
        mbarrier_init(full, 1);
        mbarrier_init_fence();
        proxy_fence();
        mbarrier_arrive_expect(full, 2 * kBytes);
        copy_box(boxes, &map, column, row, full);
        copy_box(boxes + kBytes, &map, column + 64, row, full);
    }
    __syncthreads();
    mbarrier_wait(full, 0);
    const auto* const elements = reinterpret_cast<const Bfloat16*>(boxes);
    for (int i = static_cast<int>(threadIdx.x); i < kBytes; i += 32) y[i] = elements[i];
#endif
}

TEST(boxes_are_swizzled_and_zero_outside) {
    if (skipped()) return;
    constexpr int kRows = 30, kCols = 150, kStride = 160;
    std::vector<Bfloat16> matrix(kRows * kStride, 0xffff);
    for (int r = 0; r < kRows; ++r) {
        for (int c = 0; c < kCols; ++c) matrix[r * kStride + c] = static_cast<Bfloat16>(1 + r * kCols + c);
    }
    const Stream stream;
    const DeviceArray<Bfloat16> on_device(kRows * kStride);
    copy_async(on_device.data(), matrix.data(), on_device.size(), stream);
    stream.synchronize();
    const CUtensorMap map = tensor_map({on_device.data(), kStride, 0, 1}, 0, kRows, kCols, kBoxRows);
    constexpr std::pair<int, int> kFirst[] = {{0, 0}, {64, 14}, {100, 20}, {128, 3}, {0, 40}, {-8, -3}};
    for (const auto& [column, row] : kFirst) {
        const std::vector<Bfloat16> y = results(copies, 32, 2 * kBoxRows * 64, map, column, row);
        bool right = true;
        for (int i = 0; i < 2 * kBoxRows * 64; ++i) {
            // Of each row of 128 bytes the 16 bytes number j stand at j ^ (row % 8).
            const int r = i / 64 % kBoxRows;
            const int from_c = column + i / (64 * kBoxRows) * 64 + (i % 64 / 8 ^ r % 8) * 8 + i % 8;
            const int from_r = row + r;
            const bool inside = from_r >= 0 && from_r < kRows && from_c >= 0 && from_c < kCols;
            const Bfloat16 expected = inside ? matrix[from_r * kStride + from_c] : Bfloat16{0};
            right = right && y[static_cast<std::size_t>(i)] == expected;
        }
        CHECK(right);
    }
}

// ---- wgmma ----------------------------------------------------------------------------------------------------------

// Small integers as bfloat16, which is their upper half as a float.
ISTHMUS_HD int value_a(int m, int k) { return (3 * m + 5 * k) % 13 - 6; }
ISTHMUS_HD int value_b(int n, int k) { return (7 * n + 2 * k + n / 8) % 11 - 5; }
[[maybe_unused]] __device__ __forceinline__ Bfloat16 bits_of(int value) {
    return static_cast<Bfloat16>(__float_as_uint(static_cast<float>(value)) >> 16);
}

constexpr int kDepth = 64;  // of k in shared memory: four products

// A matrix of (others, 64) where matrix_descriptor wants it: K-major in one piece, MN-major in panels of 64.
template <bool kTransposed, class Value>
__device__ __forceinline__ void fill(unsigned char* to, int others, Value&& value) {
    for (int i = static_cast<int>(threadIdx.x); i < others * kDepth; i += 128) {
        const int other = i / kDepth;
        const int k = i % kDepth;
        const int row = kTransposed ? other / 64 * 64 + k : other;
        const int column = kTransposed ? other % 64 : k;
        const int at = row * 128 + ((column / 8 ^ row % 8) * 16 + column % 8 * 2);
        *reinterpret_cast<Bfloat16*>(to + at) = bits_of(value(other, k));
    }
}
template <bool kTransposed>
__device__ __forceinline__ std::uint64_t descriptor(const unsigned char* begin, int step) {
    return advanced(matrix_descriptor(begin, kTransposed ? 64 * 128 : 0, 1024), step * (kTransposed ? 2048 : 32));
}

// y (64, kN) = `times` times a b^T over 64 of k: what comes after the first is added to it.
template <int kN, bool kTransposedA, bool kTransposedB>
__global__ void __launch_bounds__(128, 1) multiplies([[maybe_unused]] float* y, [[maybe_unused]] int times) {
#if defined(ISTHMUS_HOPPER)
    ISTHMUS_DYNAMIC_SHARED(unsigned char, shared);
    unsigned char* const a = aligned_shared(shared);
    unsigned char* const b = a + 64 * 128;
    fill<kTransposedA>(a, 64, [](int m, int k) { return value_a(m, k); });
    fill<kTransposedB>(b, kN < 64 ? 64 : kN, [](int n, int k) { return value_b(n, k); });
    proxy_fence();
    __syncthreads();
    float sums[kN / 2];
#pragma unroll
    for (float& sum : sums) sum = 1e6F;  // which the first product does not add to
    for (int time = 0; time < times; ++time) {
        wgmma_fence(sums);
#pragma unroll
        for (int step = 0; step < 4; ++step) {
            wgmma<kTransposedA, kTransposedB>(sums, descriptor<kTransposedA>(a, step),
                                              descriptor<kTransposedB>(b, step), time > 0 || step > 0);
        }
        wgmma_commit();
    }
    wgmma_wait<0>(sums);
    const auto thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < kN / 2; ++i) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
        y[row * kN + i / 4 * 8 + thread % 4 * 2 + i % 2] = sums[i];
    }
#endif
}

template <int kN, bool kTransposedA, bool kTransposedB>
void check_product() {
    for (const int times : {1, 2}) {
        const std::vector<float> y = results(multiplies<kN, kTransposedA, kTransposedB>, 128, 64 * kN, times);
        bool right = true;
        for (int m = 0; m < 64; ++m) {
            for (int n = 0; n < kN; ++n) {
                int sum = 0;
                for (int k = 0; k < kDepth; ++k) sum += value_a(m, k) * value_b(n, k);
                right = right && y[static_cast<std::size_t>(m * kN + n)] == static_cast<float>(times * sum);
            }
        }
        CHECK(right);
    }
}

TEST(products_of_every_width_and_order_are_exact_on_integers) {
    if (skipped()) return;
    check_product<8, false, false>();
    check_product<8, true, false>();
    check_product<64, false, false>();
    check_product<64, false, true>();
    check_product<64, true, true>();
    check_product<128, false, false>();
    check_product<128, false, true>();
    check_product<128, true, false>();
    check_product<128, true, true>();
    check_product<256, false, false>();
    check_product<256, false, true>();
    check_product<256, true, true>();
}

// Two groups with sums of their own: behind the wait for all but one the first may be read, and added to again.
__global__ void __launch_bounds__(128, 1) waits_for_the_older([[maybe_unused]] float* y) {
#if defined(ISTHMUS_HOPPER)
    ISTHMUS_DYNAMIC_SHARED(unsigned char, shared);
    unsigned char* const a = aligned_shared(shared);
    unsigned char* const b = a + 64 * 128;
    fill<false>(a, 64, [](int m, int k) { return value_a(m, k); });
    fill<false>(b, 64, [](int n, int k) { return value_b(n, k); });
    proxy_fence();
    __syncthreads();
    float first[4] = {};
    float second[32] = {};
    wgmma_fence(first);
    wgmma_fence(second);
    wgmma<false, false>(first, descriptor<false>(a, 0), descriptor<false>(b, 0), false);
    wgmma_commit();
    wgmma<false, false>(second, descriptor<false>(a, 1), descriptor<false>(b, 1), false);
    wgmma_commit();
    wgmma_wait<1>(first);
    const auto thread = static_cast<int>(threadIdx.x);
    const int row = thread / 32 * 16 + thread % 32 / 4;
    y[row * 16 + thread % 4 * 2] = first[0];
    wgmma_wait<0>(second);
    y[row * 16 + 8 + thread % 4 * 2] = second[0];
#endif
}

TEST(a_wait_is_for_the_oldest_groups_of_products) {
    if (skipped()) return;
    const std::vector<float> y = results(waits_for_the_older, 128, 64 * 16);
    for (int m = 0; m < 64; ++m) {
        if (m % 16 >= 8) continue;
        for (int n = 0; n < 8; n += 2) {
            int sums[2] = {};
            for (int k = 0; k < 32; ++k) sums[k / 16] += value_a(m, k) * value_b(n, k);
            CHECK(y[static_cast<std::size_t>(m * 16 + n)] == static_cast<float>(sums[0]));
            CHECK(y[static_cast<std::size_t>(m * 16 + 8 + n)] == static_cast<float>(sums[1]));
        }
    }
}

// What the accelerator copies is what wgmma reads: an identity picks the columns of a out of a box.
__global__ void __launch_bounds__(128, 1)
    multiplies_boxes([[maybe_unused]] float* y, [[maybe_unused]] const __grid_constant__ CUtensorMap map) {
#if defined(ISTHMUS_HOPPER)
    ISTHMUS_DYNAMIC_SHARED(unsigned char, shared);
    ISTHMUS_SHARED(std::uint64_t, full, 1);
    unsigned char* const a = aligned_shared(shared);
    unsigned char* const b = a + 64 * 128;
    fill<false>(b, 64, [](int n, int k) { return n == k ? 1 : 0; });
    if (threadIdx.x == 0) {
        mbarrier_init(full, 1);
        mbarrier_init_fence();
    }
    proxy_fence();
    __syncthreads();
    if (threadIdx.x == 0) {
        mbarrier_arrive_expect(full, 64 * 128);
        copy_box(a, &map, 0, 0, full);
    }
    mbarrier_wait(full, 0);
    float sums[32];
#pragma unroll
    for (float& sum : sums) sum = 0.0F;
    wgmma_fence(sums);
#pragma unroll
    for (int step = 0; step < 4; ++step) {
        wgmma<false, false>(sums, descriptor<false>(a, step), descriptor<false>(b, step), step > 0);
    }
    wgmma_commit();
    wgmma_wait<0>(sums);
    const auto thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < 32; ++i) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
        y[row * 64 + i / 4 * 8 + thread % 4 * 2 + i % 2] = sums[i];
    }
#endif
}

TEST(a_box_is_the_matrix_that_a_descriptor_finds) {
    if (skipped()) return;
    std::vector<Bfloat16> matrix(64 * 64);
    for (int i = 0; i < 64 * 64; ++i) {
        const auto value = static_cast<float>(value_a(i / 64, i % 64));
        matrix[static_cast<std::size_t>(i)] = static_cast<Bfloat16>(__builtin_bit_cast(std::uint32_t, value) >> 16);
    }
    const Stream stream;
    const DeviceArray<Bfloat16> on_device(64 * 64);
    copy_async(on_device.data(), matrix.data(), on_device.size(), stream);
    stream.synchronize();
    const CUtensorMap map = tensor_map({on_device.data(), 64, 0, 1}, 0, 64, 64, 64);
    const std::vector<float> y = results(multiplies_boxes, 128, 64 * 64, map);
    bool right = true;
    for (int i = 0; i < 64 * 64; ++i) {
        right = right && y[static_cast<std::size_t>(i)] == static_cast<float>(value_a(i / 64, i % 64));
    }
    CHECK(right);
}

// ---- named barriers, registers --------------------------------------------------------------------------------------

// Three warpgroups: two of them meet without the third, which gives them its registers.
__global__ void __launch_bounds__(384, 1) meets_apart([[maybe_unused]] int* y) {
#if defined(ISTHMUS_HOPPER)
    ISTHMUS_SHARED(int, numbers, 256);
    const auto thread = static_cast<int>(threadIdx.x);
    if (thread < 128) {
        fewer_registers<40>();
        y[thread] = thread;
    } else {
        more_registers<232>();
        for (int round = 0; round < 3; ++round) {
            numbers[thread - 128] = thread + round;
            named_barrier<1, 256>();
            y[thread] += numbers[383 - thread];
            named_barrier<1, 256>();
        }
    }
#endif
}

TEST(some_warps_meet_without_the_others) {
    if (skipped()) return;
    const std::vector<int> y = results(meets_apart, 384, 384);
    for (int i = 0; i < 384; ++i) CHECK(y[static_cast<std::size_t>(i)] == (i < 128 ? i : 3 * (511 - i) + 3));
}

}  // namespace
