// SPDX-License-Identifier: Apache-2.0
#include "core/checks.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>

namespace isthmus {
namespace {

constexpr std::uint32_t kMagnitude = 0x7fffffffU;
constexpr std::uint32_t kInfinity = 0x7f800000U;  // NaNs are above it

bool is_non_finite(float value) { return (std::bit_cast<std::uint32_t>(value) & kMagnitude) >= kInfinity; }
bool is_infinite(float value) { return (std::bit_cast<std::uint32_t>(value) & kMagnitude) == kInfinity; }
bool is_nan(float value) { return (std::bit_cast<std::uint32_t>(value) & kMagnitude) > kInfinity; }

// bad: float -> bool, without side effects.
template <class Bad>
std::optional<Position> find(MatrixView rows, Bad bad) {
    const std::int64_t distinct = rows.stride == 0 && rows.rows > 0 ? 1 : rows.rows;
    for (std::int64_t r = 0; r < distinct; ++r) {
        const float* row = rows.row(r);
        std::uint32_t any = 0;
        for (std::int64_t c = 0; c < rows.cols; ++c) any |= static_cast<std::uint32_t>(bad(row[c]));
        if (any == 0) continue;
        for (std::int64_t c = 0; c < rows.cols; ++c) {
            if (bad(row[c])) return Position{r, c};
        }
    }
    return std::nullopt;
}

std::string element(const std::string& name, MatrixView rows, Position at, std::int64_t first_row) {
    return name + "[" + std::to_string(first_row + at.row) + ", " + std::to_string(at.col) + "] is " +
           to_text(rows.row(at.row)[at.col]);
}

}  // namespace

std::optional<Position> find_non_finite(MatrixView rows, const DeviceMemory* there) {
    constexpr float kMost = std::numeric_limits<float>::max();
    if (rows.memory == Memory::device) return there->find_outside(rows, -kMost, kMost);
    return find(rows, is_non_finite);
}
std::optional<Position> find_infinite(MatrixView rows) { return find(rows, is_infinite); }
std::optional<Position> find_nan(MatrixView rows) { return find(rows, is_nan); }

std::optional<Position> find_outside(MatrixView rows, float low, float high, const DeviceMemory* there) {
    if (rows.memory == Memory::device) return there->find_outside(rows, low, high);
    return find(rows, [=](float value) { return !((value >= low) & (value <= high)); });
}

std::optional<Position> find_outside_bce(MatrixView targets, Missing missing, const DeviceMemory* there) {
    constexpr float kRounding = 1e-6F;
    constexpr float kLow = -kRounding;
    constexpr float kHigh = 1.0F + kRounding;
    if (missing == Missing::error) return find_outside(targets, kLow, kHigh, there);
    return find(targets, [](float value) { return (value < kLow) | (value > kHigh); });
}

void check_finite(MatrixView rows, const std::string& name, std::int64_t first_row) {
    if (const auto at = find_non_finite(rows)) {
        throw Error(ErrorKind::value,
                    element(name, rows, *at, first_row) + "; " + name + " must be finite (no NaN, no infinity)");
    }
}

void check_shape_of(std::int64_t rows, std::int64_t cols, std::int64_t width, const std::string& width_of,
                    const std::string& name) {
    if (cols != width) throw Error(ErrorKind::value, name + " has " + std::to_string(cols) + " " + width_of);
    if (rows < 1) throw Error(ErrorKind::value, name + " has 0 rows; at least 1 is needed");
}

float check_weight_values(const float* weights, std::int64_t rows, const std::string& name) {
    float largest = 0.0F;
    for (std::int64_t i = 0; i < rows; ++i) {
        if (is_non_finite(weights[i]) || weights[i] < 0.0F) {
            throw Error(ErrorKind::value, name + "[" + std::to_string(i) + "] is " + to_text(weights[i]) +
                                              "; weights must be finite and at least 0");
        }
        largest = std::max(largest, weights[i]);
    }
    return largest;
}

void check_weights(const float* weights, std::int64_t rows, const std::string& name) {
    if (check_weight_values(weights, rows, name) > 0.0F) return;
    throw Error(ErrorKind::value, name + " is zero for every row; at least one must be above 0");
}

void refuse_unobserved(const std::string& name) {
    throw Error(ErrorKind::value, name + " has no value in any row with a weight: all are missing");
}

std::string to_text(float value) {
    if (value != value) return "nan";  // whatever its sign
    char text[32];
    return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

}  // namespace isthmus
