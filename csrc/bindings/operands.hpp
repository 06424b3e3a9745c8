// SPDX-License-Identifier: Apache-2.0
// What isthmus.kernels is called with, looked at where that costs 20 ns an array and not, as in Python, 400: NumPy's
// whole product of a small layer takes 900. Nothing is converted here, and no fault is explained: operands that a
// kernel cannot use as they are are not ready, and isthmus.kernels finds out why.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "bindings/arrays.hpp"
#include "device/contract.hpp"

namespace isthmus::bindings {

class Operands {
public:
    bool ready() const { return ready_; }
    bool require(bool condition) { return ready_ = ready_ && condition; }

    // A float32 matrix with contiguous rows, not empty, that is read; without meaning when it is not ready.
    MatrixView matrix(py::handle object) {
        const std::optional<FloatArray> array = as_array(object);
        if (!require(array && array->ndim() == 2 && array->size() > 0 && has_contiguous_rows(*array))) return {};
        add_input(*array);
        return bindings::matrix(*array);
    }

    // `size` contiguous values that are read.
    const float* vector(py::handle object, std::int64_t size) {
        const std::optional<FloatArray> array = as_array(object);
        if (!require(array && array->ndim() == 1 && array->shape(0) == size && is_contiguous(*array))) return nullptr;
        add_input(*array);
        return array->data();
    }

    // An array of this shape with contiguous rows to write to, which overlaps nothing before it: `out`, or a new one
    // where that is None.
    std::optional<FloatArray> result(py::handle out, std::initializer_list<py::ssize_t> shape) {
        if (!ready_) return std::nullopt;
        if (out.is_none()) return FloatArray(py::array::ShapeContainer(shape));
        std::optional<FloatArray> array = as_array(out);
        const auto dimensions = static_cast<py::ssize_t>(shape.size());
        const bool fits = array && array->ndim() == dimensions && array->writeable() && has_contiguous_rows(*array) &&
                          std::equal(shape.begin(), shape.end(), array->shape()) &&
                          (array->shape(0) <= 1 || array->strides(0) != 0);
        if (!require(fits && !overlaps_input(*array))) return std::nullopt;
        add_input(*array);
        return array;
    }

    // Contiguous values of any shape that are updated, or only read.
    std::optional<FloatArray> flat(py::handle object, bool writeable) {
        std::optional<FloatArray> array = as_array(object);
        if (!require(array && is_contiguous(*array) && (array->writeable() || !writeable))) return std::nullopt;
        if (!require(!overlaps_input(*array))) return std::nullopt;
        add_input(*array);
        return array;
    }

    // None, or a number of threads.
    int threads(py::handle n_threads) {
        if (n_threads.is_none()) return 0;
        if (!require(PyLong_CheckExact(n_threads.ptr()) != 0)) return 0;
        int overflow = 0;
        const long long count = PyLong_AsLongLongAndOverflow(n_threads.ptr(), &overflow);
        require(overflow == 0 && count >= 1 && count <= std::numeric_limits<int>::max());
        return static_cast<int>(count);
    }

    // None, which is the CPU, or a device's name.
    std::string device(py::handle name) {
        if (name.is_none()) return "cpu";
        return require(PyUnicode_Check(name.ptr()) != 0) ? py::cast<std::string>(name) : std::string();
    }

private:
    struct Extent {
        const std::byte* begin;
        const std::byte* end;
    };

    // No subclass: what a masked array or a matrix means is not said by its memory.
    static std::optional<FloatArray> as_array(py::handle object) {
        if (Py_TYPE(object.ptr()) != py::detail::npy_api::get().PyArray_Type_ || !FloatArray::check_(object)) {
            return std::nullopt;
        }
        return py::reinterpret_borrow<FloatArray>(object);
    }

    static bool is_aligned(const FloatArray& array) {
        return (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
    }
    static bool is_contiguous(const FloatArray& array) {
        return is_aligned(array) && (array.flags() & py::array::c_style) != 0;
    }
    static bool has_contiguous_rows(const FloatArray& array) {
        const py::ssize_t last = array.ndim() - 1;
        return is_aligned(array) && (array.shape(last) == 1 || array.strides(last) == array.itemsize());
    }

    static Extent extent(const FloatArray& array) {
        const auto* begin = reinterpret_cast<const std::byte*>(array.data());
        const std::byte* end = begin + array.itemsize();
        for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
            const py::ssize_t reach = (array.shape(axis) - 1) * array.strides(axis);
            (reach < 0 ? begin : end) += reach;
        }
        return {begin, end};
    }
    void add_input(const FloatArray& array) { inputs_[n_inputs_++] = {array, extent(array)}; }
    bool overlaps_input(const FloatArray& out) const {
        const Extent to = extent(out);
        const std::less<> before;
        for (std::size_t i = 0; i < n_inputs_; ++i) {
            const auto& [array, from] = inputs_[i];
            if (!before(to.begin, from.end) || !before(from.begin, to.end)) continue;
            // The rows of one may lie between those of the other.
            if (py::cast<bool>(py::module_::import("numpy").attr("shares_memory")(out, array))) return true;
        }
        return false;
    }

    bool ready_ = true;
    std::array<std::pair<py::handle, Extent>, 4> inputs_{};  // the caller holds the arrays
    std::size_t n_inputs_ = 0;
};

}  // namespace isthmus::bindings
