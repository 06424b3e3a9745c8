// SPDX-License-Identifier: Apache-2.0
// What plans are made of: what a device has, and what the environment asks for, in tests and measurements.
#pragma once

#include "cuda/plan.hpp"

namespace isthmus::cuda {

Limits device_limits(int ordinal);

// With what the variables say that are set now. None but these two change bits: ISTHMUS_CUDA_FLOAT32 (simt, bf16x6),
// what precision "float32" is computed in; ISTHMUS_CUDA_WGMMA (on, off), for wide layers where the device has it. The
// others are ISTHMUS_CUDA_TILE (large, medium, small) and ISTHMUS_CUDA_PLAN (one_block, two_kernels, layers). Throws
// Error(value) for other words.
Limits with_environment(Limits limits);

}  // namespace isthmus::cuda
