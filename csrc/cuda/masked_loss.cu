// SPDX-License-Identifier: Apache-2.0
// The loss of rows with missing values: kernels of their own, so that those of other rows count nothing.
#include "cuda/loss.cuh"

namespace isthmus::cuda {

void masked_loss(const LossArgs& args, cudaStream_t stream) { launch_loss<true>(args, stream); }

}  // namespace isthmus::cuda
