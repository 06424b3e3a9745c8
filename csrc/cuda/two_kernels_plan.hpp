// SPDX-License-Identifier: Apache-2.0
// Whether a step is done by two kernels, how many rows a block of the first one takes, and where things then lie.
#pragma once

#include "cuda/range_plan.hpp"

namespace isthmus::cuda {

TwoKernelsPlan plan_two_kernels(const Network& network, const RangeFacts& facts, const Limits& limits);

}  // namespace isthmus::cuda
