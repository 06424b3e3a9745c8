// SPDX-License-Identifier: Apache-2.0
#include "core/model_tensors.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "core/configuration.hpp"
#include "core/json.hpp"
#include "core/parameters.hpp"
#include "core/program.hpp"

namespace isthmus {
namespace {

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorKind::model_format, what); }

// First in the file: multiples of 8 bytes, so that every tensor lies at its natural alignment.
constexpr std::array<std::pair<const char*, std::vector<double> History::*>, 5> kHistory = {{
    {"history.loss", &History::loss},
    {"history.val_loss", &History::val_loss},
    {"history.learning_rate", &History::learning_rate},
    {"history.seconds", &History::seconds},
    {"history.penalty", &History::penalty},
}};

// Behind it what was learned about columns and scores, each there or not: as many numbers as there are features, one,
// or any; finite, and above 0 where something is divided by them.
enum class Count : std::uint8_t { features, one, any };
struct Learned {
    const char* name;
    std::vector<double>& (*values)(StoredModel&);
    Count count;
    bool divides;
};
constexpr std::array kLearned = {
    Learned{"scaling.shift", [](StoredModel& m) -> std::vector<double>& { return m.scaling.shift; }, Count::features,
            false},
    Learned{"scaling.scale", [](StoredModel& m) -> std::vector<double>& { return m.scaling.scale; }, Count::features,
            true},
    Learned{"missing.mean", [](StoredModel& m) -> std::vector<double>& { return m.means; }, Count::features, false},
    Learned{"detector.spread", [](StoredModel& m) -> std::vector<double>& { return m.calibration.spread; },
            Count::features, true},
    Learned{"detector.offset", [](StoredModel& m) -> std::vector<double>& { return m.calibration.offset; }, Count::one,
            false},
    Learned{"detector.held_back", [](StoredModel& m) -> std::vector<double>& { return m.calibration.held_back; },
            Count::any, false},
};

const std::vector<double>& values_of(const Learned& learned, const StoredModel& model) {
    return learned.values(const_cast<StoredModel&>(model));  // NOLINT: the function returns a member, no more
}

enum class Buffer : std::uint8_t { params, m, v, best };
constexpr std::array kBuffers = {Buffer::params, Buffer::m, Buffer::v, Buffer::best};

const char* prefix(Buffer buffer) {
    switch (buffer) {
        case Buffer::params: return "";
        case Buffer::m: return "training.m.";
        case Buffer::v: return "training.v.";
        case Buffer::best: break;
    }
    return "training.best.";
}

template <class State>
auto& floats(State& state, Buffer buffer) {
    switch (buffer) {
        case Buffer::params: return state.tensors.params;
        case Buffer::m: return state.tensors.m;
        case Buffer::v: return state.tensors.v;
        case Buffer::best: break;
    }
    return state.best_params;
}

struct Network {
    explicit Network(const StoredModel& model) {
        const Widths widths = resolve_widths(model.configuration, model.n_features);
        layout = parameter_layout(widths);
        names = parameter_names(widths);
        for (const Parameter& parameter : layout.parameters) shapes.push_back({parameter.rows, parameter.cols});
        for (const LayerParameters& layer : layout.layers) shapes[layer.bias].resize(1);
    }

    ParameterLayout layout;
    std::vector<std::string> names;
    std::vector<std::vector<std::int64_t>> shapes;
};

// One of the penalty is stored where there is one.
bool is_stored(std::vector<double> History::* member, const StoredModel& model) {
    return member != &History::penalty || penalty_of(model.configuration);
}

void check_history(const StoredModel& model) {
    for (const auto& [name, member] : kHistory) {
        const auto size = static_cast<std::int64_t>((model.state.history.*member).size());
        const bool may_be_shorter = member == &History::val_loss;
        if (!is_stored(member, model)) {
            if (size > 0) fail(std::string("tensor ") + name + " does not belong to a model without a penalty");
            continue;
        }
        if (size == model.state.epoch || (may_be_shorter && size < model.state.epoch)) continue;
        fail(std::string(name) + " has " + std::to_string(size) + " entries, but epoch is " +
             std::to_string(model.state.epoch));
    }
}

// Weights and first moments are finite. A second moment may overflow to infinity, which makes for an update of 0, and
// is never negative.
void check_values(const std::vector<float>& flat, Buffer buffer, const Network& network) {
    for (std::size_t i = 0; i < network.names.size(); ++i) {
        const Parameter& parameter = network.layout.parameters[i];
        for (std::int64_t k = 0; k < parameter.size(); ++k) {
            const float value = flat[static_cast<std::size_t>(parameter.offset + k)];
            if (buffer == Buffer::v ? value >= 0.0F : std::isfinite(value)) continue;
            std::string index = std::to_string(k / parameter.cols);
            if (network.shapes[i].size() > 1) index += ", " + std::to_string(k % parameter.cols);
            fail(prefix(buffer) + network.names[i] + "[" + index + "] is " + Json(double{value}).dump() +
                 "; it must be " + (buffer == Buffer::v ? "at least 0" : "finite"));
        }
    }
}

template <class T>
std::string_view bytes_of(const T* data, std::int64_t size) {
    return {reinterpret_cast<const char*>(data), static_cast<std::size_t>(size) * sizeof(T)};
}

std::string to_text(const std::vector<std::int64_t>& shape) {
    return summary(Json(JsonArray(shape.begin(), shape.end())));
}

// Walks through the tensors of a file in the one order they may have.
class Walk {
public:
    explicit Walk(std::span<const StoredTensor> left) : left_(left) {}

    bool is_at(const std::string& name) const { return !left_.empty() && left_.front().name == name; }

    const StoredTensor& next(const std::string& name, TensorType type) {
        if (!is_at(name)) {
            fail("tensor " + name + " is missing; in its place is " +
                 (left_.empty() ? "the end of the file" : summary(Json(left_.front().name))));
        }
        const StoredTensor& tensor = left_.front();
        if (tensor.type != type) fail("tensor " + name + " must be " + (type == TensorType::f32 ? "F32" : "F64"));
        left_ = left_.subspan(1);
        return tensor;
    }

    void end() const {
        if (!left_.empty()) fail("tensor " + summary(Json(left_.front().name)) + " does not belong to the model");
    }

private:
    std::span<const StoredTensor> left_;
};

std::vector<double> read_series(Walk& walk, const std::string& name) {
    const StoredTensor& tensor = walk.next(name, TensorType::f64);
    if (tensor.shape.size() != 1)
        fail("tensor " + name + ": shape must be of one dimension; got " + to_text(tensor.shape));
    std::vector<double> values(tensor.bytes.size() / sizeof(double));
    if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
}

void check_learned(const StoredModel& model) {
    const bool scaled = !model.scaling.shift.empty() || !model.scaling.scale.empty();
    const bool calibrated = !model.calibration.empty() || !model.calibration.offset.empty();
    if (scaled && !model.configuration.scaling)
        fail("tensor scaling.shift does not belong to a model with scaling=None");
    if ((calibrated || !model.calibration.held_back.empty()) &&
        model.configuration.kind != ModelKind::anomaly_detector) {
        fail("tensor detector.spread does not belong to an autoencoder");
    }
    if (!model.means.empty() && model.configuration.missing == Missing::error)
        fail("tensor missing.mean does not belong to a model with missing=\"error\"");
    for (const Learned& learned : kLearned) {
        const std::vector<double>& values = values_of(learned, model);
        const std::string_view name = learned.name;
        const bool there = name.starts_with("scaling")   ? scaled
                           : name.starts_with("missing") ? !model.means.empty()
                                                         : calibrated;
        const auto size = static_cast<std::int64_t>(values.size());
        const std::int64_t wanted = learned.count == Count::features ? model.n_features : 1;
        if (there && learned.count != Count::any && size != wanted) {
            fail(std::string("tensor ") + learned.name + ": shape must be " + to_text({wanted}) + "; got " +
                 to_text({size}));
        }
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (std::isfinite(values[i]) && (!learned.divides || values[i] > 0.0)) continue;
            fail(std::string(learned.name) + "[" + std::to_string(i) + "] is " + Json(values[i]).dump() +
                 "; it must be finite" + (learned.divides ? " and above 0" : ""));
        }
    }
    if (!std::is_sorted(model.calibration.held_back.begin(), model.calibration.held_back.end())) {
        fail("tensor detector.held_back must ascend");
    }
}

void read_buffer(Walk& walk, Buffer buffer, const Network& network, std::vector<float>& flat) {
    std::vector<std::string_view> pieces;
    for (std::size_t i = 0; i < network.names.size(); ++i) {
        const std::string name = prefix(buffer) + network.names[i];
        const StoredTensor& tensor = walk.next(name, TensorType::f32);
        if (tensor.shape != network.shapes[i]) {
            fail("tensor " + name + ": shape must be " + to_text(network.shapes[i]) + "; got " + to_text(tensor.shape));
        }
        pieces.push_back(tensor.bytes);
    }
    flat.assign(static_cast<std::size_t>(network.layout.flat_size), 0.0F);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        std::memcpy(flat.data() + network.layout.parameters[i].offset, pieces[i].data(), pieces[i].size());
    }
    check_values(flat, buffer, network);
}

}  // namespace

std::vector<StoredTensor> tensors_of(const StoredModel& model) {
    const Network network(model);
    check_history(model);
    std::vector<StoredTensor> tensors;
    for (const auto& [name, member] : kHistory) {
        if (!is_stored(member, model)) continue;
        const std::vector<double>& values = model.state.history.*member;
        const auto size = static_cast<std::int64_t>(values.size());
        tensors.push_back({name, TensorType::f64, {size}, bytes_of(values.data(), size)});
    }
    check_learned(model);
    for (const Learned& learned : kLearned) {
        const std::vector<double>& values = values_of(learned, model);
        const auto size = static_cast<std::int64_t>(values.size());
        if (size > 0) tensors.push_back({learned.name, TensorType::f64, {size}, bytes_of(values.data(), size)});
    }
    for (const Buffer buffer : kBuffers) {
        const std::vector<float>& flat = floats(model.state, buffer);
        if (buffer != Buffer::params && (!model.has_training_state || flat.empty())) continue;
        if (static_cast<std::int64_t>(flat.size()) != network.layout.flat_size) {
            fail(std::string(prefix(buffer)) + "*: there are " + std::to_string(flat.size()) +
                 " values, but the network takes " + std::to_string(network.layout.flat_size));
        }
        check_values(flat, buffer, network);
        for (std::size_t i = 0; i < network.names.size(); ++i) {
            const Parameter& parameter = network.layout.parameters[i];
            tensors.push_back({prefix(buffer) + network.names[i], TensorType::f32, network.shapes[i],
                               bytes_of(flat.data() + parameter.offset, parameter.size())});
        }
    }
    return tensors;
}

void read_tensors(std::span<const StoredTensor> tensors, StoredModel& model) {
    // A layer takes two bytes of the header's text and 200 here; each has a bias, which takes 60 bytes of text.
    const std::size_t n_layers = resolve_widths(model.configuration, model.n_features).layers.size() - 1;
    if (n_layers > tensors.size()) {
        fail("the network has " + std::to_string(n_layers) + " layers, but the file " + std::to_string(tensors.size()) +
             " tensors");
    }
    const Network network(model);
    Walk walk(tensors);
    for (const auto& [name, member] : kHistory) {
        if (is_stored(member, model)) model.state.history.*member = read_series(walk, name);
    }
    check_history(model);
    for (const Learned& learned : kLearned) {
        if (walk.is_at(learned.name)) learned.values(model) = read_series(walk, learned.name);
    }
    check_learned(model);
    for (const Buffer buffer : kBuffers) {
        const bool present = walk.is_at(prefix(buffer) + network.names.front());
        if (buffer == Buffer::params || (model.has_training_state && present)) {
            read_buffer(walk, buffer, network, floats(model.state, buffer));
        }
    }
    walk.end();
}

}  // namespace isthmus
