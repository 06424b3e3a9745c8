// SPDX-License-Identifier: Apache-2.0
// Capture of one stream, and graphs. A graph's launch is one operation of its stream: early or late as any other.
// Capture over several streams, and nodes made by hand, are not emulated.
#include "graph.hpp"

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "runtime.hpp"

namespace cuda_emulator {

namespace {

// Handles that live: one that was destroyed, or never was, is an error as it is on the device.
template <class T>
std::set<T*>& alive() {
    static auto* const handles = new std::set<T*>;
    return *handles;
}

template <class T>
cudaError_t destroy(T* handle) {
    const std::lock_guard lock(runtime_mutex());
    if (alive<T>().erase(handle) == 0) return failed(cudaErrorInvalidValue);
    delete handle;
    return broken() ? failed(cudaErrorIllegalAddress) : cudaSuccess;
}

}  // namespace

void not_while_captured(const CUstream_st& stream, const char* call) {
    if (stream.capture) throw Report(std::string(call) + " on a stream that is captured");
}

void not_while_capturing(const char* call) {
    const bool forbidden = streams().any_captured([](const Capture& capture) {
        return capture.mode == cudaStreamCaptureModeGlobal ||
               (capture.mode == cudaStreamCaptureModeThreadLocal && capture.thread == std::this_thread::get_id());
    });
    if (forbidden) throw Report(std::string(call) + " while a stream is captured");
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    const std::lock_guard lock(runtime_mutex());
    const auto found = streams().find(stream, current_device());
    if (found == nullptr || stream == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    not_while_captured(*found, "cudaStreamBeginCapture");
    found->capture = std::make_shared<Capture>();
    found->capture->mode = mode;
    found->capture->thread = std::this_thread::get_id();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const std::lock_guard lock(runtime_mutex());
    const auto found = streams().find(stream, current_device());
    if (found == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (!found->capture) return failed(cudaErrorIllegalState);  // or a report has ended it
    *graph = *alive<CUgraph_st>().insert(new CUgraph_st{std::move(found->capture)}).first;
    found->capture = nullptr;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    const std::lock_guard lock(runtime_mutex());
    *exec = nullptr;
    if (!alive<CUgraph_st>().contains(graph)) return failed(cudaErrorInvalidValue);
    *exec = *alive<CUgraphExec_st>().insert(new CUgraphExec_st{graph->captured}).first;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    const std::lock_guard lock(runtime_mutex());
    if (!alive<CUgraphExec_st>().contains(exec)) return failed(cudaErrorInvalidValue);
    const auto found = streams().find(stream, current_device());
    if (found == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    not_while_captured(*found, "cudaGraphLaunch");
    const auto run = [captured = exec->captured] {  // which outlives the handle until it has run
        for (const auto& operation : captured->operations) operation();
    };
    streams().queue(found, {run, {}, nullptr, 0});
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return destroy(exec); }
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return destroy(graph); }
