// SPDX-License-Identifier: Apache-2.0
// The products in bfloat16 of one family of instructions: this file is compiled once for each, with ISTHMUS_ISA naming
// the namespace.
#include "cpu/bfloat16/dense.hpp"
#include "cpu/isa.hpp"

#define ISTHMUS_TEXT_OF(x) #x
#define ISTHMUS_TEXT(x) ISTHMUS_TEXT_OF(x)

namespace isthmus::cpu::ISTHMUS_ISA {

extern const Products kProducts;  // a const is internal unless declared otherwise
const Products kProducts = {
    .name = ISTHMUS_TEXT(ISTHMUS_ISA),
    .rounds = true,
    .dense_forward = dense_forward,
    .dense_backward_input = dense_backward_input,
    .weight_gradient = weight_gradient,
    .pack_columns = pack_columns,
    .pack_panel = pack_panel,
    .copy_weights = copy_weights,
    .round = round,
};

}  // namespace isthmus::cpu::ISTHMUS_ISA
