// SPDX-License-Identifier: Apache-2.0
#include "core/csr.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/numbers.hpp"
#include "core/scaling.hpp"
#include "core/stored_entries.hpp"
#include "core/table.hpp"

namespace isthmus {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::value, what); }

template <class I>
void check_indices(const Table& table, const CsrLengths& lengths, const std::string& name) {
    const auto* const offsets = static_cast<const I*>(table.csr->offsets);
    const auto* const columns = static_cast<const I*>(table.csr->columns);
    if (offsets[0] != 0) refuse(name + ".indptr[0] is " + std::to_string(offsets[0]) + "; it must be 0");
    const std::int64_t entries = std::min(lengths.columns, lengths.values);
    for (std::int64_t r = 0; r < table.rows; ++r) {
        const std::int64_t begin = offsets[r];
        const std::int64_t end = offsets[r + 1];
        if (end < begin || end > entries) {
            const std::string at = name + ".indptr[" + std::to_string(r + 1) + "] is " + std::to_string(end);
            if (end < begin) refuse(at + ", less than the " + std::to_string(begin) + " before it");
            refuse(at + ", but there are " + std::to_string(lengths.columns) + " indices and " +
                   std::to_string(lengths.values) + " values");
        }
        for (std::int64_t i = begin; i < end; ++i) {
            if (columns[i] >= 0 && columns[i] < table.cols) continue;
            refuse(name + ".indices[" + std::to_string(i) + "] is " + std::to_string(columns[i]) + ", in row " +
                   std::to_string(r) + "; " + name + " has " + std::to_string(table.cols) + " columns");
        }
    }
}

}  // namespace

void check_csr(const Table& table, const CsrLengths& lengths, const std::string& name) {
    if (lengths.offsets != table.rows + 1) {
        refuse(name + ".indptr has " + std::to_string(lengths.offsets) + " values; " + std::to_string(table.rows + 1) +
               " are needed for " + std::to_string(table.rows) + " rows");
    }
    table.csr->wide ? check_indices<std::int64_t>(table, lengths, name)
                    : check_indices<std::int32_t>(table, lengths, name);
}

bool keeps_zeros(const Scaling* scaling) {
    return scaling == nullptr || std::ranges::all_of(scaling->shift, [](double shift) { return shift == 0.0; });
}

std::optional<Position> to_csr(const Table& table, std::span<const std::int64_t> row_numbers, const Scaling* scaling,
                               CsrRows& out, Missing missing) {
    if (table.cols > std::numeric_limits<std::int32_t>::max()) {
        throw Error(ErrorKind::value,
                    "a sparse matrix has " + std::to_string(table.cols) + " columns; at most 2147483647 are taken");
    }
    const std::int64_t n = row_numbers.empty() ? table.rows : static_cast<std::int64_t>(row_numbers.size());
    out.offsets.assign(1, 0);
    out.offsets.reserve(static_cast<std::size_t>(n + 1));
    out.columns.clear();
    out.values.clear();
    if (row_numbers.empty()) {
        out.columns.reserve(static_cast<std::size_t>(table.csr->stored));
        out.values.reserve(static_cast<std::size_t>(table.csr->stored));
    }
    return with_type(table.number, [&]<class T>(T) -> std::optional<Position> {
        StoredEntries<T> entries(table);
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t row = row_numbers.empty() ? i : row_numbers[static_cast<std::size_t>(i)];
            std::optional<Position> bad;
            entries.for_each(row, [&](std::int64_t column, T value) {
                const float scaled = scaling == nullptr
                                         ? to_float(value)
                                         : to_float(value, scaling->shift.data(), scaling->scale.data(), column);
                const bool may_be = std::isfinite(scaled) || (missing == Missing::mask && std::isnan(scaled));
                if (!bad && !may_be) bad = Position{row, column};
                out.columns.push_back(static_cast<std::int32_t>(column));
                out.values.push_back(scaled);
            });
            if (bad) return bad;
            out.offsets.push_back(static_cast<std::int64_t>(out.columns.size()));
        }
        return std::nullopt;
    });
}

void make_dense(const CsrView& rows, std::int64_t first, MutableMatrixView out) {
    for (std::int64_t r = 0; r < out.rows; ++r) rows.write_row(first + r, out.cols, out.row(r));
}

}  // namespace isthmus
