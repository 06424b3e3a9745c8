// SPDX-License-Identifier: Apache-2.0
// What tells the rows of one fit from those of another: a checkpoint holds it, so that a fit is only resumed on the
// data that it was begun on. A digest is of the values as doubles, whatever type and layout they come in; one pass at
// about the speed of memory, against accidents and not against people who look for two tables of one digest.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/passage.hpp"
#include "device/contract.hpp"

namespace isthmus {

struct TablePrint {
    std::int64_t rows = 0;  // 0: no such table was given
    std::int64_t cols = 0;
    std::string digest;

    bool operator==(const TablePrint&) const = default;
};

// Of rows that come in pieces.
class RowDigest {
public:
    explicit RowDigest(std::int64_t cols);
    ~RowDigest();
    RowDigest(const RowDigest&) = delete;
    RowDigest& operator=(const RowDigest&) = delete;

    void add(const Table& rows);  // of the host
    TablePrint print() const;

private:
    class Lanes;
    std::unique_ptr<Lanes> lanes_;
    std::int64_t rows_ = 0;
    std::vector<double> row_;
};

struct DataPrint {
    TablePrint inputs, weights, validation, validation_targets;

    bool empty() const { return inputs.rows == 0; }  // of a fit that nobody asked to remember
};

// `validation` may be null. Of streams it is what their first reading took down. What `stop` throws while it is taken
// passes through; its answer is left to the training.
DataPrint print_of(const Samples& training, const Samples* validation, Stop* stop);

// Null when empty.
Json to_json(const DataPrint& print);
// Throws Error(model_format) or Error(value) for what to_json does not write.
DataPrint parse_data_print(const Json& json);

// A clause for each table that is not the same: "X has other values".
std::vector<std::string> differences(const DataPrint& before, const DataPrint& now);

}  // namespace isthmus
