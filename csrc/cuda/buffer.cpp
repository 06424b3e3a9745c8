// SPDX-License-Identifier: Apache-2.0
#include "cuda/buffer.hpp"

#include <string>

#include "cuda/launch.hpp"

namespace isthmus::cuda {

void* allocate_device(std::size_t bytes) {
    void* memory = nullptr;
    const cudaError_t result = cudaMalloc(&memory, bytes);
    if (result == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        int ordinal = 0;
        check(cudaGetDevice(&ordinal), "cudaGetDevice");
        throw Error(ErrorKind::memory, "cuda:" + std::to_string(ordinal) + " is out of memory: " +
                                           std::to_string(bytes) + " bytes asked, " + free_memory());
    }
    check(result, "cudaMalloc");
    return memory;
}

void* allocate_pinned(std::size_t bytes) {
    void* memory = nullptr;
    const cudaError_t result = cudaMallocHost(&memory, bytes);
    if (result == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw Error(ErrorKind::memory,
                    "the host has no " + std::to_string(bytes) + " bytes of pinned memory for the GPU to copy from");
    }
    check(result, "cudaMallocHost");
    return memory;
}

void free_device(void* memory) noexcept { static_cast<void>(cudaFree(memory)); }
void free_pinned(void* memory) noexcept { static_cast<void>(cudaFreeHost(memory)); }

}  // namespace isthmus::cuda
