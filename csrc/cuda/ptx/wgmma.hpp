// SPDX-License-Identifier: Apache-2.0
// wgmma, the tensor cores of sm_90a: products of matrices in shared memory by the 128 threads of a warpgroup, with
// their emulated twins. Only for kernels whose body is within ISTHMUS_HOPPER (hopper.hpp).
//
// The order of calls: wgmma_fence before the first product and whenever the sums have been touched since the last wait;
// products; wgmma_commit, which closes a group of them; wgmma_wait, until at most so many groups are under way. Sums
// may be touched, and shared memory that was read may be overwritten, only behind that wait.
//
// Sums of thread t: row 16 * (t / 32) + t % 32 / 4 and the one 8 below, of each 8 columns those at t % 4 * 2 and behind
// it: sums[4 * j + 2 * half + i] is at (row + 8 * half, 8 * j + t % 4 * 2 + i).
#pragma once

#include <cstdint>

#include "cuda/ptx/hopper.hpp"

namespace isthmus::cuda {

// A matrix in shared memory, its rows 128 bytes and swizzled as the tensor map does it with SWIZZLE_128B, beginning at
// a multiple of 1024 bytes. K-major: rows of m or n, 64 of k wide; eight rows, `stride` bytes further the next eight.
// MN-major: rows of k, 64 of m or n wide; eight rows, `stride` bytes further the next eight, `leading` bytes further
// the next 64 of m or n.
__device__ __forceinline__ std::uint64_t matrix_descriptor(const void* shared, unsigned leading, unsigned stride) {
    constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62;
    return (shared_window(shared) & 0x3ffffU) >> 4 | std::uint64_t{leading >> 4} << 16 |
           std::uint64_t{stride >> 4} << 32 | kSwizzle128;
}
// The same matrix from `bytes` further on.
__device__ __forceinline__ std::uint64_t advanced(std::uint64_t descriptor, unsigned bytes) {
    return descriptor + (bytes >> 4);
}

#if defined(ISTHMUS_CUDA_EMULATED)

template <int n>
__device__ __forceinline__ void wgmma_fence(float (&)[n]) {
    ::cuda_emulator::wgmma_fence();
}
__device__ __forceinline__ void wgmma_commit() { ::cuda_emulator::wgmma_commit(); }
template <int kUnderWay>
__device__ __forceinline__ void wgmma_wait() {
    ::cuda_emulator::wgmma_wait(kUnderWay);
}
template <int kUnderWay, int n>
__device__ __forceinline__ void wgmma_wait(float (&)[n]) {
    ::cuda_emulator::wgmma_wait(kUnderWay);
}
template <bool kTransposedA, bool kTransposedB, int n>
__device__ __forceinline__ void wgmma(float (&sums)[n], std::uint64_t a, std::uint64_t b, bool accumulate) {
    ::cuda_emulator::wgmma(sums, {2 * n, kTransposedA, kTransposedB, a, b, accumulate});
}

#else

// To the compiler the sums are read and written here: nothing that touches them moves across.
template <int n>
__device__ __forceinline__ void hold_in_place(float (&sums)[n]) {
#pragma unroll
    for (int i = 0; i < n; ++i) asm volatile("" : "+f"(sums[i])::"memory");
}

template <int n>
__device__ __forceinline__ void wgmma_fence(float (&sums)[n]) {
    hold_in_place(sums);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kUnderWay>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kUnderWay) : "memory");
}
// Behind which these sums may be touched.
template <int kUnderWay, int n>
__device__ __forceinline__ void wgmma_wait(float (&sums)[n]) {
    wgmma_wait<kUnderWay>();
    hold_in_place(sums);
}

#define ISTHMUS_SUMS_4(i) "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3])
#define ISTHMUS_SUMS_16(i) ISTHMUS_SUMS_4(i), ISTHMUS_SUMS_4(i + 4), ISTHMUS_SUMS_4(i + 8), ISTHMUS_SUMS_4(i + 12)
#define ISTHMUS_SUMS_64(i) ISTHMUS_SUMS_16(i), ISTHMUS_SUMS_16(i + 16), ISTHMUS_SUMS_16(i + 32), ISTHMUS_SUMS_16(i + 48)

// sums (64, 2 * n) = a (64, 16) b (2 * n, 16)^T, added to what is there if `accumulate`. kTransposed: MN-major.
template <bool kTransposedA, bool kTransposedB, int n>
__device__ __forceinline__ void wgmma(float (&sums)[n], std::uint64_t a, std::uint64_t b, bool accumulate) {
    static_assert(n == 4 || n == 32 || n == 64 || n == 128, "64 x 8, 64, 128 or 256 sums of a warpgroup");
    if constexpr (n == 4) {
        asm volatile(
            "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3}, "
            "%4, %5, p, 1, 1, %7, %8;\n}\n"
            : ISTHMUS_SUMS_4(0)
            : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kTransposedA)),
              "n"(static_cast<int>(kTransposedB)));
    } else if constexpr (n == 32) {
        asm volatile(
            "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
            "%32, %33, p, 1, 1, %35, %36;\n}\n"
            : ISTHMUS_SUMS_16(0), ISTHMUS_SUMS_16(16)
            : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kTransposedA)),
              "n"(static_cast<int>(kTransposedB)));
    } else if constexpr (n == 64) {
        asm volatile(
            "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
            "%64, %65, p, 1, 1, %67, %68;\n}\n"
            : ISTHMUS_SUMS_64(0)
            : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kTransposedA)),
              "n"(static_cast<int>(kTransposedB)));
    } else if constexpr (n == 128) {
        asm volatile(
            "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
            "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
            "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
            "%128, %129, p, 1, 1, %131, %132;\n}\n"
            : ISTHMUS_SUMS_64(0), ISTHMUS_SUMS_64(64)
            : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kTransposedA)),
              "n"(static_cast<int>(kTransposedB)));
    }
}

#undef ISTHMUS_SUMS_4
#undef ISTHMUS_SUMS_16
#undef ISTHMUS_SUMS_64

#endif

}  // namespace isthmus::cuda
