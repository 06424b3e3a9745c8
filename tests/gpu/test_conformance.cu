// SPDX-License-Identifier: Apache-2.0
// What the wrappers of csrc/cuda/ptx.hpp and csrc/cuda/ptx promise, as the PTX manual states it. The same file is built
// by nvcc for a GPU and by the C++ compiler for the emulator, whose twins share one reading of that manual: only a GPU
// can say it is right. A wrapper that is new gets its tests here.
#include <cstdint>
#include <numeric>
#include <vector>

#include "../cpp/check.hpp"
#include "conformance_mma.cuh"
#include "cuda/buffer.hpp"
#include "cuda/ptx.hpp"
#include "cuda/stream.hpp"

using namespace isthmus::cuda;

namespace {

constexpr float kBefore = -1.0F;  // in shared memory before a copy

std::vector<float> counted(std::int64_t n) {
    std::vector<float> values(static_cast<std::size_t>(n));
    std::iota(values.begin(), values.end(), 1.0F);
    return values;
}

// What a kernel(x, y, arguments...) leaves in the n floats of y; x holds 1, 2, 3, ... `size`.
template <class... P, class... A>
std::vector<float> results(void (*kernel)(const float*, float*, P...), unsigned threads, std::int64_t size,
                           std::int64_t n, A... arguments) {
    const Stream stream;
    const DeviceArray<float> x(size), y(n);
    const std::vector<float> from = counted(size);
    std::vector<float> to(static_cast<std::size_t>(n));
    copy_async(x.data(), from.data(), size, stream);
    zero_async(y.data(), n, stream);
    launch(kernel, dim3(1), dim3(threads), 0, stream, x.data(), y.data(), arguments...);
    copy_async(to.data(), y.data(), n, stream);
    stream.synchronize();
    return to;
}

// ---- cp.async: how much is copied, and what becomes 0 ---------------------------------------------------------------

// Twelve floats of shared memory whose middle four are copied to, as 16 bytes or as four times 4.
template <int kBytes>
__global__ void copies(const float* x, float* y, int valid_bytes) {
    ISTHMUS_SHARED(float, tile, 12);
    for (int i = 0; i < 12; ++i) tile[i] = kBefore;
    __syncthreads();
    if constexpr (kBytes == 16) {
        copy_async_16(tile + 4, x + 4, valid_bytes);
    } else {
        for (int i = 0; i < 4; ++i) copy_async_4(tile + 4 + i, x + 4 + i, valid_bytes);
    }
    copy_async_commit();
    copy_async_wait<0>();
    for (int i = 0; i < 12; ++i) y[i] = tile[i];
}

TEST(a_copy_of_16_bytes_fills_up_with_zeros_and_touches_nothing_else) {
    for (int floats = 0; floats <= 4; ++floats) {
        const std::vector<float> y = results(copies<16>, 1, 8, 12, 4 * floats);
        for (std::size_t i = 0; i < 12; ++i) {
            const bool within = i >= 4 && i < 8;
            const bool copied = within && i < 4U + static_cast<unsigned>(floats);
            CHECK(y[i] == (copied ? static_cast<float>(i + 1) : within ? 0.0F : kBefore));
        }
    }
}

TEST(a_copy_of_4_bytes_is_whole_or_zero_and_touches_nothing_else) {
    for (const int valid : {0, 4}) {
        const std::vector<float> y = results(copies<4>, 1, 8, 12, valid);
        for (std::size_t i = 0; i < 12; ++i) {
            const bool within = i >= 4 && i < 8;
            CHECK(y[i] == (within && valid == 4 ? static_cast<float>(i + 1) : within ? 0.0F : kBefore));
        }
    }
}

// The first `valid_bytes` of x, as two floats: a part of the second may be copied.
__global__ void copies_bytes(const float* x, float* y, int valid_bytes) {
    ISTHMUS_SHARED(float, tile, 4);
    copy_async_16(tile, x, valid_bytes);
    copy_async_commit();
    copy_async_wait<0>();
    for (int i = 0; i < 4; ++i) y[i] = tile[i];
}

TEST(valid_bytes_need_be_no_whole_floats) {
    // 1 and 2 are 0x3f800000 and 0x40000000: of 2's bytes the last alone is not 0.
    CHECK(results(copies_bytes, 1, 4, 4, 7) == (std::vector<float>{1.0F, 0.0F, 0.0F, 0.0F}));
    CHECK(results(copies_bytes, 1, 4, 4, 8) == (std::vector<float>{1.0F, 2.0F, 0.0F, 0.0F}));
}

// With no valid bytes nothing is read: the addresses lie behind the allocation.
__global__ void copies_nothing(const float* x, float* y, int size) {
    ISTHMUS_SHARED(float, tile, 8);
    for (int i = 0; i < 8; ++i) tile[i] = kBefore;
    __syncthreads();
    copy_async_16(tile, x + size, 0);
    copy_async_4(tile + 4, x + size, 0);
    copy_async_commit();
    copy_async_wait<0>();
    for (int i = 0; i < 8; ++i) y[i] = tile[i];
}

TEST(no_valid_bytes_read_nothing) {
    const std::vector<float> expected{0.0F, 0.0F, 0.0F, 0.0F, 0.0F, kBefore, kBefore, kBefore};
    CHECK(results(copies_nothing, 1, 4, 8, 4) == expected);
}

// ---- cp.async: groups and waits -------------------------------------------------------------------------------------

// Four groups of one float each; behind the wait for all but `kUnderWay` of them, those waited for are there.
template <int kUnderWay>
__global__ void waits(const float* x, float* y) {
    ISTHMUS_SHARED(float, tile, 4);
    for (int group = 0; group < 4; ++group) {
        copy_async_4(tile + group, x + group);
        copy_async_commit();
    }
    copy_async_wait<kUnderWay>();
    for (int group = 0; group < 4 - kUnderWay; ++group) y[group] = tile[group];
    copy_async_wait<0>();
    for (int group = 4 - kUnderWay; group < 4; ++group) y[group] = tile[group];
}

TEST(a_wait_is_for_the_oldest_groups) {
    const std::vector<float> expected = counted(4);
    CHECK(results(waits<0>, 1, 4, 4) == expected);
    CHECK(results(waits<1>, 1, 4, 4) == expected);
    CHECK(results(waits<2>, 1, 4, 4) == expected);
    CHECK(results(waits<3>, 1, 4, 4) == expected);
    CHECK(results(waits<4>, 1, 4, 4) == expected);
}

// Groups may be empty and hold many copies; an empty one counts.
__global__ void empty_groups(const float* x, float* y) {
    ISTHMUS_SHARED(float, tile, 8);
    copy_async_wait<0>();  // for nothing
    copy_async_16(tile, x);
    copy_async_16(tile + 4, x + 4);
    copy_async_commit();
    copy_async_commit();
    copy_async_commit();
    copy_async_wait<2>();  // the two empty ones may be under way
    for (int i = 0; i < 8; ++i) y[i] = tile[i];
}

TEST(a_group_holds_all_copies_since_the_last_and_an_empty_one_counts) {
    CHECK(results(empty_groups, 1, 8, 8) == counted(8));
}

// Each thread waits for its own copies; behind the barrier all see all.
__global__ void crosses(const float* x, float* y) {
    ISTHMUS_SHARED(float, tile, 256);
    const auto thread = static_cast<int>(threadIdx.x);
    if (thread < 32) {
        copy_async_16(tile + 4 * thread, x + 4 * thread);
    } else {
        copy_async_4(tile + 96 + thread, x + 96 + thread);
    }
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    y[thread] = tile[255 - thread];
}

TEST(behind_a_barrier_all_threads_see_what_each_has_waited_for) {
    const std::vector<float> y = results(crosses, 160, 256, 160);
    for (std::size_t i = 0; i < 160; ++i) CHECK(y[i] == static_cast<float>(256 - i));
}

// Three stages that are filled again and again, as a product does: what is read is never the next round's.
constexpr int kStages = 3;
__global__ void stages(const float* x, float* y, int rounds) {
    ISTHMUS_SHARED(float, tile, kStages * 64);
    const auto thread = static_cast<int>(threadIdx.x);
    const auto fetch = [&](int round) {
        if (round < rounds) copy_async_4(tile + round % kStages * 64 + thread, x + round * 64 + thread);
        copy_async_commit();
    };
    for (int round = 0; round + 1 < kStages; ++round) fetch(round);
    float sum = 0.0F;
    for (int round = 0; round < rounds; ++round) {
        copy_async_wait<kStages - 2>();
        __syncthreads();  // this round is there, and nobody reads the one before, where the next goes
        fetch(round + kStages - 1);
        sum += tile[round % kStages * 64 + 63 - thread];
    }
    y[thread] = sum;
}

TEST(stages_are_filled_while_others_are_read) {
    constexpr int kRounds = 50;
    const std::vector<float> y = results(stages, 64, 64 * kRounds, 64, kRounds);
    for (int thread = 0; thread < 64; ++thread) {
        float sum = 0.0F;
        for (int round = 0; round < kRounds; ++round) sum += static_cast<float>(round * 64 + 63 - thread + 1);
        CHECK(y[static_cast<std::size_t>(thread)] == sum);
    }
}

}  // namespace
