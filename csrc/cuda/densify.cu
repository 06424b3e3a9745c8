// SPDX-License-Identifier: Apache-2.0
// A block to a row: zeros first, whole lines at a time, then its entries, which nobody else writes.
#include "cuda/densify.hpp"

#include "cuda/launch.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kThreads = 128;

__global__ void densify_rows(DensifyArgs d) {
    for (std::int64_t r = blockIdx.x; r < d.count; r += gridDim.x) {
        float* const row = d.to + r * d.stride;
        for (std::int64_t quad = threadIdx.x; quad < d.stride / 4; quad += kThreads) {
            reinterpret_cast<float4*>(row)[quad] = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
        }
        __syncthreads();
        for (std::int64_t i = d.offsets[r] + threadIdx.x; i < d.offsets[r + 1]; i += kThreads) {
            row[d.columns[i]] = d.values[i];
        }
    }
}

}  // namespace

void densify(const DensifyArgs& args, cudaStream_t stream) {
    constexpr std::int64_t kMost = 65535;
    const std::int64_t blocks = args.count < kMost ? args.count : kMost;
    launch(densify_rows, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream, args);
}

}  // namespace isthmus::cuda
