// SPDX-License-Identifier: Apache-2.0
#include "core/table.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/checks.hpp"
#include "core/numbers.hpp"
#include "core/stored_entries.hpp"

namespace isthmus {
namespace {

template <class T>
T load(const char* at) {  // at any alignment
    T value;
    std::memcpy(&value, at, sizeof(T));
    return value;
}

const char* address(const Table& table, std::int64_t row) {
    return static_cast<const char*>(table.data) + row * table.row_bytes;
}

// out[c] = to(value, c) for the columns of a row; the first loop is the one that compilers turn into vector code.
template <class T, class Out, class To>
void for_each_column(const Table& table, const char* row, Out* out, To to) {
    if (table.col_bytes == static_cast<std::int64_t>(sizeof(T))) {
        for (std::int64_t c = 0; c < table.cols; ++c) {
            out[c] = to(load<T>(row + c * static_cast<std::int64_t>(sizeof(T))), c);
        }
    } else {
        for (std::int64_t c = 0; c < table.cols; ++c) out[c] = to(load<T>(row + c * table.col_bytes), c);
    }
}

template <class T>
void convert_row(const Table& table, std::int64_t row, const Scaling* scaling, float* out) {
    const char* const from = address(table, row);
    if (scaling == nullptr) {
        for_each_column<T>(table, from, out, [](T value, std::int64_t) { return to_float(value); });
        return;
    }
    const double* const shift = scaling->shift.data();
    const double* const scale = scaling->scale.data();
    for_each_column<T>(table, from, out, [=](T value, std::int64_t c) { return to_float(value, shift, scale, c); });
}

// Rows of a sparse table with their zeros, which a scaling may make something else.
template <class T>
class DenseRows {
public:
    DenseRows(const Table& table, const Scaling* scaling) : entries_(table), scaling_(scaling) {
        if (keeps_zeros(scaling)) return;
        for (std::int64_t c = 0; c < table.cols; ++c) {
            zeros_.push_back(to_float(T{0}, scaling->shift.data(), scaling->scale.data(), c));
        }
    }

    void convert(std::int64_t row, std::int64_t cols, float* out) {
        if (zeros_.empty()) {
            std::fill_n(out, cols, 0.0F);
        } else {
            std::copy_n(zeros_.data(), cols, out);
        }
        entries_.for_each(row, [&](std::int64_t column, T value) {
            out[column] = scaling_ == nullptr ? to_float(value)
                                              : to_float(value, scaling_->shift.data(), scaling_->scale.data(), column);
        });
    }

private:
    StoredEntries<T> entries_;
    const Scaling* scaling_;
    std::vector<float> zeros_;
};

template <class Row>
std::optional<Position> convert_rows(const Table& table, Row row_of, const Scaling* scaling, MutableMatrixView out,
                                     Missing missing) {
    return with_type(table.number, [&]<class T>(T) -> std::optional<Position> {
        std::optional<DenseRows<T>> sparse;
        if (table.csr) sparse.emplace(table, scaling);
        for (std::int64_t i = 0; i < out.rows; ++i) {
            if (sparse) {
                sparse->convert(row_of(i), out.cols, out.row(i));
            } else {
                convert_row<T>(table, row_of(i), scaling, out.row(i));
            }
            const MatrixView row{out.row(i), 1, out.cols, out.cols};
            const auto at = missing == Missing::mask ? find_infinite(row) : find_non_finite(row);
            if (at) return Position{row_of(i), at->col};
        }
        return std::nullopt;
    });
}

}  // namespace

std::optional<MatrixView> Table::view() const {
    if (csr) return std::nullopt;
    const bool contiguous = cols == 1 || col_bytes == kFloat;
    const bool aligned = std::bit_cast<std::uintptr_t>(data) % kFloat == 0 && row_bytes % kFloat == 0;
    if (number != Number::f32 || !contiguous || !aligned) return std::nullopt;
    return MatrixView{static_cast<const float*>(data), rows, cols, row_bytes / kFloat, memory};
}

Table Table::slice(std::int64_t first, std::int64_t count) const {
    Table part = *this;
    part.rows = count;
    if (csr) {
        part.csr->offsets = static_cast<const char*>(csr->offsets) + first * (csr->wide ? 8 : 4);
    } else {
        part.data = address(*this, first);
    }
    return part;
}

std::string Table::text(Position at) const {
    const char* element = csr ? nullptr : address(*this, at.row) + at.col * col_bytes;
    float brought = 0.0F;
    if (memory == Memory::device) {
        there->copy(&brought, element, sizeof(brought));
        element = reinterpret_cast<const char*>(&brought);
    }
    return with_type(number, [&]<class T>(T) -> std::string {
        T value{};
        if (csr) {
            StoredEntries<T>(*this).for_each(at.row, [&](std::int64_t column, T entry) {
                if (column == at.col) value = entry;
            });
        } else {
            value = load<T>(element);
        }
        if constexpr (std::is_floating_point_v<T>) {
            if (std::isnan(value)) return "nan";  // whatever its sign
        }
        char text[32];
        return {text, std::to_chars(text, text + sizeof(text), value).ptr};
    });
}

std::optional<Position> gather(const Table& table, std::span<const std::int64_t> row_numbers, const Scaling* scaling,
                               MutableMatrixView out, Missing missing) {
    const auto row_of = [&](std::int64_t i) { return row_numbers[static_cast<std::size_t>(i)]; };
    return convert_rows(table, row_of, scaling, out, missing);
}

std::optional<Position> convert(const Table& table, std::int64_t first, const Scaling* scaling, MutableMatrixView out,
                                Missing missing) {
    return convert_rows(table, [=](std::int64_t i) { return first + i; }, scaling, out, missing);
}

Table on_host(const Table& table, std::vector<float>& to) {
    if (table.memory == Memory::host || table.rows == 0) return table;
    const MatrixView rows = *table.view();
    to.resize(static_cast<std::size_t>((rows.rows - 1) * rows.stride + rows.cols));
    table.there->copy(to.data(), rows.data, static_cast<std::int64_t>(to.size() * sizeof(float)));
    return MatrixView{to.data(), rows.rows, rows.cols, rows.stride};
}

void read_row(const Table& table, std::int64_t row, double* out) {
    with_type(table.number, [&]<class T>(T) {
        if (table.csr) {
            std::fill_n(out, table.cols, 0.0);
            return StoredEntries<T>(table).for_each(
                row, [&](std::int64_t column, T value) { out[column] = static_cast<double>(value); });
        }
        for_each_column<T>(table, address(table, row), out, [](T v, std::int64_t) { return static_cast<double>(v); });
    });
}

std::optional<Position> find_non_finite(const Table& table, Missing missing) {
    const auto may_be = [=](double value) {
        return std::isfinite(value) || (missing == Missing::mask && std::isnan(value));
    };
    std::vector<double> row(static_cast<std::size_t>(table.cols));
    for (std::int64_t r = 0; r < table.rows; ++r) {
        read_row(table, r, row.data());
        const auto at = std::find_if_not(row.begin(), row.end(), may_be);
        if (at != row.end()) return Position{r, at - row.begin()};
    }
    return std::nullopt;
}

void refuse_non_finite(const Table& table, Position at, const std::string& name, std::int64_t first_row) {
    const std::string text = table.text(at);
    const bool finite = text.find_first_not_of("+-.0123456789e") == std::string::npos;
    throw Error(ErrorKind::value,
                name + "[" + std::to_string(first_row + at.row) + ", " + std::to_string(at.col) + "] is " + text +
                    (finite ? ", beyond the largest float32, " + to_text(std::numeric_limits<float>::max())
                            : "; " + name + " must be finite (no NaN, no infinity)"));
}

}  // namespace isthmus
