// SPDX-License-Identifier: Apache-2.0
// The code between encoder and decoder, where the network does something to it (device/code_stage.hpp): units that are
// not kept become 0, or all are drawn, and a penalty is measured. Its activation is applied by then, as by any layer.
// Queued on a stream; all pointers are to device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/elementwise.hpp"
#include "cuda/planes.hpp"
#include "cuda/progress.hpp"
#include "isthmus/types.hpp"

namespace isthmus::cuda {

// Forward: y (rows, cols), or (rows, 2 cols) where the code is drawn, is the layer's output. What the decoder sees, in
// `code` (rows, cols) and, where given, in `planes`, is
//
//     code_forward     y itself, in place, of each row the `keep` largest units, all where that is 0; kept, where
//     given,
//                      takes 1 for a unit that stays and 0 for another
//     sample_forward   drawn by eps, which is kept; without eps, the means
//
// Where penalties is given, penalties[r] is w_r times the row's penalty (a sum over its units, divided by `divisor`),
// and their sum, in a fixed tree, is the step's or, unless `opens`, is added to it; nothing is written once a step has
// diverged. shares[r] becomes w_r `share`, for the way back, which does not look at the batch.
//
// Back: from dcode to dz, of the shape of y: by the code that the decoder saw, plus shares[r] times the penalty's
// derivative. code_backward goes on through the activation; what it takes of that may be dz itself.
struct CodeArgs {
    std::int64_t rows, cols, keep;
    float* y;
    std::int64_t y_stride;
    float* code;
    std::int64_t stride;  // of all matrices of `cols` columns
    Planes planes;
    float* kept;
    float* eps;
    std::uint64_t seed;
    BatchRows batch;
    double* penalties;
    double divisor;
    float share;
    float* shares;
    Progress* progress;
    bool opens;
    Activation activation;
    const float* kept_for_activation;
    const float* dcode;
    float* dz;  // of the stride of y
    Planes dz_planes;
};
void code_forward(const CodeArgs& args, cudaStream_t stream);
void code_backward(const CodeArgs& args, cudaStream_t stream);
void sample_forward(const CodeArgs& args, cudaStream_t stream);
void sample_backward(const CodeArgs& args, cudaStream_t stream);

}  // namespace isthmus::cuda
