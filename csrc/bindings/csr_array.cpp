// SPDX-License-Identifier: Apache-2.0
#include "bindings/csr_array.hpp"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/in_core.hpp"
#include "bindings/topics.hpp"

namespace isthmus::bindings {
namespace {

void check_contiguous(const py::array& array, const std::string& name) {
    constexpr int kNeeded = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
    if (array.ndim() == 1 && (array.flags() & kNeeded) == kNeeded) return;
    throw Error(ErrorKind::value, name + " must be a contiguous 1-D array");
}

CsrArrayPointer create(py::array offsets, py::array columns, py::array values, std::int64_t rows, std::int64_t cols,
                       const std::string& name) {
    check_contiguous(offsets, name + ".indptr");
    check_contiguous(columns, name + ".indices");
    check_contiguous(values, name + ".data");
    const auto index = number_of(offsets);
    if (index != number_of(columns) || (index != Number::i32 && index != Number::i64)) {
        throw Error(ErrorKind::type, name + ".indptr and " + name + ".indices must both be int32 or int64");
    }
    const std::optional<Number> number = number_of(values);
    if (!number) throw Error(ErrorKind::type, name + ".data must hold numbers in native byte order");
    if (rows < 0 || cols < 0) throw Error(ErrorKind::value, name + " has a negative shape");
    auto array = std::make_shared<CsrArray>();
    array->rows = Table(values.data(), *number, rows, cols, values.itemsize(), values.itemsize());
    array->rows.csr = CsrIndex{offsets.data(), columns.data(), index == Number::i64, values.dtype().kind() == 'b',
                               std::min<std::int64_t>(columns.size(), values.size())};
    {
        const InCore in_core;
        check_csr(array->rows, {offsets.size(), columns.size(), values.size()}, name);
    }
    array->offsets = std::move(offsets);
    array->columns = std::move(columns);
    array->values = std::move(values);
    return array;
}

CsrArrayPointer slice(const CsrArray& array, std::int64_t first, std::int64_t count) {
    if (first < 0 || count < 0 || first > array.rows.rows - count) {
        throw Error(ErrorKind::value, "rows outside of the matrix");
    }
    auto part = std::make_shared<CsrArray>(array);
    part->rows = array.rows.slice(first, count);
    return part;
}

py::array_t<double> to_dense(const CsrArray& array, const std::vector<std::int64_t>& numbers) {
    for (const std::int64_t row : numbers) {
        if (row < 0 || row >= array.rows.rows) throw Error(ErrorKind::value, "rows outside of the matrix");
    }
    py::array_t<double> dense({static_cast<std::int64_t>(numbers.size()), array.rows.cols});
    double* to = dense.mutable_data();
    const InCore in_core;
    for (const std::int64_t row : numbers) {
        read_row(array.rows, row, to);
        to += array.rows.cols;
    }
    return dense;
}

}  // namespace

void register_csr_array(py::module_& m) {
    py::class_<CsrArray, CsrArrayPointer> array(m, "CsrArray", "Sparse rows in CSR, checked, where they are.");
    array.def(py::init(&create), py::arg("indptr").noconvert(), py::arg("indices").noconvert(),
              py::arg("data").noconvert(), py::arg("rows"), py::arg("cols"), py::arg("name"),
              "ValueError that names what is wrong with the three arrays, and where.");
    array.def_property_readonly("shape",
                                [](const CsrArray& self) { return std::pair(self.rows.rows, self.rows.cols); });
    array.def_property_readonly("ndim", [](const CsrArray&) { return 2; });
    array.def("__len__", [](const CsrArray& self) { return self.rows.rows; });
    array.def("slice", &slice, py::arg("first"), py::arg("count"));
    array.def("to_dense", &to_dense, py::arg("numbers"), "The rows of these numbers with their zeros, float64.");
}

}  // namespace isthmus::bindings
