// SPDX-License-Identifier: Apache-2.0
// Memory: poison, bounds, cp.async, and what the runtime says of pointers and of memory that runs out.
#include <cmath>

#include "../cpp/check.hpp"
#include "emulated.hpp"

using namespace emulated;

namespace {

__global__ void reads_unwritten(const float* x, float* y) {
    ISTHMUS_SHARED(float, tile, 32);
    ISTHMUS_DYNAMIC_SHARED(double, more);
    y += 3 * blockIdx.x;
    if (threadIdx.x == 0) {
        y[0] = x[0];
        y[1] = tile[5];
        y[2] = static_cast<float>(more[3]);
        tile[5] = 1.0F;  // gone when the next block starts
        more[3] = 1.0;
    }
}

TEST(memory_starts_as_nan) {
    const DeviceArray<float> x(4), y(6);
    launch(reads_unwritten, 2, 32, 64, nullptr, x.data(), y.data());
    for (const float value : y.values()) CHECK(std::isnan(value));
}

__global__ void writes_shared(int at) {
    ISTHMUS_SHARED(float, first, 8);
    ISTHMUS_SHARED(float, second, 8);
    float* const p = first;
    p[at] = 0.0F;
    second[0] = 0.0F;
}

__global__ void writes(float* y, int at) { y[at] = 0.0F; }

#if defined(__SANITIZE_ADDRESS__)
TEST(overruns_end_the_process_and_the_host_does_not_see_device_memory) {
    const DeviceArray<float> y(12);
    CHECK(exit_code_of([] { launch(writes_shared, 1, 1, 0, nullptr, 7); }) == 0);
    CHECK(exit_code_of([&] { launch(writes, 1, 1, 0, nullptr, y.data(), 11); }) == 0);
    for (const int at : {8, 200, -1}) CHECK(exit_code_of([=] { launch(writes_shared, 1, 1, 0, nullptr, at); }) != 0);
    for (const int at : {12, 13, -1}) CHECK(exit_code_of([&] { launch(writes, 1, 1, 0, nullptr, y.data(), at); }) != 0);
    CHECK(exit_code_of([&] { *static_cast<volatile float*>(y.data()) = 0.0F; }) != 0);
}
#else
TEST(overruns_are_reported) {
    CHECK(report_of([] { launch(writes_shared, 1, 1, 0, nullptr, 7); }).empty());
    for (const int at : {8, 100, -1}) {
        const std::string report = report_of([=] { launch(writes_shared, 1, 1, 0, nullptr, at); });
        CHECK(contains(report, ("byte " + std::to_string(4 * at) + " of \"first\", which has 32").c_str()));
    }
    for (const int at : {-1, 12, 100}) {
        float* y = nullptr;
        must(cudaMalloc(&y, 12 * sizeof(float)));
        CHECK(contains(report_of([=] { launch(writes, 1, 1, 0, nullptr, y, at); }), "was written to by a kernel"));
        must(cudaFree(y));  // it is said once
    }
}
#endif

TEST(copies_stay_within_allocations) {
    const DeviceArray<float> y(12);
    CHECK(contains(report_of([&] {
                       std::vector<float> host(13);
                       cudaMemcpyAsync(y.data(), host.data(), 13 * sizeof(float), cudaMemcpyHostToDevice, nullptr);
                   }),
                   "run over the end of an allocation of 48"));
    CHECK(contains(report_of([&] { cudaMemsetAsync(y.data() + 1, 0, 48, nullptr); }), "not all in one allocation"));
}

TEST(pointers_are_checked) {
    float host = 0.0F;
    CHECK(contains(report_of([&] { launch(writes, 1, 1, 0, nullptr, &host, 0); }), "argument 0"));
    const DeviceArray<float> y(4);
    CHECK(!report_of([&] { cudaMemcpyAsync(y.data(), y.data(), 4, cudaMemcpyHostToDevice, nullptr); }).empty());
    CHECK(!report_of([&] { cudaMemcpyAsync(&host, y.data(), 4, cudaMemcpyDeviceToDevice, nullptr); }).empty());
    CHECK(report_of([&] { cudaMemcpyAsync(&host, y.data(), 4, cudaMemcpyDefault, nullptr); }).empty());

    cudaPointerAttributes attributes;
    must(cudaPointerGetAttributes(&attributes, y.data() + 3));
    CHECK(attributes.type == cudaMemoryTypeDevice && attributes.device == 0);
    must(cudaPointerGetAttributes(&attributes, &host));
    CHECK(attributes.type == cudaMemoryTypeUnregistered);
    float* pinned = nullptr;
    must(cudaMallocHost(&pinned, 64));
    must(cudaPointerGetAttributes(&attributes, pinned));
    CHECK(attributes.type == cudaMemoryTypeHost);
    launch(writes, 1, 1, 0, nullptr, pinned, 0);
    CHECK(pinned[0] == 0.0F && std::isnan(pinned[1]));
    must(cudaFreeHost(pinned));
    CHECK(cudaFree(&host) == cudaErrorInvalidValue);
    CHECK(cudaGetLastError() == cudaErrorInvalidValue);
}

TEST(memory_runs_out) {
    const Setting setting("ISTHMUS_EMULATOR_MEMORY", "1000");
    std::size_t free = 0, total = 0;
    const DeviceArray<float> y(200);
    must(cudaMemGetInfo(&free, &total));
    CHECK(total == 1000 && free == 200);
    CHECK_THROWS(DeviceArray<float>(51), isthmus::ErrorKind::memory);
    CHECK(cudaGetLastError() == cudaSuccess);
    const DeviceArray<float> fits(50);
}

TEST(devices) {
    int count = 0;
    must(cudaGetDeviceCount(&count));
    CHECK(count == 1);
    CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
    const Setting setting("ISTHMUS_EMULATOR_DEVICES", "0");
    CHECK_THROWS(must(cudaGetDeviceCount(&count)), isthmus::ErrorKind::runtime);
}

TEST(launches_are_checked) {
    const DeviceArray<float> y(1);
    const auto launched = [&](dim3 grid, dim3 block, std::size_t bytes) {
        launch(writes, grid, block, bytes, nullptr, y.data(), 0);
    };
    CHECK_THROWS(launched(0, 32, 0), isthmus::ErrorKind::runtime);
    CHECK_THROWS(launched(1, 1025, 0), isthmus::ErrorKind::runtime);
    CHECK_THROWS(launched(dim3(1, 65536), 1, 0), isthmus::ErrorKind::runtime);
    CHECK_THROWS(launched(1, 1, 228 * 1024), isthmus::ErrorKind::runtime);
    launched(1, 1, 227 * 1024);
}

// ---- cp.async -----------------------------------------------------------------------------------------------------

// y: before the wait, after it for the first group, then for the second with 8 of 16 bytes valid.
__global__ void copies(const float* x, float* y) {
    ISTHMUS_SHARED(float, tile, 8);
    for (int i = 0; i < 8; ++i) tile[i] = -1.0F;
    isthmus::cuda::copy_async_16(tile, x);
    isthmus::cuda::copy_async_commit();
    isthmus::cuda::copy_async_16(tile + 4, x + 4, 8);
    isthmus::cuda::copy_async_commit();
    y[0] = tile[0];
    isthmus::cuda::copy_async_wait<1>();
    y[1] = tile[0];
    y[2] = tile[4];
    isthmus::cuda::copy_async_wait<0>();
    y[3] = tile[5];
    y[4] = tile[6];
    isthmus::cuda::copy_async_4(tile, x + 7);
    isthmus::cuda::copy_async_4(tile + 1, x + 100, 0);  // reads nothing
    isthmus::cuda::copy_async_wait<0>();                // waits for closed groups only
    y[5] = tile[0];
    isthmus::cuda::copy_async_commit();
    isthmus::cuda::copy_async_wait<0>();
    y[6] = tile[0];
    y[7] = tile[1];
}

TEST(asynchronous_copies_arrive_at_the_wait) {
    const DeviceArray<float> x(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}), y(8);
    launch(copies, 1, 1, 0, nullptr, x.data(), y.data());
    const std::vector<float> values = y.values();
    CHECK(std::isnan(values[0]) && values[1] == 1.0F);
    CHECK(std::isnan(values[2]) && values[3] == 6.0F && values[4] == 0.0F);
    CHECK(std::isnan(values[5]) && values[6] == 8.0F && values[7] == 0.0F);
}

__global__ void copies_from(const float* x, int from, int to) {
    ISTHMUS_SHARED(float, tile, 8);
    isthmus::cuda::copy_async_16(tile + to, x + from);
}

TEST(asynchronous_copies_are_checked) {
    const DeviceArray<float> x(10);
    const auto report = [&](int from, int to) {
        return report_of([&] { launch(copies_from, 1, 1, 0, nullptr, x.data(), from, to); });
    };
    CHECK(report(4, 4).empty());
    CHECK(contains(report(1, 0), "not aligned"));
    CHECK(contains(report(0, 2), "not aligned"));
    CHECK(contains(report(8, 0), "reads outside"));
    CHECK(contains(report(0, 8), "writes outside"));
}

}  // namespace
