// SPDX-License-Identifier: Apache-2.0
// Rows of a batch, corrupted on the way: a thread takes four features, which is what a Philox block serves.
#include <type_traits>

#include "cuda/elementwise.hpp"
#include "cuda/launch.hpp"
#include "cuda/noise.cuh"
#include "cuda/planes.cuh"

namespace isthmus::cuda {

namespace {

struct NoNoise {};

template <class Kind>
__global__ void gather_rows(GatherArgs g) {
    const auto groups = static_cast<unsigned>(g.x_stride / 4);
    const std::int64_t begin = g.rows.begin();
    if constexpr (!std::is_same_v<Kind, NoNoise>) g.noise.epoch = g.progress->noise_epoch;
    const std::int64_t n = g.count * groups;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
         i += std::int64_t{gridDim.x} * blockDim.x) {
        const std::int64_t r = i / groups;
        const auto group = static_cast<std::uint32_t>(i - r * groups);
        const std::int64_t position = g.rows.first + (g.rows.positions != nullptr ? g.rows.positions[begin + r] : r);
        float4 four = *reinterpret_cast<const float4*>(g.rows.inputs + position * g.rows.stride + 4 * group);
        if constexpr (!std::is_same_v<Kind, NoNoise>) {
            four = corrupted<Kind>(four, group, g.cols, g.rows.numbers[begin + r], g.noise);
        }
        if (g.x != nullptr) *reinterpret_cast<float4*>(g.x + r * g.x_stride + 4 * group) = four;
        if (g.planes.data != nullptr) {
            float values[4] = {four.x, four.y, four.z, four.w};
            store_planes(g.planes, r, 4 * group, values);
        }
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
