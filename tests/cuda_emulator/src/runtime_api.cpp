// SPDX-License-Identifier: Apache-2.0
// Devices, memory and errors. ISTHMUS_EMULATOR_DEVICES is the number of devices, 1 when not set; with 0 the runtime
// answers as one that finds none. ISTHMUS_EMULATOR_SHARED is the shared memory that a device says a block may have.
// With ISTHMUS_EMULATOR_BROKEN every call fails, as all do after a kernel's illegal access; what is freed is freed.
#include "cuda_emulator/runtime_api.hpp"

#include <cuda.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "graph.hpp"
#include "memory.hpp"
#include "runtime.hpp"
#include "shared_memory.hpp"
#include "stream.hpp"

namespace cuda_emulator {

namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int device_of_thread = 0;

int device_count() {
    const char* const value = std::getenv("ISTHMUS_EMULATOR_DEVICES");
    return value == nullptr ? 1 : std::atoi(value);
}

cudaError_t allocate(cudaMemoryType type, void** pointer, std::size_t bytes) {
    const std::lock_guard lock(runtime_mutex());
    if (device_count() == 0) return failed(cudaErrorNoDevice);
    if (broken()) return failed(cudaErrorIllegalAddress);
    not_while_capturing("an allocation");
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    *pointer = device_memory().allocate(type, bytes, device_of_thread);
    return *pointer == nullptr ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

// As on the device, nothing that is queued may still use the memory.
cudaError_t release(cudaMemoryType type, void* pointer) {
    const std::lock_guard lock(runtime_mutex());
    if (pointer == nullptr) return cudaSuccess;
    bool released = false;
    releasing([] {
        not_while_capturing("a release of memory");
        streams().run_all();
    });
    releasing([&] {
        released = true;
        released = device_memory().release(type, pointer);
    });
    if (broken()) return failed(cudaErrorIllegalAddress);
    return released ? cudaSuccess : failed(cudaErrorInvalidValue);
}

}  // namespace

cudaError_t failed(cudaError_t error) {
    last_error = error;
    return error;
}

int current_device() { return device_of_thread; }

bool broken() { return std::getenv("ISTHMUS_EMULATOR_BROKEN") != nullptr; }

}  // namespace cuda_emulator

using namespace cuda_emulator;

cudaError_t cudaGetDeviceCount(int* count) {
    *count = device_count();
    return *count == 0 ? failed(cudaErrorNoDevice) : cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
    *device = device_of_thread;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    if (device_count() == 0) return failed(cudaErrorNoDevice);
    if (device < 0 || device >= device_count()) return failed(cudaErrorInvalidDevice);
    device_of_thread = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (device < 0 || device >= device_count()) return failed(cudaErrorInvalidDevice);
    *properties = {};
    std::strcpy(properties->name, "isthmus CUDA emulator");
    properties->totalGlobalMem = device_memory().total();
    properties->sharedMemPerBlock = kStaticSharedBytes;
    const char* const shared = std::getenv("ISTHMUS_EMULATOR_SHARED");
    properties->sharedMemPerBlockOptin = shared == nullptr ? kSharedBytes : std::strtoull(shared, nullptr, 10);
    properties->multiProcessorCount = 4;  // few, so that small cases too have more blocks than there is room for
    properties->maxThreadsPerBlock = 1024;
    properties->major = 9;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = device_count() == 0 ? 0 : 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
    const bool found = std::strcmp(name, "cuTensorMapEncodeTiled") == 0;
    *function = found ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
    *result = found ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) { return allocate(cudaMemoryTypeDevice, pointer, bytes); }
cudaError_t cudaFree(void* pointer) { return release(cudaMemoryTypeDevice, pointer); }
cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) { return allocate(cudaMemoryTypeHost, pointer, bytes); }
cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned) { return cudaMallocHost(pointer, bytes); }
cudaError_t cudaFreeHost(void* pointer) { return release(cudaMemoryTypeHost, pointer); }

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    const std::lock_guard lock(runtime_mutex());
    if (broken()) return failed(cudaErrorIllegalAddress);
    *free = device_memory().free(device_of_thread);
    *total = device_memory().total();
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    const std::lock_guard lock(runtime_mutex());
    const Allocation* const found = device_memory().find(pointer, 1);
    auto* const address = const_cast<void*>(pointer);
    if (found == nullptr) {
        *attributes = {cudaMemoryTypeUnregistered, -1, nullptr, address};
    } else {
        *attributes = {found->type, found->device, address, found->type == cudaMemoryTypeHost ? address : nullptr};
    }
    return cudaSuccess;
}

cudaError_t cudaGetLastError() {
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

namespace {

struct ErrorText {
    cudaError_t error;
    const char* name;
    const char* text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
};

const ErrorText& text_of(cudaError_t error) {
    static constexpr ErrorText unknown{cudaSuccess, "unrecognized error code", "unrecognized error code"};
    for (const ErrorText& entry : kErrors) {
        if (entry.error == error) return entry;
    }
    return unknown;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return text_of(error).text; }
