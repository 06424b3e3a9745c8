// SPDX-License-Identifier: Apache-2.0
// The three products as single kernels whose operands are rounded to bfloat16. As Kernels; `count` threads.
#pragma once

#include "cpu/isa.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu::rounded {

void dense_forward(const Products& products, MatrixView x, MatrixView weight, const float* bias, Activation activation,
                   MutableMatrixView y, int count);
void dense_backward_input(const Products& products, MatrixView dz, MatrixView weight, MutableMatrixView dx, int count);
void dense_backward_weight(const Products& products, MatrixView x, MatrixView dz, MutableMatrixView dweight,
                           float* dbias, int count);

}  // namespace isthmus::cpu::rounded
