// SPDX-License-Identifier: Apache-2.0
// A stored model without its tensors, as the JSON text in the metadata of a model file.
#pragma once

#include <string>
#include <string_view>

#include "core/model_file.hpp"

namespace isthmus {

std::string describe(const StoredModel& model);

// The model, its tensors and history empty. Throws Error that names field and value, unless describe would write this
// very text.
StoredModel parse_description(std::string_view text);

}  // namespace isthmus
