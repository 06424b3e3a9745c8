// SPDX-License-Identifier: Apache-2.0
// A step in two kernels, told what they need once a range.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/network.hpp"
#include "cuda/passes.hpp"
#include "cuda/products.hpp"
#include "cuda/row_blocks_layout.hpp"
#include "cuda/two_kernels.hpp"

namespace isthmus::cuda {

class TwoKernelsStep {
public:
    // state: params, m and v, one after another. parts: as many products as layers.
    TwoKernelsStep(const Network& network, const RowBlockLayout& layout, Optimizer optimizer, float* state,
                   const BatchRows& rows, const Noise& noise, const Workspace& work, const PartBuffers& parts);

    // Of a batch of `count` rows.
    void queue(std::int64_t count, cudaStream_t stream);

private:
    RowBlocksArgs of_rows_{};
    GradientUpdateArgs of_gradients_{};
};

}  // namespace isthmus::cuda
