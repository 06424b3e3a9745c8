// SPDX-License-Identifier: Apache-2.0
// The epilogue of a weight gradient, for the kernels of weight_gradient.cu and of wgmma_weight_gradient.cu.
#pragma once

#include "cuda/epilogues.cuh"
#include "cuda/products.hpp"

namespace isthmus::cuda {

inline WeightGradient weight_gradient(const WeightGradientArgs& args, const RowParts& rows, const PartBuffers& parts) {
    return {{static_cast<int>(rows.rows),
             static_cast<int>(args.out),
             {parts.sums.data(), args.in},
             parts.bias_sums.data(),
             parts.blocks_arrived.data()},
            {args.dweight, args.in},
            args.dbias,
            args.accumulate};
}

}  // namespace isthmus::cuda
