// SPDX-License-Identifier: Apache-2.0
// Tied weights on a GPU: a layer whose weight is another's transposed has a copy that lies as its products want it, and
// a place for its gradient. The one is made anew after each update, the other added to the gradient of the weight.
#pragma once

#include <cuda_runtime.h>

#include "cuda/network.hpp"

namespace isthmus::cuda {

// The copies, from the parameters at the beginning of `memory` (Network::memory_size).
void copy_tied_weights(const Network& network, float* memory, cudaStream_t stream);

// gradient (Network::flat_size + tied_size): that of each weight that is shared gets the other layer's added.
void add_tied_gradients(const Network& network, float* gradient, cudaStream_t stream);

}  // namespace isthmus::cuda
