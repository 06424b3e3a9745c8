// SPDX-License-Identifier: Apache-2.0
// Parameters between Python and the core's JSON value.
#pragma once

#include <pybind11/pybind11.h>

#include "core/json.hpp"

namespace isthmus::bindings {

// dict[str, typing.Any], in the signatures too.
class Parameters : public pybind11::dict {
public:
    using pybind11::dict::dict;
};

// Takes None, bool, integers (through __index__), real numbers, str, and flat lists, tuples and arrays of these;
// NumPy's scalars count as Python's. Anything else is Error(type) with the parameter's name, the value and its type.
// What is allowed for which parameter is the core's business.
Json to_json(const Parameters& parameters);

// Arrays become tuples.
pybind11::object to_python(const Json& json);

}  // namespace isthmus::bindings

template <>
struct pybind11::detail::handle_type_name<isthmus::bindings::Parameters> {
    static constexpr auto name = const_name("dict[str, typing.Any]");
};
