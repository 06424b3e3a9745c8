// SPDX-License-Identifier: Apache-2.0
// Sparse rows in CSR as a caller has them: 32- or 64-bit indices, in any order within a row, with duplicates, which are
// summed in their own type as SciPy does. Nothing of them is trusted: check_csr looks at every index once, and whoever
// reads an entry looks again, since another thread may have written meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

struct Table;
struct Scaling;

// Where the entries of each row are: those numbered offsets[r] to offsets[r + 1], not included, of Table::data.
struct CsrIndex {
    const void* offsets = nullptr;  // rows + 1
    const void* columns = nullptr;
    bool wide = false;        // 64 bits each, instead of 32
    bool logical = false;     // duplicates are joined by "or", not summed: NumPy's bool
    std::int64_t stored = 0;  // entries of columns and of values, each
};

// How long the three arrays of a caller are.
struct CsrLengths {
    std::int64_t offsets, columns, values;
};

// Throws Error(value) that names what is wrong, and where: lengths, offsets that decrease or lead beyond the entries,
// columns outside of the matrix.
void check_csr(const Table& table, const CsrLengths& lengths, const std::string& name);

// Rows as a device takes them; see CsrView.
struct CsrRows {
    std::vector<std::int64_t> offsets;
    std::vector<std::int32_t> columns;
    std::vector<float> values;

    CsrView view() const { return {offsets.data(), columns.data(), values.data()}; }
    std::size_t bytes() const {
        return offsets.size() * sizeof(offsets[0]) + columns.size() * (sizeof(columns[0]) + sizeof(values[0]));
    }
};

// The rows of these numbers, or all of them when there are none, as float32, divided by the scale unless scaling is
// null; its shifts must be 0. Returns the place, in the table, of the first entry that is not finite in float32; what
// out holds is then undefined. With Missing::mask a NaN stays one, and only what is infinite is found.
std::optional<Position> to_csr(const Table& table, std::span<const std::int64_t> row_numbers, const Scaling* scaling,
                               CsrRows& out, Missing missing = Missing::error);

// Can rows stay sparse under it? Not where zeros become something else.
bool keeps_zeros(const Scaling* scaling);

// Rows [first, first + out.rows) with their zeros.
void make_dense(const CsrView& rows, std::int64_t first, MutableMatrixView out);

}  // namespace isthmus
