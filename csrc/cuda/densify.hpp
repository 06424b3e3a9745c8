// SPDX-License-Identifier: Apache-2.0
// Sparse rows with their zeros, for as long as a batch is computed on.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace isthmus::cuda {

struct DensifyArgs {
    const std::int64_t* offsets;  // count + 1, the first is 0
    const std::int32_t* columns;
    const float* values;
    std::int64_t count;
    float* to;  // (count, stride); the stride is a multiple of four
    std::int64_t stride;
};
void densify(const DensifyArgs& args, cudaStream_t stream);

}  // namespace isthmus::cuda
