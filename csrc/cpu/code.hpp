// SPDX-License-Identifier: Apache-2.0
// The code between encoder and decoder, where the network does something to it (device/code_stage.hpp): units that are
// not kept become 0, or all are drawn, and a penalty is measured. Its activation is applied by then, as by any layer.
#pragma once

#include <cstdint>
#include <span>

#include "cpu/network.hpp"
#include "cpu/workspace.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu {

// Rows [row, row + count) of the workspace. `rows` are the batch's numbers.
void forward_code(const Network& network, const RowSource& source, std::span<const std::int64_t> rows,
                  const Noise& noise, std::int64_t row, std::int64_t count, Workspace& work);
// From work.dcode to dz of the code's layer.
void backward_code(const Network& network, const RowSource& source, std::span<const std::int64_t> rows,
                   std::int64_t row, std::int64_t count, Workspace& work);

// At inference: `count` rows of the output of the code's layer become the code in place, which then are the first
// columns of it, a code that would be drawn being its means; `pairs`, unless null, takes them rounded. `kept` is a row
// of scratch.
void change_code(const Network& network, float* y, std::int64_t stride, std::int64_t count, Pair* pairs, float* kept);

}  // namespace isthmus::cpu
