// SPDX-License-Identifier: Apache-2.0
// isthmus._core.Model, registered topic by topic, and what the topics have in common.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

#include "bindings/arrays.hpp"
#include "bindings/shared_model.hpp"
#include "core/passage.hpp"

namespace isthmus::bindings {

using ModelClass = py::class_<SharedModel>;
using OptionalArray = std::optional<FloatArray>;
using OptionalRows = std::optional<RowArray>;

void register_training(ModelClass& model);
void register_weights(ModelClass& model);
void register_inference(ModelClass& model);

// Rows with the weights that count them, checked for where they are.
inline Samples samples(const SharedModel& model, const RowArray& inputs, const OptionalArray& weights,
                       const char* name = "X") {
    const Table rows = table(inputs, model.device_name(), name);
    return {rows, std::nullopt, row_weights(weights, rows.rows)};
}

}  // namespace isthmus::bindings
