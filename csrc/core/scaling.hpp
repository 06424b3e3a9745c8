// SPDX-License-Identifier: Apache-2.0
// What each column is shifted and divided by before a device sees it. The statistics are sums in double over blocks of
// rows in their order, each around its own mean, joined by the formula of Chan, Golub and LeVeque (1979): one pass over
// memory, and the same bits on any number of threads. They are of the differences from the first row, so that 1e9 and
// a spread of 1 keep their digits; a first row that is itself far off makes the spread as large.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isthmus/types.hpp"

namespace isthmus {

struct Table;

// Of what is computed from rows.
enum class Units : std::uint8_t { scaled, input };

// Scaled value = (value - shift) / scale. Both empty: not fitted, or not wanted.
struct Scaling {
    std::vector<double> shift;
    std::vector<double> scale;  // above 0; 1 for a column that was constant, which is only shifted

    bool empty() const { return shift.empty(); }
};

// standard: mean and standard deviation (that of the rows themselves: divided by the sum of weights). minmax: the
// smallest value and the range of the rows with a weight above 0. Of the rows named by number, or of all when there are
// none; weights has one float a row of the table, or is null. A sparse table's standard shifts are 0.
// Throws Error(value) for NaN and infinity, and for a column whose spread float64 cannot hold.
Scaling fit_scaling(ScalingKind kind, const Table& table, std::span<const std::int64_t> row_numbers,
                    const float* weights, const std::string& name);

// What is learned of columns whose values may be missing: of those that are there. Throws Error(value) for a column
// without any, too.
struct Columns {
    Scaling scaling;            // empty without a kind
    std::vector<double> means;  // in the units of the table; empty where none may be missing
};

// The same of rows that come in pieces: the bits are those of all of them as one table.
class ColumnFit {
public:
    ColumnFit(std::int64_t cols, Missing missing);
    ~ColumnFit();
    ColumnFit(const ColumnFit&) = delete;
    ColumnFit& operator=(const ColumnFit&) = delete;

    // Row numbers and weights as in fit_scaling; first_row is what messages call the table's first row.
    void add(const Table& table, std::span<const std::int64_t> row_numbers, const float* weights,
             const std::string& name, std::int64_t first_row = 0);
    // Of all that was added; `sparse`, if all of it was. Called once, at the end.
    Columns result(std::optional<ScalingKind> kind, bool sparse, const std::string& name);

private:
    class Blocks;
    std::unique_ptr<Blocks> blocks_;
};

Columns fit_columns(std::optional<ScalingKind> kind, const Table& table, std::span<const std::int64_t> row_numbers,
                    const float* weights, const std::string& name);

// Scaled rows back to the units of the input, in place, through double.
void unscale(const Scaling& scaling, MutableMatrixView rows);

}  // namespace isthmus
