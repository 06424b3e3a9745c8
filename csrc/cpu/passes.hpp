// SPDX-License-Identifier: Apache-2.0
// The two phases of a step, for a share of the work: rows through all layers and back, and weight tiles.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cpu/network.hpp"
#include "cpu/team.hpp"
#include "cpu/workspace.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu {

// This member's share of `rows`, row numbers: gather, corrupt, forward, loss, dz of every layer. `next_rows`: the row
// numbers of the batch that follows, if one does.
void forward_backward(const Network& network, Weights weights, const RowSource& source,
                      std::span<const std::int64_t> rows, std::span<const std::int64_t> next_rows, const Noise& noise,
                      const Member& me, Workspace& work);

}  // namespace isthmus::cpu
