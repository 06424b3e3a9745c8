// SPDX-License-Identifier: Apache-2.0
// Corruption of four features, which is what a Philox block serves.
#pragma once

#include <cstdint>

#include "device/contract.hpp"
#include "math/philox.hpp"

namespace isthmus::cuda {

struct Gaussian {
    static __device__ __forceinline__ void corrupt(const math::PhiloxBlock<std::uint32_t>& random, float amount,
                                                   float (&x)[4]) {
        const math::Quad<float> noise = math::gaussians<float>(random);
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = math::fma(amount, noise.value[i], x[i]);
    }
};

struct Mask {
    static __device__ __forceinline__ void corrupt(const math::PhiloxBlock<std::uint32_t>& random, float amount,
                                                   float (&x)[4]) {
        const math::Quad<float> noise = math::uniforms<float>(random);
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = math::select(noise.value[i] < amount, 0.0F, x[i]);
    }
};

// Features 4 * group to 4 * group + 3 of the row of that number, with noise; those from `cols` on become 0.
template <class Kind>
__device__ __forceinline__ float4 corrupted(float4 four, std::uint32_t group, std::int64_t cols, std::int64_t number,
                                            const Noise& noise) {
    float x[4] = {four.x, four.y, four.z, four.w};
    Kind::corrupt(
        math::philox(math::noise_counter<std::uint32_t>(group, static_cast<std::uint64_t>(number), noise.epoch),
                     noise.seed),
        noise.amount, x);
#pragma unroll
    for (int j = 0; j < 4; ++j) x[j] = 4 * group + j < cols ? x[j] : 0.0F;
    return make_float4(x[0], x[1], x[2], x[3]);
}

}  // namespace isthmus::cuda
