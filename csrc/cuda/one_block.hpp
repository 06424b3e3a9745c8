// SPDX-License-Identifier: Apache-2.0
// The kernel that runs step after step in one block of threads, queued on a stream.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/elementwise.hpp"
#include "cuda/one_block_layout.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// The numbers, constants, losses and diverged may be pinned memory of the host: they are read a step or two before
// they are needed, and written without waiting, so that a launch needs no copies around it.
struct OneBlockArgs {
    BlockLayout layout;
    Loss loss;
    Optimizer optimizer;
    float* params;  // flat
    float* m;
    float* v;
    BatchRows rows;  // numbers: of all steps of the launch, one after another; positions are the same
    Noise noise;
    const StepConstants* constants;  // one a step
    int steps;
    int rows_of_last;  // of the launch's last step
    double* losses;    // layout.loss_groups a step, whose sum, in their order, is the step's loss
    int* diverged;     // left alone unless, after step *diverged, a parameter or a second moment is not finite;
                       // then the steps after it are not done
};
void run_one_block(const OneBlockArgs& args, cudaStream_t stream);

}  // namespace isthmus::cuda
