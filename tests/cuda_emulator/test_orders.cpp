// SPDX-License-Identifier: Apache-2.0
// Orders differ from each other, repeat themselves, and show what one order alone would not.
#include <cmath>
#include <set>

#include "../cpp/check.hpp"
#include "emulated.hpp"

using namespace emulated;

namespace {

// The ticket of each thread in two phases.
__global__ void tickets(int* counter, int* ticket) {
    const unsigned thread = (blockIdx.x * blockDim.x + threadIdx.x) * 2;
    ticket[thread] = atomicAdd(counter, 1);
    __syncthreads();
    ticket[thread + 1] = atomicAdd(counter, 1);
}

std::vector<int> interleaving(const char* name) {
    const Setting setting = order(name);
    const DeviceArray<int> counter(std::vector<int>(1));
    const DeviceArray<int> ticket(2 * 5 * 96);
    launch(tickets, 5, 96, 0, nullptr, counter.data(), ticket.data());
    return ticket.values();
}

TEST(orders_differ_and_repeat) {
    std::set<std::vector<int>> all;
    for (const char* name : kOrders) {
        const std::vector<int> once = interleaving(name);
        CHECK(once == interleaving(name));
        CHECK(std::set<int>(once.begin(), once.end()).size() == once.size());
        all.insert(once);
    }
    CHECK(all.size() == std::size(kOrders));
    CHECK(interleaving("forward")[0] == 0);
    CHECK(interleaving("reverse")[2 * (5 * 96 - 1)] == 0);
    CHECK(contains(report_of([] { interleaving("sideways"); }), "sideways"));
}

#if !defined(__SANITIZE_THREAD__)  // which sees these at once
// Each order alone lets some of these through; one of them must not.
template <int missing>
__global__ void passes_on(float* y) {
    ISTHMUS_SHARED(float, tile, 64);
    for (int i = 0; i < 3; ++i) {
        tile[threadIdx.x] = static_cast<float>(i + 1);
        if (missing != 1) __syncthreads();
        y[threadIdx.x] = tile[(threadIdx.x + 33) % 64];
        if (missing != 2) __syncthreads();
    }
}

template <int missing>
int wrong_orders() {
    int wrong = 0;
    for (const char* name : kOrders) {
        const Setting setting = order(name);
        const DeviceArray<float> y(64);
        launch(passes_on<missing>, 1, 64, 0, nullptr, y.data());
        for (const float value : y.values()) {
            if (value == 3.0F) continue;
            ++wrong;
            break;
        }
    }
    return wrong;
}

TEST(a_missing_barrier_shows) {
    CHECK(wrong_orders<0>() == 0);
    CHECK(wrong_orders<1>() > 0);
}

// A read that comes too late: the tile has been written to for the next round.
template <bool guarded>
__global__ void sums(float* y) {
    ISTHMUS_SHARED(float, tile, 64);
    float sum = 0.0F;
    for (int i = 0; i < 4; ++i) {
        tile[threadIdx.x] = static_cast<float>(1 << i);
        __syncthreads();
        sum += tile[63 - threadIdx.x];
        if (guarded) __syncthreads();
    }
    y[threadIdx.x] = sum;
}

template <bool guarded>
int wrong_sums() {
    int wrong = 0;
    for (const char* name : kOrders) {
        const Setting setting = order(name);
        const DeviceArray<float> y(64);
        launch(sums<guarded>, 1, 64, 0, nullptr, y.data());
        for (const float value : y.values()) wrong += value == 15.0F ? 0 : 1;
    }
    return wrong;
}

TEST(overwriting_too_early_shows) {
    CHECK(wrong_sums<true>() == 0);
    CHECK(wrong_sums<false>() > 0);
}
#endif

}  // namespace
