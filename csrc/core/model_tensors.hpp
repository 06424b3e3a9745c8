// SPDX-License-Identifier: Apache-2.0
// The tensors of a model file: which there are, in which order, of which shape, and which values they may hold.
#pragma once

#include <span>
#include <vector>

#include "core/model_file.hpp"
#include "core/safetensors.hpp"

namespace isthmus {

// Views into the model. Throws Error that names tensor and index where read_tensors would refuse it.
std::vector<StoredTensor> tensors_of(const StoredModel& model);

// Fills in history and flat buffers of a model whose other fields are read already. Throws Error(model_format) unless
// tensors_of returns the same for it. Nothing is allocated before its size is known to be that of the tensors.
void read_tensors(std::span<const StoredTensor> tensors, StoredModel& model);

}  // namespace isthmus
