// SPDX-License-Identifier: Apache-2.0
// Whether a few rows go through a range of layers in one launch, and where everything then lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "cuda/network.hpp"
#include "cuda/plan.hpp"
#include "cuda/row_blocks_layout.hpp"

namespace isthmus::cuda {

inline constexpr std::int64_t kFewRows = 16;

// For ops [first_op, last_op); none where they do not fit a block, or where all multiprocessors are faster with a layer
// than one with all.
std::optional<RowBlockLayout> few_rows_layout(const Network& network, std::size_t first_op, std::size_t last_op,
                                              const Limits& limits);

}  // namespace isthmus::cuda
