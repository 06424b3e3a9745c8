// SPDX-License-Identifier: Apache-2.0
// A few rows through a range of layers in one launch, a block of threads each, for calls whose time is that of launches
// and copies: the rows are read from the host's pinned memory and the results written there. The bits are those of the
// layers one by one.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/row_blocks_layout.hpp"

namespace isthmus::cuda {

struct FewRowsArgs {
    RowBlockLayout layout;
    const float* params;
    const float* x;  // (count, in), rows a multiple of four floats apart, 0 beyond their width
    float* y;        // (count, out), likewise apart
    std::int64_t count;
};
void run_few_rows(const FewRowsArgs& args, cudaStream_t stream);

}  // namespace isthmus::cuda
