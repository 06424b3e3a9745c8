// SPDX-License-Identifier: Apache-2.0
// Barriers and warp collectives: what they compute, and what is said when threads do not meet.
#include "../cpp/check.hpp"
#include "emulated.hpp"

using namespace emulated;

namespace {

constexpr unsigned kAll = 0xffffffffU;

__global__ void shuffles(int* y) {
    const int lane = static_cast<int>(threadIdx.x);
    int* const mine = y + 8 * lane;
    mine[0] = __shfl_sync(kAll, 100 + lane, 5);
    mine[1] = __shfl_sync(kAll, 100 + lane, lane + 1);
    mine[2] = __shfl_down_sync(kAll, 100 + lane, 4);
    mine[3] = __shfl_down_sync(kAll, 100 + lane, 3, 8);
    mine[4] = __shfl_xor_sync(kAll, 100 + lane, 16);
    mine[5] = __shfl_sync(kAll, 100 + lane, 2, 8);
    mine[6] = static_cast<int>(__ballot_sync(kAll, lane % 3 == 0));
    mine[7] = __any_sync(kAll, lane == 31) + 2 * __any_sync(kAll, lane == 32);
}

TEST(shuffles_and_votes) {
    for (const char* name : kOrders) {
        const Setting setting = order(name);
        const DeviceArray<int> y(8 * 32);
        launch(shuffles, 1, 32, 0, nullptr, y.data());
        const std::vector<int> values = y.values();
        for (int lane = 0; lane < 32; ++lane) {
            const int* const mine = values.data() + 8 * lane;
            CHECK(mine[0] == 105);
            CHECK(mine[1] == 100 + (lane + 1) % 32);
            CHECK(mine[2] == 100 + (lane + 4 < 32 ? lane + 4 : lane));
            CHECK(mine[3] == 100 + (lane % 8 + 3 < 8 ? lane + 3 : lane));
            CHECK(mine[4] == 100 + (lane ^ 16));
            CHECK(mine[5] == 100 + lane / 8 * 8 + 2);
            CHECK(mine[6] == 0x49249249);
            CHECK(mine[7] == 1);
        }
    }
}

__global__ void halves(double* y) {
    double value = threadIdx.x;
    if (threadIdx.x < 16) {
        for (int step = 8; step > 0; step /= 2) value += __shfl_xor_sync(0xffffU, value, step);
    } else {
        for (int step = 8; step > 0; step /= 2) value *= __shfl_xor_sync(0xffff0000U, value, step);
    }
    y[threadIdx.x] = value;
}

TEST(two_masks_in_one_warp) {
    const DeviceArray<double> y(32);
    launch(halves, 1, 32, 0, nullptr, y.data());
    CHECK(y.values()[3] == 120.0);
    CHECK(y.values()[20] == y.values()[31]);
}

__global__ void reversed(float* y) {
    ISTHMUS_SHARED(float, tile, 256);
    tile[threadIdx.x] = static_cast<float>(threadIdx.x);
    __syncthreads();
    y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

TEST(a_barrier_holds_all_warps_even_partial_ones) {
    for (const char* name : kOrders) {
        const Setting setting = order(name);
        for (const unsigned threads : {1U, 31U, 32U, 33U, 100U, 256U}) {
            const DeviceArray<float> y(threads);
            launch(reversed, 1, threads, 0, nullptr, y.data());
            CHECK(y.values()[0] == static_cast<float>(threads - 1));
        }
    }
}

__global__ void counts(unsigned* integers, float* reals) {
    atomicAdd(integers, 1U);
    atomicOr(integers + 1, 1U << threadIdx.x % 32);
    atomicExch(integers + 2, 7U);
    atomicMin(integers + 3, 9U + threadIdx.x);
    atomicAdd(reals, 0.5F);
}

TEST(atomics) {
    const DeviceArray<unsigned> integers(std::vector<unsigned>{0, 0, 0, kAll});
    const DeviceArray<float> reals(std::vector<float>(1));
    launch(counts, dim3(2, 3), 40, 0, nullptr, integers.data(), reals.data());
    CHECK(integers.values() == (std::vector<unsigned>{240, kAll, 7, 9}));
    CHECK(reals.values()[0] == 120.0F);
}

// ---- what does not meet -------------------------------------------------------------------------------------------

__global__ void two_sites() {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
__global__ void early_end() {
    if (threadIdx.x == 7) return;
    __syncthreads();
}
__global__ void missing_lane() {
    if (threadIdx.x != 3) __syncwarp();
    __syncthreads();
}
__global__ void other_mask() {
    if (threadIdx.x < 16) {
        __syncwarp(0x0000ffffU);
    } else {
        __syncwarp(kAll);
    }
}
__global__ void crossed() {
    if (threadIdx.x < 16) {
        __syncwarp();
    } else {
        __shfl_sync(kAll, 1, 0);
    }
}
__global__ void outside_of_mask() { __syncwarp(1U); }

template <class... P>
std::string report_of_kernel(void (*kernel)(P...), unsigned threads = 64) {
    return report_of([&] { launch(kernel, 1, threads, 0, nullptr); });
}

TEST(divergence_and_deadlock_are_reported_with_their_place) {
    for (const char* name : kOrders) {
        const Setting setting = order(name);
        CHECK(contains(report_of_kernel(two_sites), "divergent barrier"));
        CHECK(contains(report_of_kernel(early_end), "divergent barrier"));
        CHECK(contains(report_of_kernel(early_end), "test_collectives.cpp:"));
        const std::string deadlock = report_of_kernel(missing_lane);
        CHECK(contains(deadlock, "deadlock"));
        CHECK(contains(deadlock, "threads 0-2, 4-31 wait in __syncwarp at test_collectives.cpp:"));
        CHECK(contains(deadlock, "threads 3, 32-63 wait in __syncthreads"));
        // Either half may see it; an ended half excuses the other.
        CHECK(contains(report_of_kernel(crossed), "divergent collective"));
        CHECK(contains(report_of_kernel(outside_of_mask), "lacks the lane that calls"));
    }
    CHECK(report_of_kernel(other_mask).empty());  // the lower half ends, and the upper waits for none that is alive
}

__global__ void throws_at(unsigned number) {
    ISTHMUS_SHARED(int, value, 1);
    __syncthreads();
    if (threadIdx.x == number) throw std::runtime_error("thrown by a thread");
    if (threadIdx.x == 0) value[0] = 1;
    __syncthreads();
}

TEST(an_exception_leaves_the_kernel_and_the_next_one_runs) {
    for (int i = 0; i < 3; ++i) {
        std::string what;
        try {
            launch(throws_at, 4, 128, 0, nullptr, 77U);
        } catch (const std::runtime_error& error) {
            what = error.what();
        }
        CHECK(what == "thrown by a thread");
        launch(throws_at, 4, 128, 0, nullptr, 128U);
    }
}

}  // namespace
