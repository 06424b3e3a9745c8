// SPDX-License-Identifier: Apache-2.0
// The loss of rows whose values are all observed; masked_loss.cu has the others.
#include "cuda/loss.cuh"

namespace isthmus::cuda {

void loss(const LossArgs& args, cudaStream_t stream) {
    if (args.batch.masked) return masked_loss(args, stream);
    launch_loss<false>(args, stream);
}

}  // namespace isthmus::cuda
