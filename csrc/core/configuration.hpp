// SPDX-License-Identifier: Apache-2.0
// The only place that knows what each constructor parameter may be: the same checks serve Python's constructor
// arguments, the shell and the model file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/json.hpp"
#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// What a parameter is that is left out: the defaults of the constructor of that kind's class.
Configuration defaults_of(ModelKind kind);

// An object with any of Configuration's fields by name (absent: that kind's default; `None` is null). Throws
// Error(type) for a value of the wrong type and Error(value) for one that is not allowed or a name that does not exist;
// the message says name, value and what is allowed: "batch_size must be an integer of at least 1; got 0".
Configuration parse_configuration(const Json& object);

// All fields, in the order of the struct; parse_configuration(to_json(c)) == c.
Json to_json(const Configuration& configuration);

// Widths of all layers with defaults and mirroring resolved: {n_features, ..., code, ..., n_features}.
struct Widths {
    std::vector<std::int64_t> layers;
    std::size_t code = 0;  // layers[code] is the code's width
    bool tied = false;     // the decoder's weights are the encoder's, transposed
    // What the encoder's last layer gives for each unit of the code: 2 where these are drawn, mean and log variance.
    std::int64_t code_parts = 1;
};
// Throws Error(value) when a width or the number of parameters does not fit 63 bits, and for a decoder that does not
// mirror the encoder whose weights it is to use.
Widths resolve_widths(const Configuration& configuration, std::int64_t n_features);

// output_activation with its default resolved.
Activation resolve_output_activation(const Configuration& configuration);

UpdateRule update_rule(const Configuration& configuration);

}  // namespace isthmus
