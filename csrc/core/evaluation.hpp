// SPDX-License-Identifier: Apache-2.0
// The loss over the rows of a source, in blocks, so that the errors of many rows need little memory and a stop is seen
// in between. Row errors do not depend on the block, and are added in row order in double.
#pragma once

#include <cstdint>
#include <optional>

#include "device/contract.hpp"

namespace isthmus {

// Rows [first, first + count).
RowSource slice(const RowSource& source, std::int64_t first, std::int64_t count);

// sum(w_i e_i) / sum(w_i), or nullopt when stop asked to.
std::optional<double> evaluate_until(const Model& model, const RowSource& source, Stop& stop);

}  // namespace isthmus
