// SPDX-License-Identifier: Apache-2.0
// What a model is made of: its weights, without the gaps between them in the core, and its features' names.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "c/handles.hpp"
#include "core/json.hpp"

namespace isthmus::c {
namespace {

std::size_t weight_count(const Program& program) {
    std::int64_t count = 0;
    for (const Parameter& parameter : program.parameters) count += parameter.size();
    return static_cast<std::size_t>(count);
}

// Calls body(the parameter's place in the core's flat buffer, its place among the caller's numbers, how many).
template <class Body>
void for_each_parameter(const Program& program, Body&& body) {
    std::int64_t at = 0;
    for (const Parameter& parameter : program.parameters) {
        body(parameter.offset, at, parameter.size());
        at += parameter.size();
    }
}

std::vector<std::string> checked_names(const char* const* names, std::size_t count, std::int64_t n_features) {
    if (count != 0 && count != static_cast<std::size_t>(n_features)) {
        throw Error(ErrorKind::value, "names must be none or one for each of " + std::to_string(n_features) +
                                          " features; got " + std::to_string(count));
    }
    if (count != 0) check_given(names, "names");
    std::vector<std::string> checked;
    for (std::size_t i = 0; i < count; ++i) {
        const std::string which = "names[" + std::to_string(i) + "]";
        check_given(names[i], which.c_str());
        for (std::string_view rest = names[i]; !rest.empty();) {
            const std::size_t length = utf8_length(rest);
            if (length == 0) throw Error(ErrorKind::value, which + " is not UTF-8");
            rest.remove_prefix(length);
        }
        checked.emplace_back(names[i]);
    }
    return checked;
}

// The pointers and, behind them, what they point to.
char** one_allocation(const std::vector<std::string>& names) {
    if (names.empty()) return nullptr;
    std::size_t bytes = names.size() * sizeof(char*);
    for (const std::string& name : names) bytes += name.size() + 1;
    auto** const pointers = static_cast<char**>(allocated(bytes));
    char* text = reinterpret_cast<char*>(pointers + names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
        pointers[i] = text;
        std::memcpy(text, names[i].c_str(), names[i].size() + 1);
        text += names[i].size() + 1;
    }
    return pointers;
}

}  // namespace
}  // namespace isthmus::c

using namespace isthmus::c;  // NOLINT: the functions below are of no namespace
using isthmus::Autoencoder;

isthmus_status isthmus_get_weight_shapes(const isthmus_model* model, isthmus_shape* shapes, size_t capacity,
                                         size_t* count) {
    return reading(model, [&](const Autoencoder& core) {
        const std::vector<isthmus::Parameter>& parameters = core.program().parameters;
        required(count, "count") = parameters.size();
        if (shapes == nullptr) return;
        check_capacity(capacity, parameters.size(), "shapes");
        for (const isthmus::Parameter& parameter : parameters) *shapes++ = {parameter.rows, parameter.cols};
    });
}

isthmus_status isthmus_get_weights(const isthmus_model* model, float* weights, size_t count) {
    return reading(model, [&](const Autoencoder& core) {
        check_output(weights, count, static_cast<std::int64_t>(weight_count(core.program())), 1, "weights");
        const std::vector<float> flat = core.weights();
        for_each_parameter(core.program(), [&](std::int64_t from, std::int64_t to, std::int64_t size) {
            std::copy_n(flat.data() + from, size, weights + to);
        });
    });
}

isthmus_status isthmus_set_weights(isthmus_model* model, const float* weights, size_t count) {
    return writing(model, [&](Autoencoder& core) {
        check_given(weights, "weights");
        const std::size_t needed = weight_count(core.program());
        if (count != needed) {
            throw isthmus::Error(isthmus::ErrorKind::value, "weights has " + std::to_string(count) + " values; " +
                                                                std::to_string(needed) + " are needed");
        }
        std::vector<float> flat(static_cast<std::size_t>(core.program().flat_size));
        for_each_parameter(core.program(), [&](std::int64_t to, std::int64_t from, std::int64_t size) {
            std::copy_n(weights + from, size, flat.data() + to);
        });
        core.set_weights(flat);
    });
}

isthmus_status isthmus_get_feature_names(const isthmus_model* model, char*** names, size_t* count) {
    return reading(model, [&](const Autoencoder& core) {
        check_given(names, "names");
        check_given(count, "count");
        *names = one_allocation(core.feature_names);
        *count = core.feature_names.size();
    });
}

isthmus_status isthmus_set_feature_names(isthmus_model* model, const char* const* names, size_t count) {
    return writing(model,
                   [&](Autoencoder& core) { core.feature_names = checked_names(names, count, core.n_features()); });
}
