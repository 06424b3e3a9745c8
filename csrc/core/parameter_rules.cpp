// SPDX-License-Identifier: Apache-2.0
#include "core/parameter_rules.hpp"

namespace isthmus {
namespace {

// nullopt: of the wrong type, or an integer that T cannot hold.
template <class T>
std::optional<T> convert(const Json& value) {
    const auto* integer = value.as<std::int64_t>();
    const auto* natural = value.as<std::uint64_t>();
    if constexpr (std::is_same_v<T, double>) {
        if (const auto* real = value.as<double>()) return *real;
        if (integer) return static_cast<double>(*integer);
        if (natural) return static_cast<double>(*natural);
    } else {
        if (integer && std::in_range<T>(*integer)) return static_cast<T>(*integer);
        if (natural && std::in_range<T>(*natural)) return static_cast<T>(*natural);
    }
    return std::nullopt;
}

bool is_integer(const Json& value) { return value.as<std::int64_t>() || value.as<std::uint64_t>(); }

template <class T>
std::string print(T bound) {
    if constexpr (std::is_same_v<T, double>) {
        if (bound == 0.0) return "0";
        if (bound == 1.0) return "1";
    }
    return Json(bound).dump();
}

}  // namespace

std::string show(const Json& value) {
    if (value.is_null()) return "None";
    if (const bool* flag = value.as<bool>()) return *flag ? "True" : "False";
    return summary(value);
}

void refuse(ErrorKind kind, const std::string& name, const std::string& allowed, const Json& value) {
    throw Error(kind, name + " must be " + allowed + "; got " + show(value));
}

bool TrueOrFalse::read(const std::string& name, const std::string& none, const Json& value) const {
    const bool* flag = value.as<bool>();
    if (!flag) refuse(ErrorKind::type, name, none + "True or False", value);
    return *flag;
}

template <class T>
T Range<T>::read(const std::string& name, const std::string& none, const Json& value) const {
    constexpr bool kIsNumber = std::is_same_v<T, double>;
    const std::optional<T> x = convert<T>(value);
    const bool has_type = kIsNumber ? x.has_value() : is_integer(value);
    // Both false for NaN. An integer that T cannot hold is above it when it has no sign.
    const bool enough = x && (low_end == End::included ? *x >= low : *x > low);
    const bool fits = x && (high_end == End::included ? *x <= high : *x < high);
    if (enough && fits) return *x;

    std::string allowed = none + (kIsNumber ? "a number" : "an integer") +
                          (low_end == End::included ? " of at least " : " greater than ") + print(low);
    const bool exceeded = x ? *x > high : value.as<std::uint64_t>() != nullptr;
    if (!technical_high || exceeded) {
        allowed += (high_end == End::included ? " and at most " : " and less than ") + print(high);
    }
    refuse(has_type ? ErrorKind::value : ErrorKind::type, name, allowed, value);
}

template struct Range<std::int64_t>;
template struct Range<std::uint64_t>;
template struct Range<double>;

std::vector<std::int64_t> LayerWidths::read(const std::string& name, const std::string& none, const Json& value) const {
    const auto* items = value.as<JsonArray>();
    const std::string allowed = none + "a sequence of integers" + (min_count > 0 ? ", not empty" : "");
    if (!items) refuse(ErrorKind::type, name, allowed, value);
    if (items->size() < min_count) refuse(ErrorKind::value, name, allowed, value);
    std::vector<std::int64_t> widths;
    widths.reserve(items->size());
    for (std::size_t i = 0; i < items->size(); ++i) {
        widths.push_back(at_least(1).read(name + "[" + std::to_string(i) + "]", "", (*items)[i]));
    }
    return widths;
}

}  // namespace isthmus
