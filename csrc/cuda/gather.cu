// SPDX-License-Identifier: Apache-2.0
// Rows of a batch, corrupted on the way: a thread takes four features, which is what a Philox block serves.
#include <type_traits>

#include "cuda/elementwise.hpp"
#include "cuda/launch.hpp"
#include "math/philox.hpp"

namespace isthmus::cuda {

namespace {

struct NoNoise {
    static __device__ __forceinline__ void corrupt(const math::PhiloxBlock<std::uint32_t>&, float, float (&)[4]) {}
};

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

template <class Kind>
__global__ void gather_rows(GatherArgs g) {
    const auto groups = static_cast<unsigned>(g.x_stride / 4);
    const std::int64_t n = g.count * groups;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
         i += std::int64_t{gridDim.x} * blockDim.x) {
        const std::int64_t r = i / groups;
        const auto group = static_cast<std::uint32_t>(i - r * groups);
        const std::int64_t position = g.rows.first + (g.rows.positions != nullptr ? g.rows.positions[r] : r);
        const float4 four = *reinterpret_cast<const float4*>(g.rows.inputs + position * g.rows.stride + 4 * group);
        float x[4] = {four.x, four.y, four.z, four.w};
        if (!std::is_same_v<Kind, NoNoise>) {
            const auto number = static_cast<std::uint64_t>(g.rows.numbers[r]);
            Kind::corrupt(math::philox(math::noise_counter<std::uint32_t>(group, number, g.noise.epoch), g.noise.seed),
                          g.noise.amount, x);
#pragma unroll
            for (int j = 0; j < 4; ++j) x[j] = 4 * group + j < g.cols ? x[j] : 0.0F;
        }
        *reinterpret_cast<float4*>(g.x + r * g.x_stride + 4 * group) = make_float4(x[0], x[1], x[2], x[3]);
    }
}

template <class Kind>
void launch_gather(const GatherArgs& args, cudaStream_t stream) {
    launch(gather_rows<Kind>, dim3(blocks_for(args.count * args.x_stride / 4)), dim3(256), 0, stream, args);
}

}  // namespace

void gather(const GatherArgs& args, cudaStream_t stream) {
    if (args.noise.amount == 0.0F) return launch_gather<NoNoise>(args, stream);
    switch (args.noise.kind) {
        case NoiseKind::gaussian: return launch_gather<Gaussian>(args, stream);
        case NoiseKind::mask: return launch_gather<Mask>(args, stream);
    }
}

}  // namespace isthmus::cuda
