// SPDX-License-Identifier: Apache-2.0
// The model file: a safetensors container (design, section 4). Written only here, read only here: file, bytes, pickle
// state and C++ go through the same validator.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/detector.hpp"
#include "core/scaling.hpp"
#include "core/training_state.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// Raised whenever the text of a file changes: a new parameter, tensor or counter.
inline constexpr int kFormatVersion = 1;
// Raised when the same file and input may give other bits than before.
inline constexpr int kNumericsVersion = 1;

struct StoredModel {
    Configuration configuration;
    std::int64_t n_features = 0;
    std::vector<std::string> feature_names;  // empty: none
    Scaling scaling;                         // empty: none, or not fitted yet
    std::vector<double> means;               // of each column, with missing="mask"; empty: not fitted yet
    Calibration calibration;                 // of an anomaly detector; empty: not yet
    // Weights, epoch, step, seed and history are always stored; moments, counters and best weights only with
    // has_training_state.
    TrainingState state;
    bool has_training_state = false;
};

// Throws Error(value), naming the field, for a model that from_bytes would refuse. to_bytes(from_bytes(b)) == b.
std::string to_bytes(const StoredModel& model);

// Throws Error(model_format) with `origin` (a path, or "bytes"), offset, field and value on anything that to_bytes did
// not write. Nothing larger than the bytes themselves is allocated, but for what the header, at most 1 MiB, is parsed
// into.
StoredModel from_bytes(std::string_view bytes, const std::string& origin);

}  // namespace isthmus
