// SPDX-License-Identifier: Apache-2.0
// Rows of numbers as a caller has them: any type of number, any strides, any alignment, or sparse. A device reads
// float32 whose rows are contiguous; what is that already is read in place, all else is converted on its way there, a
// block at a time, and scaled in double before it is rounded: 1e9 + 0.25 keeps its quarter.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/csr.hpp"
#include "core/scaling.hpp"
#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// The integers in the order of their sizes.
enum class Number : std::uint8_t { f32, f64, i8, i16, i32, i64, u8, u16, u32, u64 };

struct Table {
    const void* data = nullptr;  // float32 that a device reads, where that is in the device's memory
    Number number = Number::f32;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::int64_t row_bytes = 0;  // from one row to the next; 0: one row repeated
    std::int64_t col_bytes = 0;
    std::optional<CsrIndex> csr;  // then data holds the entries, and the strides say nothing
    Memory memory = Memory::host;
    const DeviceMemory* there = nullptr;  // what looks at values of Memory::device

    Table() = default;
    Table(const void* data, Number number, std::int64_t rows, std::int64_t cols, std::int64_t row_bytes,
          std::int64_t col_bytes)
        : data(data), number(number), rows(rows), cols(cols), row_bytes(row_bytes), col_bytes(col_bytes) {}
    Table(MatrixView view, const DeviceMemory* there = nullptr)  // NOLINT: a view is a table
        : Table(view.data, Number::f32, view.rows, view.cols, view.stride * kFloat, kFloat) {
        memory = view.memory;
        this->there = there;
    }

    // The rows themselves, where a device can read them as they are.
    std::optional<MatrixView> view() const;
    // Rows [first, first + count).
    Table slice(std::int64_t first, std::int64_t count) const;
    // The element as its caller wrote it: "1e+39", "-7".
    std::string text(Position at) const;

private:
    static constexpr std::int64_t kFloat = sizeof(float);
};

// Row row_numbers[i], scaled unless scaling is null, as row i of out. Returns the place, in the table, of the first
// element that is not finite in float32; what out holds from its row on is then undefined. With Missing::mask a NaN
// stays one, and only what is infinite is found.
std::optional<Position> gather(const Table& table, std::span<const std::int64_t> row_numbers, const Scaling* scaling,
                               MutableMatrixView out, Missing missing = Missing::error);
// The same for rows [first, first + out.rows).
std::optional<Position> convert(const Table& table, std::int64_t first, const Scaling* scaling, MutableMatrixView out,
                                Missing missing = Missing::error);

// The first element in row order that is NaN or infinite as it stands; with Missing::mask, that is infinite.
std::optional<Position> find_non_finite(const Table& table, Missing missing = Missing::error);

// The table itself, or a copy in `to` of one in the device's memory.
Table on_host(const Table& table, std::vector<float>& to);

// One row in double, as it is; out has cols values. Of the host alone, as are gather, convert and find_non_finite.
void read_row(const Table& table, std::int64_t row, double* out);

// Throws Error(value) that names argument, row, column and value: what is NaN or infinite, or beyond float32.
[[noreturn]] void refuse_non_finite(const Table& table, Position at, const std::string& name, std::int64_t first_row);

}  // namespace isthmus
