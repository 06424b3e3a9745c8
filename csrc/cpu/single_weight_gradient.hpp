// SPDX-License-Identifier: Apache-2.0
// The weight gradient of a call of its own, whose operands lie as the caller has them.
#pragma once

#include "cpu/isa.hpp"
#include "isthmus/types.hpp"

namespace isthmus::cpu {

// dweight (out, in) = dz.T @ x and dbias (out) = sum over rows of dz, null: not wanted; in float32.
void single_weight_gradient(const Products& products, MatrixView x, MatrixView dz, MutableMatrixView dweight,
                            float* dbias, int count);

}  // namespace isthmus::cpu
