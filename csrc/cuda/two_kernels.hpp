// SPDX-License-Identifier: Apache-2.0
// The two kernels of a step, queued on a stream: the rows' way through the network and back, then all weight gradients,
// each updating its parameters as it ends. All pointers are to device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/elementwise.hpp"
#include "cuda/row_blocks_layout.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// For each of `count` rows: x, the output of every layer but the last, dz of every layer and the row's weighted error.
// The step that the counters name is the one whose update comes next; after one that diverged nothing is written, and
// there is none.
struct RowBlocksArgs {
    RowBlockLayout layout;
    Loss loss;
    const float* params;
    BatchRows rows;  // with positions and numbers
    std::int64_t count;
    Noise noise;  // of progress's epoch
    float* x;
    float* y[kMostRowBlockLayers];  // strides as the device's own matrices have them
    float* dz[kMostRowBlockLayers];
    double* errors;
    Progress* progress;
};
void run_row_blocks(const RowBlocksArgs& args, cudaStream_t stream);

// Gradients of all layers from x and dz, summed as weight_gradient.cu does; where a sum ends, the update. One block
// more adds up the rows' errors and advances the counters.
struct GradientUpdateArgs {
    struct OfLayer {
        const float* dz;
        const float* x;
        int dz_stride, x_stride;
        int out, in;
        int rows_blocks, cols_blocks, parts, part_rows;
        int end_block;  // of the layers up to this one
        int flat_weight, flat_bias;
    };
    Optimizer optimizer;
    int n_layers;
    OfLayer layers[kMostRowBlockLayers];
    int count;     // rows of the batch
    float* state;  // params, m and v, one after another
    std::int64_t flat_size;
    // What the parts of a gradient pass through, those of a layer kPartFloats, kBiasPartFloats and kPartBlocks from the
    // next one's.
    float* part_sums;
    float* part_bias_sums;
    unsigned* blocks_arrived;
    const double* errors;
    StepTable table;
};
void run_gradient_updates(const GradientUpdateArgs& args, cudaStream_t stream);

}  // namespace isthmus::cuda
