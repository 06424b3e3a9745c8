// SPDX-License-Identifier: Apache-2.0
// The PTX of sm_90a beside its tensor cores (wgmma.hpp), as wrappers that are called like functions, each with an
// emulated twin: mbarriers, copies by the tensor memory accelerator, barriers of some warps, registers that warpgroups
// hand to each other.
//
// mbarrier: a phase is over when as many threads have arrived as the barrier was made for, and all bytes have come that
// they said to expect; then the next begins. Phases alternate in parity, from 0 on; to wait for the parity of the phase
// before the first returns at once.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/ptx.hpp"

// Where these instructions exist: the body of a kernel that uses them stands within it, and is empty elsewhere. Such a
// kernel is launched on compute capability 9.0 alone.
#if defined(ISTHMUS_CUDA_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ISTHMUS_HOPPER
#endif

namespace isthmus::cuda {

#if defined(ISTHMUS_CUDA_EMULATED)

__device__ __forceinline__ unsigned shared_window(const void* shared) {
    return ::cuda_emulator::shared_address(shared);
}

__device__ __forceinline__ void mbarrier_init(std::uint64_t* barrier, unsigned arrivals) {
    ::cuda_emulator::mbarrier_init(barrier, arrivals);
}
__device__ __forceinline__ void mbarrier_init_fence() {}
__device__ __forceinline__ void proxy_fence() {}
__device__ __forceinline__ void mbarrier_arrive(std::uint64_t* barrier) { ::cuda_emulator::mbarrier_arrive(barrier); }
__device__ __forceinline__ void mbarrier_arrive_expect(std::uint64_t* barrier, unsigned bytes) {
    ::cuda_emulator::mbarrier_arrive_expect_tx(barrier, bytes);
}
__device__ __forceinline__ void mbarrier_wait(std::uint64_t* barrier, unsigned parity) {
    ::cuda_emulator::mbarrier_wait(barrier, parity);
}

__device__ __forceinline__ void prefetch_map(const CUtensorMap*) {}
__device__ __forceinline__ void copy_box(void* shared, const CUtensorMap* map, int column, int row,
                                         std::uint64_t* barrier) {
    ::cuda_emulator::tensor_copy_2d(shared, map, column, row, barrier);
}

template <int kNumber, int kThreads>
__device__ __forceinline__ void named_barrier() {
    ::cuda_emulator::named_barrier(kNumber, kThreads);
}

template <int kCount>
__device__ __forceinline__ void fewer_registers() {
    ::cuda_emulator::set_registers(false, kCount);
}
template <int kCount>
__device__ __forceinline__ void more_registers() {
    ::cuda_emulator::set_registers(true, kCount);
}

#else

// The address within the window of shared memory.
__device__ __forceinline__ unsigned shared_window(const void* shared) { return shared_address(shared); }

// ---- mbarriers, 8 bytes of shared memory each -----------------------------------------------------------------------

__device__ __forceinline__ void mbarrier_init(std::uint64_t* barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// Makes the barriers known that this thread has initialised; other threads see them behind a barrier of the block.
__device__ __forceinline__ void mbarrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Orders what this thread wrote to shared memory before what copies of boxes and wgmma do there behind the next
// barrier.
__device__ __forceinline__ void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ __forceinline__ void mbarrier_arrive(std::uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// And so many bytes are to come in this phase.
__device__ __forceinline__ void mbarrier_arrive_expect(std::uint64_t* barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}
// Returns when the phase of this parity is over.
__device__ __forceinline__ void mbarrier_wait(std::uint64_t* barrier, unsigned parity) {
    const unsigned address = shared_address(barrier);
    unsigned over = 0;
    do {
        asm volatile(
            "{\n.reg .pred p;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
            "selp.u32 %0, 1, 0, p;\n}\n"
            : "=r"(over)
            : "r"(address), "r"(parity)
            : "memory");
    } while (over == 0);
}

// ---- copies of boxes ------------------------------------------------------------------------------------------------

// A map is a kernel's __grid_constant__ parameter, or lies in one.
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// The box of the map whose first element is (column, row) to shared memory, swizzled as the map says, aligned to 1024
// bytes; what lies outside of the matrix becomes 0. One thread issues it; the barrier is told of all bytes of the box.
__device__ __forceinline__ void copy_box(void* shared, const CUtensorMap* map, int column, int row,
                                         std::uint64_t* barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
            shared_address(shared)),
        "l"(map), "r"(column), "r"(row), "r"(shared_address(barrier))
        : "memory");
}

// ---- warps and warpgroups -------------------------------------------------------------------------------------------

// __syncthreads of kThreads threads alone, whole warps; number 0 is that of all.
template <int kNumber, int kThreads>
__device__ __forceinline__ void named_barrier() {
    asm volatile("bar.sync %0, %1;" ::"n"(kNumber), "n"(kThreads) : "memory");
}

// The registers that each thread of a warpgroup has from here on, 24 to 240 in steps of 8: all of its threads call one,
// and more_registers waits until other warpgroups have given away enough.
template <int kCount>
__device__ __forceinline__ void fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

#endif

}  // namespace isthmus::cuda
