// SPDX-License-Identifier: Apache-2.0
// Streams: early and late give the same to a program that waits where it must, and not to one that does not.
#include <cmath>

#include "../cpp/check.hpp"
#include "emulated.hpp"

using namespace emulated;

namespace {

const char* const kTimes[] = {"early", "late", "1", "2", "3", "4", "5", "6"};

__global__ void scale(float* x, float factor) { x[threadIdx.x] *= factor; }
__global__ void copy(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }

TEST(a_late_stream_does_nothing_until_someone_waits) {
    const Setting setting = streams("late");
    const DeviceArray<float> x(std::vector<float>{1, 2, 3, 4});
    const Stream stream;
    float host[4] = {9, 9, 9, 9};
    launch(scale, 1, 4, 0, stream.handle, x.data(), 2.0F);
    must(cudaMemcpyAsync(host, x.data(), sizeof host, cudaMemcpyDeviceToHost, stream.handle));
    for (const float value : host) CHECK(std::isnan(value));
    CHECK(x.values()[3] == 4.0F);  // read in another stream, which does not wait
    must(cudaStreamSynchronize(stream.handle));
    CHECK(host[0] == 2.0F && host[3] == 8.0F);
}

TEST(pinned_memory_is_read_when_the_copy_runs) {
    const Setting setting = streams("late");
    const DeviceArray<float> x(4);
    const Pinned pinned(16);
    float pageable[4] = {1, 1, 1, 1};
    for (int i = 0; i < 4; ++i) pinned.data[i] = 1.0F;
    for (const float* from : {static_cast<const float*>(pinned.data), static_cast<const float*>(pageable)}) {
        must(cudaMemcpyAsync(x.data(), from, sizeof pageable, cudaMemcpyHostToDevice, nullptr));
        const_cast<float*>(from)[0] = 5.0F;  // too early, for pinned memory
        CHECK(x.values()[0] == (from == pinned.data ? 5.0F : 1.0F));
    }
}

TEST(a_copy_from_and_to_one_buffer) {
    const Setting setting = streams("late");
    const DeviceArray<float> x(4);
    const Pinned pinned(16);
    for (int i = 0; i < 4; ++i) pinned.data[i] = 3.0F;
    must(cudaMemcpyAsync(x.data(), pinned.data, 16, cudaMemcpyHostToDevice, nullptr));
    launch(scale, 1, 4, 0, nullptr, x.data(), 2.0F);
    must(cudaMemcpyAsync(pinned.data, x.data(), 16, cudaMemcpyDeviceToHost, nullptr));
    CHECK(pinned.data[0] == 3.0F);  // the first copy is yet to read it
    must(cudaStreamSynchronize(nullptr));
    CHECK(pinned.data[0] == 6.0F);
}

TEST(rows_of_a_matrix) {
    const DeviceArray<float> x(std::vector<float>(12, 0.0F));
    const float host[] = {1, 2, 3, 4, 5, 6};
    must(cudaMemcpy2DAsync(x.data() + 1, 16, host, 8, 8, 3, cudaMemcpyHostToDevice, nullptr));
    CHECK(x.values() == (std::vector<float>{0, 1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0}));
    float back[6];
    must(cudaMemcpy2DAsync(back, 8, x.data() + 1, 16, 8, 3, cudaMemcpyDeviceToHost, nullptr));
    must(cudaStreamSynchronize(nullptr));
    CHECK(std::equal(back, back + 6, host));
}

TEST(events) {
    for (const char* time : {"early", "late"}) {
        const Setting setting = streams(time);
        const bool late = std::string(time) == "late";
        const DeviceArray<float> x(std::vector<float>{1, 2, 3, 4});
        const Stream stream;
        const Event first, last, quiet(cudaEventDisableTiming);
        float milliseconds = -1.0F;
        must(cudaEventRecord(first.handle, stream.handle));
        launch(scale, 1, 4, 0, stream.handle, x.data(), 2.0F);
        must(cudaEventRecord(last.handle, stream.handle));
        must(cudaEventRecord(quiet.handle, stream.handle));
        CHECK((cudaEventElapsedTime(&milliseconds, first.handle, last.handle) == cudaErrorNotReady) == late);
        int asked = 0;
        while (cudaEventQuery(last.handle) == cudaErrorNotReady) ++asked;
        CHECK(asked == (late ? 3 : 0));
        CHECK(cudaEventQuery(quiet.handle) == (late ? cudaErrorNotReady : cudaSuccess));
        must(cudaEventSynchronize(quiet.handle));
        must(cudaEventElapsedTime(&milliseconds, first.handle, last.handle));
        CHECK(milliseconds >= 0.0F);
        CHECK(cudaEventElapsedTime(&milliseconds, first.handle, quiet.handle) != cudaSuccess);
        cudaGetLastError();
    }
}

// Two buffers fed by one stream and used by another, as batches are. The copy of batch i + 2 must wait for the use of
// batch i, the use of a batch for its copy; and the host for the use before it fills a pinned buffer again.
enum class Missing { nothing, copy_before_use, use_before_copy, synchronize };

bool right(Missing missing) {
    constexpr int kBatches = 6;
    std::vector<float> result(4 * kBatches);  // outlives the streams: a copy that nobody waits for comes late
    const Stream compute, transfer;
    const Event copied[2], used[2];
    const Pinned pinned[2] = {Pinned(16), Pinned(16)};
    const DeviceArray<float> buffer(8), out(4 * kBatches);
    for (int i = 0; i < kBatches; ++i) {
        const int b = i % 2;
        float* const on_device = buffer.data() + 4 * b;
        if (i >= 2) must(cudaEventSynchronize(copied[b].handle));
        for (int j = 0; j < 4; ++j) pinned[b].data[j] = static_cast<float>(4 * i + j);
        if (i >= 2 && missing != Missing::use_before_copy) {
            must(cudaStreamWaitEvent(transfer.handle, used[b].handle));
        }
        must(cudaMemcpyAsync(on_device, pinned[b].data, 16, cudaMemcpyHostToDevice, transfer.handle));
        must(cudaEventRecord(copied[b].handle, transfer.handle));
        if (missing != Missing::copy_before_use) {
            must(cudaStreamWaitEvent(compute.handle, copied[b].handle));
        }
        launch(copy, 1, 4, 0, compute.handle, on_device, out.data() + 4 * i);
        must(cudaEventRecord(used[b].handle, compute.handle));
    }
    must(cudaMemcpyAsync(result.data(), out.data(), result.size() * 4, cudaMemcpyDeviceToHost, compute.handle));
    if (missing != Missing::synchronize) must(cudaStreamSynchronize(compute.handle));
    bool equal = true;
    for (int i = 0; i < 4 * kBatches; ++i)
        equal = equal && result[static_cast<std::size_t>(i)] == static_cast<float>(i);
    return equal;
}

int wrong_times(Missing missing) {
    int wrong = 0;
    for (const char* time : kTimes) {
        const Setting setting = streams(time);
        wrong += right(missing) ? 0 : 1;
    }
    return wrong;
}

TEST(a_missing_wait_between_streams_shows) {
    CHECK(wrong_times(Missing::nothing) == 0);
    CHECK(wrong_times(Missing::copy_before_use) > 0);
    CHECK(wrong_times(Missing::use_before_copy) > 0);
    CHECK(wrong_times(Missing::synchronize) > 0);
}

TEST(an_unknown_time_is_refused) {
    const DeviceArray<float> x(4);
    const Setting setting = streams("sometimes");
    CHECK(contains(report_of([&] { cudaMemsetAsync(x.data(), 0, 16, nullptr); }), "sometimes"));
}

TEST(a_report_empties_the_streams) {
    const Setting setting = streams("late");
    const Stream stream;
    const DeviceArray<float> x(4);
    float host[4];
    must(cudaMemcpyAsync(host, x.data(), 16, cudaMemcpyDeviceToHost, stream.handle));
    launch(+[] { __syncwarp(1U << (31 - threadIdx.x)); }, 1, 32, 0, stream.handle);
    launch(scale, 1, 4, 0, stream.handle, x.data(), 2.0F);
    CHECK(!report_of([&] { cudaStreamSynchronize(stream.handle); }).empty());
    CHECK(cudaStreamSynchronize(stream.handle) == cudaSuccess);
}

}  // namespace
