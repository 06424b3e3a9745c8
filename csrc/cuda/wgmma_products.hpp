// SPDX-License-Identifier: Apache-2.0
// The three products of a dense layer on the tensor cores of compute capability 9.0, queued on a stream. The operands
// come as bfloat16 planes. wgmma_plan.hpp says how a product is cut, and for which layers they are meant; dense_forward
// and the others call them where the plan says so.
#pragma once

#include "cuda/planes.hpp"
#include "cuda/products.hpp"
#include "cuda/wgmma_plan.hpp"

namespace isthmus::cuda {

// Whether the current device, which must be of compute capability 9.0, runs them: whether this library has machine code
// for it. Waits for the device.
bool has_wgmma();

void wgmma_forward(const ForwardArgs& args, const WgmmaGrid& grid, cudaStream_t stream);
void wgmma_backward_input(const InputGradientArgs& args, const WgmmaGrid& grid, cudaStream_t stream);
void wgmma_backward_weight(const WeightGradientArgs& args, const WgmmaGrid& grid, const PartBuffers& parts,
                           cudaStream_t stream);

}  // namespace isthmus::cuda
