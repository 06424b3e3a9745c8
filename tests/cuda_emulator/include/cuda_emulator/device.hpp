// SPDX-License-Identifier: Apache-2.0
// What a kernel may call: indices, barriers, warp collectives, atomics and a few intrinsics.
//
// A collective remembers its call site; the threads that meet in it must come from the same one. The site is that of
// the intrinsic in the source, not of the function around it.
#pragma once

#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "cuda_emulator/types.hpp"

// Those of the thread that runs; the scheduler sets them at every switch.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
inline constexpr int warpSize = 32;

namespace cuda_emulator {

using Site = std::source_location;

enum class Shuffle : std::uint8_t { index, down, exclusive_or };

void sync_threads(Site where);
void sync_warp(unsigned mask, Site where);
std::uint64_t shuffle(Shuffle kind, unsigned mask, std::uint64_t value, int argument, int width, Site where);
unsigned ballot(const char* kind, unsigned mask, bool predicate, Site where);

template <class T>
T shuffled(Shuffle kind, unsigned mask, T value, int argument, int width, Site where) {
    static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "a register or two");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = shuffle(kind, mask, bits, argument, width, where);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Atomic for ThreadSanitizer too. Acquire and release hide a missing __threadfence: that is not to be shown here.
template <class T, class F>
T atomically(T* address, F&& change) {
    T before;
    __atomic_load(address, &before, __ATOMIC_RELAXED);
    for (;;) {
        T after = change(before);
        if (__atomic_compare_exchange(address, &before, &after, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            return before;
        }
    }
}

}  // namespace cuda_emulator

// ---- collectives --------------------------------------------------------------------------------------------------

inline void __syncthreads(cuda_emulator::Site where = cuda_emulator::Site::current()) {
    cuda_emulator::sync_threads(where);
}
inline void __syncwarp(unsigned mask = 0xffffffffU, cuda_emulator::Site where = cuda_emulator::Site::current()) {
    cuda_emulator::sync_warp(mask, where);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize,
              cuda_emulator::Site where = cuda_emulator::Site::current()) {
    return cuda_emulator::shuffled(cuda_emulator::Shuffle::index, mask, value, lane, width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                   cuda_emulator::Site where = cuda_emulator::Site::current()) {
    return cuda_emulator::shuffled(cuda_emulator::Shuffle::down, mask, value, static_cast<int>(delta), width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize,
                  cuda_emulator::Site where = cuda_emulator::Site::current()) {
    return cuda_emulator::shuffled(cuda_emulator::Shuffle::exclusive_or, mask, value, lane_mask, width, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              cuda_emulator::Site where = cuda_emulator::Site::current()) {
    return cuda_emulator::ballot("__ballot_sync", mask, predicate != 0, where);
}
inline int __any_sync(unsigned mask, int predicate, cuda_emulator::Site where = cuda_emulator::Site::current()) {
    return cuda_emulator::ballot("__any_sync", mask, predicate != 0, where) != 0 ? 1 : 0;
}

// ---- memory -------------------------------------------------------------------------------------------------------

template <class T>
    requires(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long> ||
             std::is_same_v<T, float> || std::is_same_v<T, double>)
T atomicAdd(T* address, std::type_identity_t<T> value) {
    return cuda_emulator::atomically(address, [value](T old) { return static_cast<T>(old + value); });
}
template <class T>
    requires(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long> ||
             std::is_same_v<T, float>)
T atomicExch(T* address, std::type_identity_t<T> value) {
    return cuda_emulator::atomically(address, [value](T) { return value; });
}
template <class T>
    requires(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>)
T atomicOr(T* address, std::type_identity_t<T> value) {
    return cuda_emulator::atomically(address, [value](T old) { return old | value; });
}
template <class T>
    requires(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>)
T atomicMin(T* address, std::type_identity_t<T> value) {
    return cuda_emulator::atomically(address, [value](T old) { return value < old ? value : old; });
}
inline void __threadfence() {}
template <class T>
T __ldg(const T* address) {
    return *address;
}

// ---- arithmetic ---------------------------------------------------------------------------------------------------

inline int __float_as_int(float a) { return __builtin_bit_cast(int, a); }
inline unsigned __float_as_uint(float a) { return __builtin_bit_cast(unsigned, a); }
inline float __int_as_float(int a) { return __builtin_bit_cast(float, a); }
inline float __uint_as_float(unsigned a) { return __builtin_bit_cast(float, a); }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __clz(int a) { return a == 0 ? 32 : __builtin_clz(static_cast<unsigned>(a)); }
