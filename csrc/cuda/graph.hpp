// SPDX-License-Identifier: Apache-2.0
// Work that is queued once and launched again and again: one call of the driver for many kernels, which then follow one
// another without the host.
#pragma once

#include <utility>

#include "cuda/launch.hpp"

namespace isthmus::cuda {

class Graph {
public:
    // Of what queue() queues on the stream, which is not run. Nothing in it may wait, allocate or touch memory of the
    // host, except through kernels; that holds for this thread alone.
    template <class Queue>
    Graph(cudaStream_t stream, Queue&& queue) {
        cudaGraph_t graph = nullptr;
        check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
        try {
            queue();
        } catch (...) {
            if (cudaStreamEndCapture(stream, &graph) == cudaSuccess && graph != nullptr) {
                static_cast<void>(cudaGraphDestroy(graph));
            }
            cudaGetLastError();
            throw;
        }
        check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
        const cudaError_t result = cudaGraphInstantiate(&exec_, graph, 0);
        static_cast<void>(cudaGraphDestroy(graph));
        check(result, "cudaGraphInstantiate");
    }
    Graph(Graph&& other) noexcept : exec_(std::exchange(other.exec_, nullptr)) {}
    Graph& operator=(Graph&& other) noexcept {
        std::swap(exec_, other.exec_);
        return *this;
    }
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    ~Graph() {
        if (exec_ != nullptr) static_cast<void>(cudaGraphExecDestroy(exec_));
    }

    void launch(cudaStream_t stream) const { check(cudaGraphLaunch(exec_, stream), "cudaGraphLaunch"); }

private:
    cudaGraphExec_t exec_ = nullptr;
};

}  // namespace isthmus::cuda
