// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): every random number is a function
// of a key, the seed, and a counter that says what the number is for. Nothing is drawn in order, so no result depends
// on threads, tiles or where a run was interrupted. The counters of all purposes are laid out here and nowhere else.
//
// U is std::uint32_t or the integer vector of an instruction set: each lane is then a counter of its own.
#pragma once

#include <cstdint>

#include "math/elementary.hpp"
#include "math/host_device.hpp"
#include "math/scalar.hpp"

namespace isthmus::math {

// sample: of a code, while training; draw: of what somebody asks to be drawn.
enum class Purpose : std::uint32_t { weights, permutation, noise, split, sample, draw };

// A counter going in, four random words coming out.
template <class U>
struct PhiloxBlock {
    U word[4];
};

// Four numbers made from one block.
template <class T>
struct Quad {
    T value[4];
};

template <class U>
ISTHMUS_HD U broadcast(std::uint32_t x) {
    return U(static_cast<std::int32_t>(x));
}

template <class U>
ISTHMUS_HD PhiloxBlock<U> philox(PhiloxBlock<U> x, std::uint32_t key_low, std::uint32_t key_high) {
    for (int round = 0; round < 10; ++round) {
        U high_0, low_0, high_1, low_1;
        mul_hi_lo(x.word[0], broadcast<U>(0xD2511F53U), high_0, low_0);
        mul_hi_lo(x.word[2], broadcast<U>(0xCD9E8D57U), high_1, low_1);
        x = {{high_1 ^ x.word[1] ^ broadcast<U>(key_low), low_1, high_0 ^ x.word[3] ^ broadcast<U>(key_high), low_0}};
        key_low += 0x9E3779B9U;
        key_high += 0xBB67AE85U;
    }
    return x;
}

template <class U>
ISTHMUS_HD PhiloxBlock<U> philox(PhiloxBlock<U> counter, std::uint64_t seed) {
    return philox(counter, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

// ---- counters -----------------------------------------------------------------------------------------------------

// The counter of item `index` of one purpose. `stream` is the layer for weights (whose index is that of the weight / 4:
// a block serves four), and the epoch for a permutation.
ISTHMUS_HD PhiloxBlock<std::uint32_t> counter(Purpose purpose, std::uint64_t index, std::uint32_t stream) {
    return {{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
             static_cast<std::uint32_t>(purpose) << 16, stream}};
}

// The counter of features, or units of the code, 4 * group to 4 * group + 3 of one row, a number below 2^48.
template <class U>
ISTHMUS_HD PhiloxBlock<U> row_counter(Purpose purpose, U group, std::uint64_t row, std::uint32_t epoch) {
    const std::uint32_t third = (static_cast<std::uint32_t>(row >> 32) & 0xffffU) | static_cast<std::uint32_t>(purpose)
                                                                                        << 16;
    return {{group, broadcast<U>(static_cast<std::uint32_t>(row)), broadcast<U>(third), broadcast<U>(epoch)}};
}

template <class U>
ISTHMUS_HD PhiloxBlock<U> noise_counter(U group, std::uint64_t row, std::uint32_t epoch) {
    return row_counter(Purpose::noise, group, row, epoch);
}

// ---- numbers ------------------------------------------------------------------------------------------------------

// The upper 24 bits, as a float from 0 to 2^24 - 1.
template <class T, class U>
ISTHMUS_HD T upper_bits(U word) {
    return to_float((word >> 8) & broadcast<U>(0x00ffffffU));
}

// From 0 to 1 - 2^-24, in steps of 2^-24.
template <class T, class U>
ISTHMUS_HD Quad<T> uniforms(const PhiloxBlock<U>& random) {
    constexpr float kStep = 0x1p-24F;
    Quad<T> u;
    for (int i = 0; i < 4; ++i) u.value[i] = upper_bits<T>(random.word[i]) * T(kStep);
    return u;
}

// Standard normal numbers by Box and Muller: words 0 and 1 give values 0 (cosine) and 1 (sine), words 2 and 3 the rest.
// The same bits for every T.
template <class T, class U>
ISTHMUS_HD Quad<T> gaussians(const PhiloxBlock<U>& random) {
    constexpr float kStep = 0x1p-24F;
    Quad<T> g;
    for (int i = 0; i < 4; i += 2) {
        // From 2^-24 to 1: the logarithm stays finite and the radius is at most 5.77.
        const T u = multiply_then_add(upper_bits<T>(random.word[i]), T(kStep), T(kStep));
        const T radius = sqrt(T(-2.0F) * log_of_normal(u));
        T sine, cosine;
        sincos_2pi(upper_bits<T>(random.word[i + 1]) * T(kStep), sine, cosine);
        g.value[i] = radius * cosine;
        g.value[i + 1] = radius * sine;
    }
    return g;
}

}  // namespace isthmus::math
