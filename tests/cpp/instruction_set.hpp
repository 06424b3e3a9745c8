// SPDX-License-Identifier: Apache-2.0
// What the compiler was told that an executable may use, and whether the machine has it.
#pragma once

#include <cstdio>

namespace instruction_set {

#if defined(__FMA__) || defined(__aarch64__)
inline constexpr bool kFused = true;  // fma of a vector rounds once
#else
inline constexpr bool kFused = false;
#endif

// A formula on a vector has the bits of the same formula on floats.
#if defined(__AVX512F__)
inline constexpr bool kScalarBits = false;  // divide() is within 1 ULP
#else
inline constexpr bool kScalarBits = kFused;
#endif

// False, with the line that CTest takes for a skip, where the machine lacks it.
inline bool usable() {
#if defined(__AVX512F__)
    const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#elif defined(__AVX2__)
    const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    const bool has = true;
#endif
    if (!has) std::printf("skipped: this machine lacks the instruction set\n");
    return has;
}

}  // namespace instruction_set
