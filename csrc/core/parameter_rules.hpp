// SPDX-License-Identifier: Apache-2.0
// The kinds of rule that a constructor parameter can have: each reads a value, or says in one sentence what is allowed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "isthmus/types.hpp"
#include "math/names.hpp"

namespace isthmus {

// A value as a caller in Python wrote it, cut to a length that fits a sentence.
std::string show(const Json& value);

// "batch_size must be an integer of at least 1; got 0"
[[noreturn]] void refuse(ErrorKind kind, const std::string& name, const std::string& allowed, const Json& value);

// ---- rules; T is the type that is read, and read(name, none, value) is called for a value that is not null. --------
// `none` begins what is allowed: "None or " where null is the default, else "".

template <class E>
struct OneOf {
    E read(const std::string& name, const std::string& none, const Json& value) const {
        std::string allowed;
        for (const std::string_view option : math::names<E>()) {
            allowed += (allowed.empty() ? "one of \"" : ", \"") + std::string(option) + '"';
        }
        const auto* text = value.as<std::string>();
        if (!text) refuse(ErrorKind::type, name, none + allowed, value);
        const std::optional<E> parsed = math::parse<E>(*text);
        if (!parsed) refuse(ErrorKind::value, name, none + allowed, value);
        return *parsed;
    }
};

struct TrueOrFalse {
    bool read(const std::string& name, const std::string& none, const Json& value) const;
};

enum class End : std::uint8_t { included, excluded };

// T is std::int64_t, std::uint64_t or double; a double may be written as an integer, never the reverse.
template <class T>
struct Range {
    T low;
    T high;
    End low_end = End::included;
    End high_end = End::included;
    bool technical_high = false;  // a limit of the implementation: named only to who exceeds it

    T read(const std::string& name, const std::string& none, const Json& value) const;
};

// A sequence of integers of at least 1.
struct LayerWidths {
    std::size_t min_count;

    std::vector<std::int64_t> read(const std::string& name, const std::string& none, const Json& value) const;
};

// ---- ranges -------------------------------------------------------------------------------------------------------

constexpr Range<std::int64_t> at_least(std::int64_t low,
                                       std::int64_t limit = std::numeric_limits<std::int64_t>::max()) {
    return {low, limit, End::included, End::included, true};
}

// Numbers become float32 on the device, so they must be finite there.
constexpr double kLargestFloat = std::numeric_limits<float>::max();

constexpr Range<double> number_of_at_least(double low) {
    return {low, kLargestFloat, End::included, End::included, true};
}
constexpr Range<double> number_above(double low) { return {low, kLargestFloat, End::excluded, End::included, true}; }

}  // namespace isthmus
