// SPDX-License-Identifier: Apache-2.0
// The seam between kernels and what runs them: shared memory, launches, errors. With ISTHMUS_CUDA_EMULATED the same
// kernels run on the CPU (tests/cuda_emulator); this file and ptx.hpp, with the folder ptx, alone know.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>
#include <tuple>
#include <utility>

#include "isthmus/types.hpp"

// ISTHMUS_SHARED(T, name, count): T name[count] in the shared memory of the block. A T with a comma needs an alias.
// ISTHMUS_DYNAMIC_SHARED(T, name): T* name, the dynamic shared memory of the launch.
// Nothing is initialised. Static arrays are aligned for float4, dynamic memory to 128 bytes.
#if defined(ISTHMUS_CUDA_EMULATED)
#define ISTHMUS_SHARED(T, name, count) \
    static char name##_site;           \
    auto& name = ::cuda_emulator::shared_array<T, (count)>(&name##_site, #name)
#define ISTHMUS_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::cuda_emulator::dynamic_shared())
#else
#define ISTHMUS_SHARED(T, name, count) __shared__ __align__(16) T name[count]
#define ISTHMUS_DYNAMIC_SHARED(T, name)                                      \
    extern __shared__ __align__(128) unsigned char isthmus_dynamic_shared[]; \
    T* const name = reinterpret_cast<T*>(isthmus_dynamic_shared)
#endif

namespace isthmus::cuda {

// "3 free of 10", in bytes of the current device's memory; nothing where not even that can be asked.
inline std::string free_memory() {
    std::size_t free = 0;
    std::size_t total = 0;
    if (cudaMemGetInfo(&free, &total) != cudaSuccess) return {};
    return std::to_string(free) + " free of " + std::to_string(total);
}

// Throws Error(memory) when memory ran out, else Error(runtime). `what` is the call that failed.
inline void check(cudaError_t result, const char* what) {
    if (result == cudaSuccess) return;
    cudaGetLastError();  // it has been seen; the next call must not report it again
    const std::string text =
        std::string(what) + " failed: " + cudaGetErrorName(result) + ", " + cudaGetErrorString(result);
    if (result == cudaErrorMemoryAllocation) throw Error(ErrorKind::memory, text + ": " + free_memory());
    throw Error(ErrorKind::runtime, text);
}

// Queues kernel(arguments...), each converted to the type of its parameter: the only way to launch.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
            A&&... arguments) {
    static_assert(sizeof...(P) == sizeof...(A), "one argument for each parameter of the kernel");
    constexpr std::size_t kWithoutAsking = 48 * 1024;
    const void* const function = reinterpret_cast<const void*>(kernel);
    if (shared_bytes > kWithoutAsking) {
        check(
            cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
            "cudaFuncSetAttribute");
    }
    std::tuple<P...> values{static_cast<P>(std::forward<A>(arguments))...};
#if defined(ISTHMUS_CUDA_EMULATED)
    check(::cuda_emulator::launch(kernel, grid, block, shared_bytes, stream, std::move(values)), "launch");
#else
    std::apply(
        [&](P&... value) {
            void* pointers[] = {&value..., nullptr};
            check(cudaLaunchKernel(function, grid, block, pointers, shared_bytes, stream), "cudaLaunchKernel");
        },
        values);
#endif
}

}  // namespace isthmus::cuda
