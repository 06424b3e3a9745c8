// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer on the tensor cores of compute capability 9.0, queued on a stream. The operands
// come as bfloat16 planes; args.x, args.weight and args.dz are not read. wgmma_plan.hpp says how a product is cut, and
// for which layers they are meant.
#pragma once

#include "cuda/planes.hpp"
#include "cuda/products.hpp"
#include "cuda/wgmma_plan.hpp"

namespace isthmus::cuda {

// Whether the current device runs them: of compute capability 9.0, and with machine code for it in this library.
bool has_wgmma();

void wgmma_forward(const ForwardArgs& args, const Planes& x, const Planes& weight, const WgmmaGrid& grid,
                   cudaStream_t stream);
void wgmma_backward_input(const InputGradientArgs& args, const Planes& dz, const Planes& weight, const WgmmaGrid& grid,
                          cudaStream_t stream);

// What parts pass through, for any gradient: parts of wgmma_row_parts. One product at a time.
struct WgmmaPartBuffers : PartBuffers {
    explicit WgmmaPartBuffers(cudaStream_t stream)
        : PartBuffers(stream, kWgmmaPartFloats, kWgmmaBiasPartFloats, kWgmmaPartCounters) {}
};
void wgmma_backward_weight(const WeightGradientArgs& args, const Planes& dz, const Planes& x, const WgmmaGrid& grid,
                           const WgmmaPartBuffers& parts, cudaStream_t stream);

}  // namespace isthmus::cuda
