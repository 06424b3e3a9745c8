// SPDX-License-Identifier: Apache-2.0
// A JSON value and a strict parser (RFC 8259, with limits): the form in which a configuration comes in, from a model
// file or from Python's keyword arguments. Nothing is coerced: 1.0 is no integer, true no number, keys are unique.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace isthmus {

class Json;
using JsonArray = std::vector<Json>;
using JsonObject = std::vector<std::pair<std::string, Json>>;  // in order of the text

class Json {
public:
    using Value =
        std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, JsonArray, JsonObject>;

    Json();  // null
    Json(Value value);
    // Moved only: copying is seldom meant, and libstdc++ 12 destroys a variant of vectors that was never made when the
    // copy runs out of memory. Out of line: a variant of eight is much code to inline, and gcc then warns falsely.
    Json(Json&& other) noexcept;
    Json& operator=(Json&& other) noexcept;
    ~Json();

    const Value& value() const { return value_; }
    template <class T>
    const T* as() const {
        return std::get_if<T>(&value_);
    }
    bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
    // Member of an object, or nullptr.
    const Json* find(std::string_view key) const;

    // Compact text; a double prints so that it reads back to the same bits. NaN and infinities print as `nan`, `inf`,
    // `-inf` (for messages: parse refuses them).
    std::string dump() const;

private:
    Value value_;
};

// Integers are int64 when they fit, else uint64 when they fit, else (and with a fraction or exponent) double.
// Throws Error(model_format) that names the offset: on anything that is not JSON, a duplicate key, a number beyond
// the range of a double, a depth above 32, invalid UTF-8, or bytes after the value.
Json parse_json(std::string_view text);

// dump, for a message: cut to 80 bytes, between two characters.
std::string summary(const Json& value);

// Length of the UTF-8 sequence that `text` begins with, 1 to 4; 0 when it is none (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view text);

}  // namespace isthmus
