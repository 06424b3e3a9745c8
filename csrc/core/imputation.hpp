// SPDX-License-Identifier: Apache-2.0
// Rows with what is missing filled in, for callers without NumPy.
#pragma once

#include "core/autoencoder.hpp"
#include "core/table.hpp"

namespace isthmus {

// filled (rows, n_features): x in float32 and, where it is NaN, the model's reconstruction. Rows of the host. Throws
// Error(value) for a model without Missing::mask, for infinity, and for what is beyond float32.
void impute(const Autoencoder& model, const Table& x, MutableMatrixView filled);

}  // namespace isthmus
