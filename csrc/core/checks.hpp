// SPDX-License-Identifier: Apache-2.0
// What rows must be before they reach a device; the messages name argument, row, column, value and what is allowed.
// The scans are plain loops over one row without a branch, which compilers turn into vector code; only a row that
// fails is looked at again, for its first column.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// First value in row order that is NaN or infinite.
std::optional<Position> find_non_finite(MatrixView rows, const DeviceMemory* there = nullptr);
std::optional<Position> find_infinite(MatrixView rows);
std::optional<Position> find_nan(MatrixView rows);
// First value in row order that is not within [low, high]; a NaN never is.
std::optional<Position> find_outside(MatrixView rows, float low, float high, const DeviceMemory* there = nullptr);

// All throw Error(value); `name` is the argument's, `first_row` the number of its row that `rows` begins with.
void check_finite(MatrixView rows, const std::string& name, std::int64_t first_row = 0);
// At least one row, `width` columns. `width_of` ends the sentence "X has 3 columns, but ...".
void check_shape_of(std::int64_t rows, std::int64_t cols, std::int64_t width, const std::string& width_of,
                    const std::string& name);
// First value that is not within [0, 1] but for rounding, 1e-6. With Missing::mask a NaN may be anywhere.
std::optional<Position> find_outside_bce(MatrixView targets, Missing missing = Missing::error,
                                         const DeviceMemory* there = nullptr);
// Finite and at least 0; returns the largest.
float check_weight_values(const float* weights, std::int64_t rows, const std::string& name);
// And not all 0.
void check_weights(const float* weights, std::int64_t rows, const std::string& name);
// Throws Error(value): of rows with values that may be missing, nothing was observed.
[[noreturn]] void refuse_unobserved(const std::string& name);

// Shortest text that reads back to the same float: "1.7", "nan", "-inf".
std::string to_text(float value);

}  // namespace isthmus
