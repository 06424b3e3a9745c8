// SPDX-License-Identifier: Apache-2.0
// Graphs: what was queued on one stream while it was captured, to be run again in that order.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "stream.hpp"

namespace cuda_emulator {

// What a stream has been given since its capture began; run by no one until a graph of it is launched.
struct Capture {
    std::vector<std::function<void()>> operations;
    cudaStreamCaptureMode mode;
    std::thread::id thread;  // that began it
};

// Report: `call` may not be made while this stream is captured; nor, one that waits or allocates, while the mode of any
// capture forbids it to this thread.
void not_while_captured(const CUstream_st& stream, const char* call);
void not_while_capturing(const char* call);

}  // namespace cuda_emulator

struct CUgraph_st {
    std::shared_ptr<const cuda_emulator::Capture> captured;
};
struct CUgraphExec_st {
    std::shared_ptr<const cuda_emulator::Capture> captured;
};
