// SPDX-License-Identifier: Apache-2.0
// A few rows through a range of layers in one launch, a block of threads each, for calls whose time is that of launches
// and copies: the rows are read where they are, in the host's pinned memory or the device's, and the results written
// likewise. The bits are those of the layers one by one.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/row_blocks_layout.hpp"

namespace isthmus::cuda {

struct FewRowsArgs {
    RowBlockLayout layout;
    const float* params;
    const float* x;  // (count, in), x_stride a multiple of four, 0 beyond their width
    std::int64_t x_stride;
    float* y;  // (count, out)
    std::int64_t y_stride;
    std::int64_t count;
};
void run_few_rows(const FewRowsArgs& args, cudaStream_t stream);

}  // namespace isthmus::cuda
