// SPDX-License-Identifier: Apache-2.0
// Whether a network trains in one block of threads, where everything then lies, and how its work is divided.
#pragma once

#include <cstdint>

#include "cuda/range_plan.hpp"

namespace isthmus::cuda {

OneBlockPlan plan_one_block(const Network& network, const RangeFacts& facts, const Limits& limits);

// Steps of one launch: about 20 ms, so that a stop is seen soon and the host is seldom asked; and 1 MB of row numbers.
std::int64_t steps_a_launch(const OneBlockPlan& plan);

}  // namespace isthmus::cuda
