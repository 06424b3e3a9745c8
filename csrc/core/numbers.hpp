// SPDX-License-Identifier: Apache-2.0
// Number types of a caller's elements, and their way to float32.
#pragma once

#include <cstdint>
#include <limits>

#include "core/scaling.hpp"
#include "core/table.hpp"

namespace isthmus {

// body(T{}) for the C++ type of a number.
template <class Body>
auto with_type(Number number, Body&& body) {
    switch (number) {
        case Number::f32: break;
        case Number::f64: return body(double{});
        case Number::i8: return body(std::int8_t{});
        case Number::i16: return body(std::int16_t{});
        case Number::i32: return body(std::int32_t{});
        case Number::i64: return body(std::int64_t{});
        case Number::u8: return body(std::uint8_t{});
        case Number::u16: return body(std::uint16_t{});
        case Number::u32: return body(std::uint32_t{});
        case Number::u64: return body(std::uint64_t{});
    }
    return body(float{});
}

// Beyond the largest float32 it becomes infinite, as IEEE 754 says; a C++ cast leaves that open.
template <class T>
float to_float(T value) {
    static_assert(std::numeric_limits<float>::is_iec559);
    return static_cast<float>(value);
}

// Scaled in double before it is rounded.
template <class T>
float to_float(T value, const double* shift, const double* scale, std::int64_t column) {
    return to_float((static_cast<double>(value) - shift[column]) / scale[column]);
}

}  // namespace isthmus
