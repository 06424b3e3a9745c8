// SPDX-License-Identifier: Apache-2.0
// Models: made, described, stored.
#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "c/handles.hpp"
#include "core/checkpoints.hpp"
#include "core/configuration.hpp"
#include "core/file.hpp"
#include "core/json.hpp"
#include "core/model_file.hpp"

namespace isthmus::c {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

Configuration configuration_of(const char* parameters) {
    const std::string_view text = parameters != nullptr ? parameters : "{}";
    try {
        return parse_configuration(parse_json(text));
    } catch (const Error& error) {
        // The parser is that of model files.
        if (error.kind() != ErrorKind::model_format) throw;
        throw Error(ErrorKind::value, std::string("parameters are no JSON object: ") + error.what());
    }
}

std::uint64_t seed_of(const Configuration& configuration) {
    if (configuration.random_state) return *configuration.random_state;
    std::random_device entropy;
    return std::uint64_t{entropy()} << 32 | entropy();
}

Placement placement_of(const isthmus_placement* given) {
    const auto placement = known_part(given, sizeof(isthmus_placement), "placement");
    if (placement.n_threads < 0) {
        throw Error(ErrorKind::value,
                    "placement.n_threads must be at least 0; got " + std::to_string(placement.n_threads));
    }
    return {placement.device != nullptr ? placement.device : "auto", placement.n_threads};
}

template <class... Arguments>
isthmus_model* made(const Placement& placement, Arguments&&... arguments) {
    CompileOptions options;
    options.n_threads = placement.n_threads;
    return new isthmus_model{std::make_shared<SharedModel>(placement, options, std::forward<Arguments>(arguments)...)};
}

void* copied(std::string_view bytes) { return std::memcpy(allocated(bytes.size()), bytes.data(), bytes.size()); }

char* copied_text(const std::string& text) {
    return static_cast<char*>(copied({text.c_str(), text.size() + 1}));  // with its end
}

char* parameters_text(const Configuration& configuration) { return copied_text(to_json(configuration).dump()); }

const std::vector<double>& series_of(const History& history, std::int32_t series) {
    switch (series) {
        case ISTHMUS_HISTORY_LOSS: return history.loss;
        case ISTHMUS_HISTORY_VAL_LOSS: return history.val_loss;
        case ISTHMUS_HISTORY_LEARNING_RATE: return history.learning_rate;
        case ISTHMUS_HISTORY_SECONDS: return history.seconds;
        case ISTHMUS_HISTORY_PENALTY: return history.penalty;
        default: throw Error(ErrorKind::value, "series must be an isthmus_series; got " + std::to_string(series));
    }
}

}  // namespace
}  // namespace isthmus::c

using namespace isthmus::c;  // NOLINT: the functions below are of no namespace
using isthmus::Autoencoder;
using isthmus::Configuration;

isthmus_status isthmus_create(int64_t n_features, const char* parameters, const isthmus_placement* placement,
                              isthmus_model** model) {
    return guarded([&] {
        check_given(model, "model");
        Configuration configuration = configuration_of(parameters);
        const std::uint64_t seed = seed_of(configuration);
        *model = made(placement_of(placement), std::move(configuration), n_features, seed);
    });
}

void isthmus_destroy(isthmus_model* model) { delete model; }

isthmus_status isthmus_check_parameters(const char* parameters, char** configuration) {
    return guarded([&] { required(configuration, "configuration") = parameters_text(configuration_of(parameters)); });
}

isthmus_status isthmus_get_parameters(const isthmus_model* model, char** configuration) {
    return reading(model, [&](const Autoencoder& core) {
        required(configuration, "configuration") = parameters_text(core.configuration());
    });
}

isthmus_status isthmus_configure(isthmus_model* model, const char* parameters) {
    return writing(model, [&](Autoencoder& core) { core.configure(configuration_of(parameters)); });
}

isthmus_status isthmus_get_info(const isthmus_model* model, isthmus_info* info) {
    return reading(model, [&](const Autoencoder& core) {
        const std::size_t size = required(info, "info").struct_size;
        if (size < sizeof(isthmus_info)) check_struct(info, size, sizeof(isthmus_info), sizeof(isthmus_info), "info");
        isthmus_info found{};
        found.struct_size = size;
        found.n_features = core.n_features();
        found.code_size = core.code_size();
        found.epochs = core.state().epoch;
        found.steps = core.state().step;
        found.loss = core.state().loss().value_or(kNone);
        found.offset = core.calibration().offset.empty() ? kNone : core.calibration().offset.front();
        found.n_threads = model->shared->n_threads();
        std::memcpy(info, &found, sizeof(found));  // what a later version would have beyond it stays as it is
    });
}

isthmus_status isthmus_get_device(const isthmus_model* model, char** name) {
    return guarded([&] { required(name, "name") = copied_text(required(model, "model").shared->device_name()); });
}

isthmus_status isthmus_find_device(const char* device, char** name) {
    return guarded([&] {
        required(name, "name") = copied_text(isthmus::device_named(device != nullptr ? device : "auto").name());
    });
}

isthmus_status isthmus_get_history(const isthmus_model* model, int32_t series, double* values, size_t capacity,
                                   size_t* count) {
    return reading(model, [&](const Autoencoder& core) {
        const std::vector<double>& found = series_of(core.state().history, series);
        required(count, "count") = found.size();
        if (values == nullptr) return;
        check_capacity(capacity, found.size(), "values");
        std::copy(found.begin(), found.end(), values);
    });
}

// ---- files ----------------------------------------------------------------------------------------------------------

isthmus_status isthmus_save(const isthmus_model* model, const char* path, int training_state) {
    return reading(model, [&](const Autoencoder& core) {
        check_given(path, "path");
        isthmus::write_atomically(path, to_bytes(core.store(training_state != 0)));
    });
}

isthmus_status isthmus_load(const char* path, const isthmus_placement* placement, isthmus_model** model) {
    return guarded([&] {
        check_given(model, "model");
        check_given(path, "path");
        *model = made(placement_of(placement), isthmus::from_bytes(isthmus::read_file(path), path));
    });
}

isthmus_status isthmus_load_checkpoint(const char* path, const isthmus_placement* placement, isthmus_model** model) {
    return guarded([&] {
        check_given(model, "model");
        check_given(path, "path");
        *model = made(placement_of(placement), isthmus::newest_checkpoint(path).model);
    });
}

isthmus_status isthmus_to_bytes(const isthmus_model* model, int training_state, void** bytes, size_t* size) {
    return reading(model, [&](const Autoencoder& core) {
        check_given(bytes, "bytes");
        check_given(size, "size");
        const std::string file = to_bytes(core.store(training_state != 0));
        *bytes = copied(file);
        *size = file.size();
    });
}

isthmus_status isthmus_from_bytes(const void* bytes, size_t size, const isthmus_placement* placement,
                                  isthmus_model** model) {
    return guarded([&] {
        check_given(model, "model");
        check_given(bytes, "bytes");
        const std::string_view file(static_cast<const char*>(bytes), size);
        *model = made(placement_of(placement), isthmus::from_bytes(file, "bytes"));
    });
}
