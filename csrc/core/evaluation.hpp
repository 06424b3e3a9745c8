// SPDX-License-Identifier: Apache-2.0
// The loss over rows, in blocks, so that the errors of many rows need little memory and a stop is seen
// in between. Row errors do not depend on the block, and are added in row order in double.
#pragma once

#include <cstdint>
#include <optional>

#include "core/row_feed.hpp"
#include "device/contract.hpp"

namespace isthmus {

// Enough rows to fill every thread's tiles, few enough that a stop is seen within some 10 ms (784-32-784, one core).
inline constexpr std::int64_t kEvaluatedRows = 4096;

// sum(w_i e_i) / sum(w_i), or nullopt when stop asked to. Throws Error(value) where the weights are 0, as they are
// where nothing was observed.
std::optional<double> evaluate_until(const Model& model, RowFeed& rows, Stop& stop);

}  // namespace isthmus
