// SPDX-License-Identifier: Apache-2.0
// Streams and events as the runtime offers them.
#include <chrono>
#include <mutex>

#include "graph.hpp"
#include "runtime.hpp"
#include "stream.hpp"

using namespace cuda_emulator;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    const std::lock_guard lock(runtime_mutex());
    if (broken()) return failed(cudaErrorIllegalAddress);
    *stream = streams().create(current_device());
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const std::lock_guard lock(runtime_mutex());
    bool destroyed = true;
    releasing([&] { destroyed = streams().destroy(stream); });
    if (broken()) return failed(cudaErrorIllegalAddress);
    return destroyed ? cudaSuccess : failed(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const std::lock_guard lock(runtime_mutex());
    const auto found = streams().find(stream, current_device());
    if (found == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    not_while_captured(*found, "cudaStreamSynchronize");
    streams().run_until({found, found->queued});
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    const std::lock_guard lock(runtime_mutex());
    const auto found = streams().find(stream, current_device());
    if (found == nullptr || event == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    not_while_captured(*found, "cudaStreamWaitEvent");
    streams().queue(found, {[] {}, event->recorded, nullptr, 0});
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    if (broken()) return failed(cudaErrorIllegalAddress);
    *event = new CUevent_st;
    (*event)->flags = flags;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const std::lock_guard lock(runtime_mutex());
    if (event == nullptr) return failed(cudaErrorInvalidResourceHandle);
    delete event;
    return broken() ? failed(cudaErrorIllegalAddress) : cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    const std::lock_guard lock(runtime_mutex());
    const auto found = streams().find(stream, current_device());
    if (found == nullptr || event == nullptr || found->device != current_device()) {
        return failed(cudaErrorInvalidResourceHandle);
    }
    if (broken()) return failed(cudaErrorIllegalAddress);
    not_while_captured(*found, "cudaEventRecord");
    event->milliseconds = std::make_shared<double>(0.0);
    const auto stamp = [at = event->milliseconds] {
        const auto now = std::chrono::steady_clock::now().time_since_epoch();
        *at = std::chrono::duration<double, std::milli>(now).count();
    };
    event->recorded = streams().queue(found, {stamp, {}, nullptr, 0});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    const std::lock_guard lock(runtime_mutex());
    if (event == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    not_while_capturing("cudaEventSynchronize");
    streams().run_until(event->recorded);
    return cudaSuccess;
}

// Who asks again and again sees the stream go on, one operation each time.
cudaError_t cudaEventQuery(cudaEvent_t event) {
    const std::lock_guard lock(runtime_mutex());
    if (event == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    not_while_capturing("cudaEventQuery");
    if (event->recorded.reached()) return cudaSuccess;
    streams().run_one(*event->recorded.stream);
    return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t first, cudaEvent_t last) {
    const std::lock_guard lock(runtime_mutex());
    for (const cudaEvent_t event : {first, last}) {
        if (event == nullptr || event->recorded.stream == nullptr || (event->flags & cudaEventDisableTiming) != 0) {
            return failed(cudaErrorInvalidResourceHandle);
        }
        if (!event->recorded.reached()) return cudaErrorNotReady;
    }
    *milliseconds = static_cast<float>(*last->milliseconds - *first->milliseconds);
    return cudaSuccess;
}
