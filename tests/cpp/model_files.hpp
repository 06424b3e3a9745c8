// SPDX-License-Identifier: Apache-2.0
// A small model, its file, and forgeries of it with a correct digest.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "core/configuration.hpp"
#include "core/model_file.hpp"
#include "core/parameters.hpp"
#include "sealing.hpp"

namespace model_files {

using namespace isthmus;

using sealing::header_length;
using sealing::header_of;
using sealing::kDigestAt;
using sealing::sealed;
using sealing::with_header;
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();

inline std::vector<float> filled(const ParameterLayout& layout, float start, float step) {
    std::vector<float> flat(static_cast<std::size_t>(layout.flat_size), 0.0F);
    for (const Parameter& parameter : layout.parameters) {
        for (std::int64_t k = 0; k < parameter.size(); ++k) {
            flat[static_cast<std::size_t>(parameter.offset + k)] = start;
            start += step;
        }
    }
    return flat;
}

inline ParameterLayout layout_of(const StoredModel& model) {
    return parameter_layout(resolve_widths(model.configuration, model.n_features));
}

// 3-2-1-3, after two epochs, in the middle of the third.
inline StoredModel small_model(bool training) {
    StoredModel model;
    model.configuration.encoder_layers = {{2}};
    model.configuration.decoder_layers = {{1}};
    model.configuration.random_state = UINT64_MAX;
    model.n_features = 3;
    model.feature_names = {"a", "\xC3\xA9\n", ""};
    const ParameterLayout layout = layout_of(model);
    TrainingState& state = model.state;
    state.tensors.params = filled(layout, -1.0F, 0.125F);
    state.tensors.params[1] = -0.0F;
    state.tensors.params[2] = std::numeric_limits<float>::denorm_min();
    state.seed = 0x8000000000000001U;
    state.epoch = 2;
    state.step = 7;
    state.history.loss = {0.5, 0.25};
    state.history.val_loss = {std::numeric_limits<double>::quiet_NaN(), 0.75};
    state.history.learning_rate = {1e-3, 1e-3};
    state.history.seconds = {0.0, 0.125};
    model.has_training_state = training;
    if (training) {
        state.step_in_epoch = 1;
        state.loss_sum = 1.0 / 3.0;
        state.weight_sum = 3.0;
        state.seconds = 0.1;
        state.fit_first_epoch = 1;
        state.fit_first_step = 2;
        state.fit_last_epoch = 9;
        state.plateau_factor = 0.25;
        state.best_wait = 1;
        state.tensors.m = filled(layout, 1.0F, -0.5F);
        state.tensors.v = filled(layout, 0.0F, 0.5F);
        state.tensors.v[0] = kInf;
        state.best_params = filled(layout, 9.0F, -0.25F);
    }
    return model;
}

inline bool equal_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

inline bool equal_bits(const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

inline void check_equal(const StoredModel& a, const StoredModel& b) {
    CHECK(to_json(a.configuration).dump() == to_json(b.configuration).dump());
    CHECK(a.n_features == b.n_features && a.feature_names == b.feature_names);
    CHECK(equal_bits(a.scaling.shift, b.scaling.shift) && equal_bits(a.scaling.scale, b.scaling.scale));
    CHECK(equal_bits(a.means, b.means));
    const Calibration& c = a.calibration;
    const Calibration& d = b.calibration;
    CHECK(equal_bits(c.spread, d.spread) && equal_bits(c.offset, d.offset) && equal_bits(c.held_back, d.held_back));
    CHECK(a.has_training_state == b.has_training_state);
    const TrainingState& s = a.state;
    const TrainingState& t = b.state;
    CHECK(equal_bits(s.tensors.params, t.tensors.params) && equal_bits(s.tensors.m, t.tensors.m));
    CHECK(equal_bits(s.tensors.v, t.tensors.v) && equal_bits(s.best_params, t.best_params));
    CHECK(s.seed == t.seed && s.epoch == t.epoch && s.step == t.step && s.step_in_epoch == t.step_in_epoch);
    CHECK(s.loss_sum == t.loss_sum && s.weight_sum == t.weight_sum && s.seconds == t.seconds);
    CHECK(s.fit_first_epoch == t.fit_first_epoch && s.fit_first_step == t.fit_first_step);
    CHECK(s.fit_last_epoch == t.fit_last_epoch);
    CHECK(s.plateau_factor == t.plateau_factor && s.plateau_best == t.plateau_best && s.plateau_wait == t.plateau_wait);
    CHECK(s.best_loss == t.best_loss && s.best_wait == t.best_wait);
    CHECK(equal_bits(s.history.loss, t.history.loss) && equal_bits(s.history.val_loss, t.history.val_loss));
    CHECK(equal_bits(s.history.learning_rate, t.history.learning_rate) &&
          equal_bits(s.history.seconds, t.history.seconds));
}

// `old` must occur in the header; its first occurrence is replaced.
inline std::string forged(const std::string& file, const std::string& old, const std::string& replacement) {
    std::string header = header_of(file);
    const std::size_t at = header.find(old);
    check::report(at != std::string::npos, __FILE__, __LINE__, ("the header has no " + old).c_str());
    return with_header(file, at == std::string::npos ? header : header.replace(at, old.size(), replacement));
}

// What from_bytes says; "accepted" if it reads it.
inline std::string verdict(std::string_view file) {
    try {
        from_bytes(file, "here");
        return "accepted";
    } catch (const Error& error) {
        return (error.kind() == ErrorKind::model_format ? "" : "another kind: ") + std::string(error.what());
    }
}

inline void check_verdict(const std::string& file, const std::string& part, int line) {
    const std::string said = verdict(file);
    const bool as_expected = said.starts_with("here: ") && said.find(part) != std::string::npos;
    check::report(as_expected, __FILE__, line, ("expected \"" + part + "\", got: " + said).c_str());
}
#define CHECK_VERDICT(file, part) check_verdict(file, part, __LINE__)

// Either refused as a bad file, or it is what to_bytes writes.
inline bool refused_or_canonical(const std::string& file) {
    try {
        return to_bytes(from_bytes(file, "here")) == file;
    } catch (const Error& error) {
        return error.kind() == ErrorKind::model_format;
    }
}

inline std::string store_error(const StoredModel& model) {
    try {
        to_bytes(model);
        return "stored";
    } catch (const Error& error) {
        return (error.kind() == ErrorKind::value ? "" : "another kind: ") + std::string(error.what());
    }
}

}  // namespace model_files
