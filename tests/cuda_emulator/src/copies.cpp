// SPDX-License-Identifier: Apache-2.0
// Copies and memset in a stream. Until a copy to the host has run, its destination is NaN; one from pageable memory of
// the host takes its bytes at once, one from pinned memory when it runs. (The real runtime may also wait in a copy to
// pageable memory; nothing should count on that.)
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda_emulator/launch.hpp"
#include "graph.hpp"
#include "memory.hpp"
#include "runtime.hpp"
#include "stream.hpp"

namespace cuda_emulator {

namespace {

struct Rectangle {
    std::byte* to;
    std::size_t to_pitch;
    const std::byte* from;
    std::size_t from_pitch;
    std::size_t width;
    std::size_t height;

    static std::size_t bytes(std::size_t pitch, std::size_t width, std::size_t height) {
        return (height - 1) * pitch + width;
    }
    std::size_t bytes_to() const { return bytes(to_pitch, width, height); }
    std::size_t bytes_from() const { return bytes(from_pitch, width, height); }
};

void copy(const Rectangle& r) {
    for (std::size_t row = 0; row < r.height; ++row) {
        std::memmove(r.to + row * r.to_pitch, r.from + row * r.from_pitch, r.width);
    }
}

// What the pointer points to, which must be what the kind of copy says.
cudaMemoryType checked(const void* pointer, std::size_t bytes, bool on_device, bool any, const char* role) {
    const std::string text = "copy: the " + std::to_string(bytes) + " bytes of the " + role;
    const Allocation* const found = device_memory().find(pointer, bytes);
    if (found != nullptr) {
        if (!any && (found->type == cudaMemoryTypeDevice) != on_device) {
            throw Report(text + " are not in memory of the kind that was named");
        }
        return found->type;
    }
    if (const Allocation* const begun = device_memory().find(pointer, 1)) {
        throw Report(text + " run over the end of an allocation of " + std::to_string(begun->bytes));
    }
    if (on_device && !any) throw Report(text + " are not in device memory");
    return cudaMemoryTypeUnregistered;
}

cudaError_t queue_copy(Rectangle r, cudaMemcpyKind kind, cudaStream_t stream) {
    const std::lock_guard lock(runtime_mutex());
    const auto found = streams().find(stream, current_device());
    if (found == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault || r.width > r.to_pitch || r.width > r.from_pitch) {
        return failed(cudaErrorInvalidValue);
    }
    if (r.width == 0 || r.height == 0) return cudaSuccess;
    const bool any = kind == cudaMemcpyDefault;
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const cudaMemoryType to = checked(r.to, r.bytes_to(), to_device, any, "destination");
    const cudaMemoryType from = checked(r.from, r.bytes_from(), from_device, any, "source");

    if (found->capture && (to != cudaMemoryTypeDevice || from != cudaMemoryTypeDevice)) {
        throw Report("a copy from or to memory of the host on a stream that is captured");
    }
    Operation operation;
    if (from == cudaMemoryTypeHost) {
        operation.reads = r.from;
        operation.bytes_read = r.bytes_from();
    }
    std::shared_ptr<std::vector<std::byte>> staged;
    if (from == cudaMemoryTypeUnregistered) {
        staged = std::make_shared<std::vector<std::byte>>(r.width * r.height);
        copy({staged->data(), r.width, r.from, r.from_pitch, r.width, r.height});
        r.from = staged->data();
        r.from_pitch = r.width;
    }
    operation.run = [r, staged] {
        const DeviceRuns runs;
        copy(r);
    };
    const Point done = streams().queue(found, std::move(operation));
    if (!done.reached() && to != cudaMemoryTypeDevice && !streams().reads_later(r.to, r.bytes_to())) {
        for (std::size_t row = 0; row < r.height; ++row) std::memset(r.to + row * r.to_pitch, 0xff, r.width);
    }
    return cudaSuccess;
}

}  // namespace

}  // namespace cuda_emulator

using namespace cuda_emulator;

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    return queue_copy({static_cast<std::byte*>(to), bytes, static_cast<const std::byte*>(from), bytes, bytes, 1}, kind,
                      stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    return queue_copy(
        {static_cast<std::byte*>(to), to_pitch, static_cast<const std::byte*>(from), from_pitch, width, height}, kind,
        stream);
}

cudaError_t cudaMemsetAsync(void* pointer, int value, std::size_t bytes, cudaStream_t stream) {
    const std::lock_guard lock(runtime_mutex());
    const auto found = streams().find(stream, current_device());
    if (found == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    if (bytes == 0) return cudaSuccess;
    if (device_memory().find(pointer, bytes) == nullptr) {
        throw Report("cudaMemsetAsync: " + std::to_string(bytes) + " bytes that are not all in one allocation");
    }
    const auto run = [=] {
        const DeviceRuns runs;
        std::memset(pointer, value, bytes);
    };
    streams().queue(found, {run, {}, nullptr, 0});
    return cudaSuccess;
}
