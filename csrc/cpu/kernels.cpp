// SPDX-License-Identifier: Apache-2.0
// The kernels of one instruction set: this file is compiled once for each, with ISTHMUS_ISA naming the namespace.
#include "cpu/code_kernels.hpp"
#include "cpu/dense.hpp"
#include "cpu/elementwise.hpp"
#include "cpu/isa.hpp"
#include "cpu/panel_packing.hpp"

#define ISTHMUS_TEXT_OF(x) #x
#define ISTHMUS_TEXT(x) ISTHMUS_TEXT_OF(x)

namespace isthmus::cpu::ISTHMUS_ISA {

static_assert(kTileRows <= kMostTileRows);

extern const InstructionSet kInstructionSet;  // a const is internal unless declared otherwise
const InstructionSet kInstructionSet = {
    .name = ISTHMUS_TEXT(ISTHMUS_ISA),
    .lanes = kLanes,
    .panel = kPanel,
    .tile_rows = kTileRows,
    .products =
        {
            .name = "float32",
            .rounds = false,
            .dense_forward = dense_forward,
            .dense_backward_input = dense_backward_input,
            .weight_gradient = weight_gradient,
            .pack_columns = pack_columns,
            .pack_panel = pack_panel,
            .copy_weights = copy_weights,
            .round = nullptr,
        },
    .update = update,
    .loss = loss,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .gather = gather,
    .corrupt = corrupt,
    .keep_largest = keep_largest,
    .sum_of_absolutes = sum_of_absolutes,
    .code_gradient = code_gradient,
    .sample = sample,
    .sample_gradient = sample_gradient,
    .all_finite = all_finite,
    .sum = sum,
    .sum_of_squares = sum_of_squares,
    .pack_transposed = pack_transposed,
    .unpack_transposed = unpack_transposed,
};

}  // namespace isthmus::cpu::ISTHMUS_ISA
