// SPDX-License-Identifier: Apache-2.0
// Capture and graphs: what is captured runs when the graph is launched, as often, and in the stream's time; what may
// not be captured is reported.
#include <thread>

#include "../cpp/check.hpp"
#include "emulated.hpp"

using namespace emulated;

namespace {

__global__ void scale(float* x, float factor) { x[threadIdx.x] *= factor; }
__global__ void add_counted(float* x, unsigned* counter) {
    x[threadIdx.x] += static_cast<float>(*counter);
    __syncthreads();
    if (threadIdx.x == 0) ++*counter;
}

void begin(const Stream& stream, cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    must(cudaStreamBeginCapture(stream.handle, mode));
}

struct Graph {
    cudaGraph_t handle = nullptr;
    cudaGraphExec_t exec = nullptr;

    // Ends the capture.
    explicit Graph(const Stream& stream) {
        must(cudaStreamEndCapture(stream.handle, &handle));
        must(cudaGraphInstantiate(&exec, handle));
    }
    ~Graph() {
        cudaGraphExecDestroy(exec);
        cudaGraphDestroy(handle);
    }
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
};

TEST(a_graph_runs_as_often_as_it_is_launched_and_not_before) {
    for (const char* time : {"early", "late"}) {
        const Setting setting = streams(time);
        const Stream stream;
        const DeviceArray<float> x(std::vector<float>{1, 2, 3, 4}), y(std::vector<float>(4));
        begin(stream);
        launch(scale, 1, 4, 0, stream.handle, x.data(), 2.0F);
        must(cudaMemcpyAsync(y.data(), x.data(), 16, cudaMemcpyDeviceToDevice, stream.handle));
        must(cudaMemsetAsync(x.data(), 0, 4, stream.handle));
        const Graph graph(stream);
        must(cudaStreamSynchronize(stream.handle));
        CHECK(x.values() == (std::vector<float>{1, 2, 3, 4}));
        for (int i = 0; i < 2; ++i) must(cudaGraphLaunch(graph.exec, stream.handle));
        launch(scale, 1, 4, 0, stream.handle, x.data(), 10.0F);  // after both
        must(cudaStreamSynchronize(stream.handle));
        CHECK(x.values() == (std::vector<float>{0, 80, 120, 160}));
        CHECK(y.values() == (std::vector<float>{0, 8, 12, 16}));
    }
}

TEST(a_launch_obeys_the_time_of_its_stream) {
    const Setting setting = streams("late");
    const Stream stream;
    const Event event;
    const DeviceArray<float> x(std::vector<float>{1});
    begin(stream);
    launch(scale, 1, 1, 0, stream.handle, x.data(), 2.0F);
    const Graph graph(stream);
    must(cudaGraphLaunch(graph.exec, stream.handle));
    must(cudaEventRecord(event.handle, stream.handle));
    CHECK(x.values()[0] == 1.0F);
    must(cudaEventSynchronize(event.handle));
    CHECK(x.values()[0] == 2.0F);
}

TEST(a_counter_on_the_device_tells_one_launch_from_the_next) {
    const Stream stream;
    const DeviceArray<float> x(std::vector<float>(3));
    const DeviceArray<unsigned> counter(std::vector<unsigned>(1));
    begin(stream);
    for (int i = 0; i < 2; ++i) launch(add_counted, 1, 3, 0, stream.handle, x.data(), counter.data());
    const Graph graph(stream);
    for (int i = 0; i < 3; ++i) must(cudaGraphLaunch(graph.exec, stream.handle));
    must(cudaStreamSynchronize(stream.handle));
    CHECK(counter.values()[0] == 6 && x.values() == std::vector<float>(3, 15.0F));
}

TEST(an_exec_may_go_before_its_launches_are_done) {
    const Setting setting = streams("late");
    const Stream stream;
    const DeviceArray<float> x(std::vector<float>{1});
    begin(stream);
    launch(scale, 1, 1, 0, stream.handle, x.data(), 2.0F);
    {
        const Graph graph(stream);
        must(cudaGraphLaunch(graph.exec, stream.handle));
    }
    must(cudaStreamSynchronize(stream.handle));
    CHECK(x.values()[0] == 2.0F);
}

TEST(handles_must_live) {
    const Stream stream;
    begin(stream);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    must(cudaStreamEndCapture(stream.handle, &graph));
    must(cudaGraphInstantiate(&exec, graph));
    must(cudaGraphDestroy(graph));
    must(cudaGraphLaunch(exec, stream.handle));  // which needs its graph no more
    must(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphLaunch(exec, stream.handle) == cudaErrorInvalidValue);
    CHECK(cudaGraphInstantiate(&exec, graph) == cudaErrorInvalidValue);
    CHECK(cudaGraphDestroy(graph) == cudaErrorInvalidValue);
    CHECK(cudaStreamEndCapture(stream.handle, &graph) == cudaErrorIllegalState);
    cudaGetLastError();
}

TEST(what_a_capture_forbids_is_reported) {
    const Stream stream, other;
    const Event event;
    const DeviceArray<float> x(4);
    float host[4] = {};
    float* more = nullptr;
    const auto refused = [&](auto&& call) {
        begin(stream);
        const std::string report = report_of(call);
        cudaGraph_t graph = nullptr;
        if (cudaStreamEndCapture(stream.handle, &graph) == cudaSuccess) cudaGraphDestroy(graph);
        cudaGetLastError();
        return contains(report, "captured");
    };
    const cudaStream_t s = stream.handle;
    CHECK(refused([&] { cudaStreamSynchronize(s); }));
    CHECK(refused([&] { cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed); }));
    CHECK(refused([&] { cudaEventRecord(event.handle, s); }));
    CHECK(refused([&] { cudaStreamWaitEvent(s, event.handle); }));
    CHECK(refused([&] { cudaEventSynchronize(event.handle); }));
    CHECK(refused([&] { cudaEventQuery(event.handle); }));
    CHECK(refused([&] { cudaMemcpyAsync(host, x.data(), 16, cudaMemcpyDeviceToHost, s); }));
    CHECK(refused([&] { cudaMemcpyAsync(x.data(), host, 16, cudaMemcpyDefault, s); }));
    CHECK(refused([&] { cudaMalloc(&more, 16); }));
    CHECK(refused([&] { cudaMallocHost(&more, 16); }));
    CHECK(!refused([&] { cudaStreamSynchronize(other.handle); }));
    CHECK(!refused([&] { launch(scale, 1, 4, 0, s, x.data(), 2.0F); }));
}

TEST(another_thread_may_allocate_unless_the_mode_is_global) {
    const Stream stream;
    const auto refused = [&](cudaStreamCaptureMode mode) {
        begin(stream, mode);
        std::string report;
        std::thread([&] { report = report_of([] { const DeviceArray<float> x(4); }); }).join();
        cudaGraph_t graph = nullptr;
        must(cudaStreamEndCapture(stream.handle, &graph));
        must(cudaGraphDestroy(graph));
        return !report.empty();
    };
    CHECK(refused(cudaStreamCaptureModeGlobal));
    CHECK(!refused(cudaStreamCaptureModeThreadLocal));
    CHECK(!refused(cudaStreamCaptureModeRelaxed));
}

TEST(a_report_in_a_graph_empties_the_streams) {
    const Setting setting = streams("late");
    const Stream stream;
    begin(stream);
    launch(+[] { __syncwarp(1U << (31 - threadIdx.x)); }, 1, 32, 0, stream.handle);
    const Graph graph(stream);
    must(cudaGraphLaunch(graph.exec, stream.handle));
    CHECK(!report_of([&] { cudaStreamSynchronize(stream.handle); }).empty());
    CHECK(cudaStreamSynchronize(stream.handle) == cudaSuccess);
}

}  // namespace
