// SPDX-License-Identifier: Apache-2.0
// isthmus._core.RowStream: a Python object that gives rows in pieces. The GIL is taken while it is asked for the next
// one, and what it raises passes through the core.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "bindings/arrays.hpp"
#include "core/row_stream.hpp"

namespace isthmus::bindings {

// `source` has the methods rewind(), and next_piece(), which gives a pair of rows of the host and their weights or
// None, or None at the end.
class PythonStream final : public RowStream {
public:
    PythonStream(py::object source, std::int64_t cols) : source_(std::move(source)), cols_(cols) {}

    Samples samples() {
        Samples all{{nullptr, Number::f32, 0, cols_, 0, 0}, std::nullopt, nullptr};
        all.stream = this;
        return all;
    }

    void rewind() override {
        const py::gil_scoped_acquire gil;
        piece_ = {};
        source_.attr("rewind")();
    }

    std::optional<Samples> next() override {
        const py::gil_scoped_acquire gil;
        piece_ = {};  // there need not be memory for two
        const py::object next = source_.attr("next_piece")();
        if (next.is_none()) return std::nullopt;
        piece_ = next.cast<Piece>();
        const auto& [rows, weights] = piece_;
        const auto* const dense = std::get_if<py::array>(&rows);
        const Table table = dense ? bindings::table(*dense) : std::get<CsrArrayPointer>(rows)->rows;
        return Samples{table, std::nullopt, row_weights(weights, table.rows)};
    }

private:
    using Piece = std::pair<std::variant<py::array, CsrArrayPointer>, std::optional<FloatArray>>;

    py::object source_;
    std::int64_t cols_;
    Piece piece_;  // destroyed where the GIL is held
};

using PythonStreamPointer = std::shared_ptr<PythonStream>;

}  // namespace isthmus::bindings
