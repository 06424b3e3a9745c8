// SPDX-License-Identifier: Apache-2.0
// What the wrappers of csrc/cuda/ptx.hpp and csrc/cuda/ptx, and what math/scalar.hpp has of a GPU alone, promise, as
// the PTX manual states it. The same file is built by nvcc for a GPU and by the C++ compiler for the emulator, whose
// twins share one reading of that manual: only a GPU can say it is right. A wrapper that is new gets its tests here.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <vector>

#include "../cpp/check.hpp"
#include "conformance_mma.cuh"
#include "cuda/buffer.hpp"
#include "cuda/ptx.hpp"
#include "cuda/stream.hpp"
#include "math/scalar.hpp"

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

// ---- quotients and roots --------------------------------------------------------------------------------------------

// root(a), 1 / a and a / b of every kStep-th positive float and some b from 1 to 2. The quotients of the largest floats
// and of the least may be 0, or lose digits.
constexpr std::int64_t kSome = 1 << 15;
constexpr std::int32_t kStep = 0x7f800000 / kSome + 1;  // odd: the last digits vary

ISTHMUS_HD float numerator(std::int64_t i) { return isthmus::math::from_bits(static_cast<std::int32_t>(i) * kStep); }
ISTHMUS_HD float denominator(std::int64_t i) {
    const auto digits = static_cast<std::uint32_t>(i) * 0x9e3779U & 0x7fffffU;
    return isthmus::math::from_bits(0x3f800000 | static_cast<std::int32_t>(digits));
}

__global__ void quotients(const float*, float* y) {
    for (std::int64_t i = threadIdx.x; i < kSome; i += blockDim.x) {
        const float a = numerator(i);
        y[3 * i] = isthmus::math::root(a);
        y[3 * i + 1] = isthmus::math::reciprocal(a);
        y[3 * i + 2] = isthmus::math::divide(a, denominator(i));
    }
}

double ulps(float result, double exact) {
    const auto nearest = static_cast<float>(exact);
    const double ulp = static_cast<double>(std::nextafter(nearest, std::numeric_limits<float>::max())) - nearest;
    return std::abs(result - exact) / ulp;
}

TEST(quotients_are_within_one_ulp_and_roots_within_two) {
    const std::vector<float> y = results(quotients, 256, 1, 3 * kSome);
    double worst[3] = {};
    for (std::int64_t i = 0; i < kSome; ++i) {
        const double a = numerator(i);
        const double exact[3] = {std::sqrt(a), 1.0 / a, a / denominator(i)};
        for (std::size_t j = 0; j < 3; ++j) {
            const float result = y[static_cast<std::size_t>(3 * i) + j];
            // Of normal numbers, and quotients that are normal, too.
            if (a < 2.4e-38 || exact[j] < 2.4e-38) {
                CHECK(result >= 0.0F && (j == 1 || result <= 2.0F * static_cast<float>(exact[j])));
            } else {
                worst[j] = std::max(worst[j], ulps(result, exact[j]));
            }
        }
    }
    std::printf("     worst: root %.3f, reciprocal %.3f, quotient %.3f ULP\n", worst[0], worst[1], worst[2]);
    CHECK(worst[0] <= 2.0);
    CHECK(worst[1] <= 1.0);
    CHECK(worst[2] <= 1.0);
}

__global__ void edges(const float*, float* y) {
    const float infinity = isthmus::math::from_bits(0x7f800000);
    const float largest = isthmus::math::from_bits(0x7f7fffff);
    const float nan = isthmus::math::from_bits(0x7fc00000);
    y[0] = isthmus::math::root(0.0F);
    y[1] = isthmus::math::root(infinity);
    y[2] = isthmus::math::root(nan);
    y[3] = isthmus::math::divide(1.0F, largest);
    y[4] = isthmus::math::divide(nan, 1.0F);
    y[5] = isthmus::math::divide(1.0F, nan);
    y[6] = isthmus::math::reciprocal(largest);
    y[7] = isthmus::math::divide(0.0F, 1e-8F);
}

// What Adam rests on: no step where a moment is 0 or the second one is infinite, and NaN stays NaN.
TEST(edges_of_quotients_and_roots) {
    const std::vector<float> y = results(edges, 1, 1, 8);
    CHECK(y[0] == 0.0F && std::isinf(y[1]) && std::isnan(y[2]));
    CHECK(y[3] >= 0.0F && y[3] < 3e-39F);
    CHECK(std::isnan(y[4]) && std::isnan(y[5]));
    CHECK(y[6] >= 0.0F && y[6] < 3e-39F);
    CHECK(y[7] == 0.0F);
}

}  // namespace
