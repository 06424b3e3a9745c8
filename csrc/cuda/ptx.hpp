// SPDX-License-Identifier: Apache-2.0
// All inline PTX of the kernels, as wrappers that are called like functions, each with an emulated twin.
//
// cp.async: a copy that a thread issues is complete, for that thread alone, once copy_async_wait says so; the other
// threads of the block see it after the barrier that follows.
#pragma once

#include <cuda_runtime.h>

namespace isthmus::cuda {

#if defined(ISTHMUS_CUDA_EMULATED)

__device__ __forceinline__ void copy_async_16(void* shared, const void* global, int valid_bytes = 16) {
    ::cuda_emulator::copy_async(shared, global, 16, valid_bytes);
}
__device__ __forceinline__ void copy_async_4(void* shared, const void* global, int valid_bytes = 4) {
    ::cuda_emulator::copy_async(shared, global, 4, valid_bytes);
}
__device__ __forceinline__ void copy_async_commit() { ::cuda_emulator::copy_async_commit(); }
template <int N>
__device__ __forceinline__ void copy_async_wait() {
    ::cuda_emulator::copy_async_wait(N);
}

#else

__device__ __forceinline__ unsigned shared_address(const void* shared) {
    return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// 16 bytes from global to shared memory, both aligned to 16. Only the first valid_bytes are read; the rest becomes 0.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, int valid_bytes = 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid_bytes)
                 : "memory");
}
// The same with 4 bytes.
__device__ __forceinline__ void copy_async_4(void* shared, const void* global, int valid_bytes = 4) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid_bytes)
                 : "memory");
}
// Closes the group of the copies that this thread has issued since the last one.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most the N last groups of this thread are under way.
template <int N>
__device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif

}  // namespace isthmus::cuda
