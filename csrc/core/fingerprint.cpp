// SPDX-License-Identifier: Apache-2.0
#include "core/fingerprint.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

#include "core/parameter_rules.hpp"
#include "core/row_stream.hpp"
#include "core/sha256.hpp"

namespace isthmus {
namespace {

// Elements between two looks at the stop: some ms.
constexpr std::int64_t kPolled = std::int64_t{1} << 20;
constexpr std::size_t kDigestLength = 64;

}  // namespace

// Lanes that take turns along a row, so that a step need not wait for the product of the one before. Each step is a
// bijection of its lane: a change of one element always shows, and changes of several cancel once in 2^64 times.
class RowDigest::Lanes {
public:
    void add(const std::vector<double>& row) {
        for (std::size_t c = 0; c < row.size(); ++c) {
            // A NaN is one value, whatever its bits.
            const double value = row[c] == row[c] ? row[c] : std::numeric_limits<double>::quiet_NaN();
            std::uint64_t& lane = lanes_[c % kCount];
            lane = (lane ^ std::bit_cast<std::uint64_t>(value)) * 0x9E3779B97F4A7C15U;
            lane ^= lane >> 32U;
        }
    }

    std::string hex_digest() const {
        Sha256 hash;
        for (std::uint64_t lane : lanes_) {
            std::string bytes;  // little-endian on every machine
            for (int i = 0; i < 8; ++i, lane >>= 8U) bytes += static_cast<char>(lane & 0xFFU);
            hash.update(bytes);
        }
        return hash.hex_digest();
    }

private:
    static constexpr std::size_t kCount = 8;
    std::array<std::uint64_t, kCount> lanes_{1, 2, 3, 4, 5, 6, 7, 8};
};

RowDigest::RowDigest(std::int64_t cols) : lanes_(std::make_unique<Lanes>()), row_(static_cast<std::size_t>(cols)) {}
RowDigest::~RowDigest() = default;

void RowDigest::add(const Table& rows) {
    for (std::int64_t r = 0; r < rows.rows; ++r) {
        read_row(rows, r, row_.data());
        lanes_->add(row_);
    }
    rows_ += rows.rows;
}

TablePrint RowDigest::print() const { return {rows_, static_cast<std::int64_t>(row_.size()), lanes_->hex_digest()}; }

namespace {

TablePrint print_of(const Table& table, Stop* stop) {
    RowDigest digest(table.cols);
    const std::int64_t most = std::max<std::int64_t>(1, kPolled / std::max<std::int64_t>(1, table.cols));
    std::vector<float> brought;
    for (std::int64_t first = 0; first < table.rows; first += most) {
        if (stop != nullptr) stop->requested();
        digest.add(on_host(table.slice(first, std::min(most, table.rows - first)), brought));
    }
    return digest.print();
}

// Name in the file, name in messages, member.
struct Field {
    const char* key;
    const char* name;
    TablePrint DataPrint::* member;
};
constexpr std::array kFields = {
    Field{"X", "X", &DataPrint::inputs},
    Field{"sample_weight", "sample_weight", &DataPrint::weights},
    Field{"validation", "validation_data", &DataPrint::validation},
    Field{"validation_targets", "validation_data[1]", &DataPrint::validation_targets},
};

const Json& member(const Json& object, const char* name) {
    const Json* const found = object.find(name);
    if (!found) throw Error(ErrorKind::model_format, std::string(name) + " is missing");
    return *found;
}

std::string shape(const TablePrint& table) {
    std::string text = "(";
    text += std::to_string(table.rows) + ", " + std::to_string(table.cols) + ")";
    return text;
}

}  // namespace

DataPrint print_of(const Samples& training, const Samples* validation, Stop* stop) {
    DataPrint print;
    print.inputs = training.stream ? training.stream->facts.inputs : print_of(training.inputs, stop);
    if (training.stream) print.weights = training.stream->facts.weights;
    if (training.weights) print.weights = print_of(MatrixView{training.weights, training.rows(), 1, 1}, stop);
    if (validation) {
        print.validation = validation->stream ? validation->stream->facts.inputs : print_of(validation->inputs, stop);
        if (validation->targets) print.validation_targets = print_of(*validation->targets, stop);
    }
    return print;
}

Json to_json(const DataPrint& print) {
    if (print.empty()) return {};
    JsonObject members;
    for (const Field& field : kFields) {
        const TablePrint& table = print.*field.member;
        members.emplace_back(field.key, Json());
        if (table.rows == 0) continue;
        JsonObject values;
        values.emplace_back("rows", Json(table.rows));
        values.emplace_back("cols", Json(table.cols));
        values.emplace_back("digest", Json(table.digest));
        members.back().second = Json(std::move(values));
    }
    return Json(std::move(members));
}

DataPrint parse_data_print(const Json& json) {
    DataPrint print;
    if (json.is_null()) return print;
    for (const Field& field : kFields) {
        const Json& values = member(json, field.key);
        if (values.is_null()) continue;
        TablePrint& table = print.*field.member;
        table.rows = at_least(1).read("rows", "", member(values, "rows"));
        table.cols = at_least(1).read("cols", "", member(values, "cols"));
        const auto* const digest = member(values, "digest").as<std::string>();
        if (!digest || digest->size() != kDigestLength) {
            refuse(ErrorKind::model_format, "digest", "a text of 64 characters", member(values, "digest"));
        }
        table.digest = *digest;
    }
    return print;
}

std::vector<std::string> differences(const DataPrint& before, const DataPrint& now) {
    std::vector<std::string> found;
    for (const Field& field : kFields) {
        const TablePrint& a = before.*field.member;
        const TablePrint& b = now.*field.member;
        if (a == b) continue;
        const std::string name = field.name;
        if (a.rows == 0) {
            found.push_back(name + " was not given and now is");
        } else if (b.rows == 0) {
            found.push_back(name + " was given and now is not");
        } else if (a.rows != b.rows || a.cols != b.cols) {
            found.push_back(name + " had the shape " + shape(a) + " and now has " + shape(b));
        } else {
            found.push_back(name + " has other values");
        }
    }
    return found;
}

}  // namespace isthmus
