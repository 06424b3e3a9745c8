// SPDX-License-Identifier: Apache-2.0
// NumPy arrays as the core's views, without a copy. Where the core converts rows, any array of a number type that it
// knows is a Table; elsewhere arguments are registered with noconvert(): what is not float32 in native byte order is
// refused before it gets here.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "bindings/device_array.hpp"
#include "core/table.hpp"
#include "isthmus/types.hpp"

namespace isthmus::bindings {

namespace py = pybind11;

using FloatArray = py::array_t<float, 0>;
using DoubleArray = py::array_t<double, 0>;

// Rows may have any stride that is a multiple of 4 bytes, zero and negative ones too; a row is contiguous.
inline MatrixView matrix(const FloatArray& array) {
    constexpr py::ssize_t kSize = sizeof(float);
    const bool aligned = (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
    if (array.ndim() != 2 || !aligned || (array.shape(1) > 1 && array.strides(1) != kSize)) {
        throw Error(ErrorKind::type, "a matrix must be 2-D, aligned and contiguous along its rows");
    }
    const bool one_row = array.shape(0) <= 1;  // its stride may be anything
    return {array.data(), array.shape(0), array.shape(1), one_row ? array.shape(1) : array.strides(0) / kSize};
}

// The core's number type of an array, or nullopt: another byte order, half precision, objects. A bool is a byte.
inline std::optional<Number> number_of(const py::array& array) {
    const py::dtype type = array.dtype();
    const auto size = static_cast<unsigned>(type.itemsize());
    if (type.byteorder() == '>' || !std::has_single_bit(size) || size > 8) return std::nullopt;
    const auto of_size = [&](Number one_byte) {
        return static_cast<Number>(static_cast<int>(one_byte) + std::countr_zero(size));
    };
    switch (type.kind()) {
        case 'b':
        case 'u': return of_size(Number::u8);
        case 'i': return of_size(Number::i8);
        case 'f': return size == 4 ? std::optional(Number::f32) : size == 8 ? std::optional(Number::f64) : std::nullopt;
        default: return std::nullopt;
    }
}

// Rows of any of those types, with any strides and alignment.
inline Table table(const py::array& array) {
    const std::optional<Number> number = number_of(array);
    if (!number || array.ndim() != 2) {
        throw Error(ErrorKind::type, "rows must be a 2-D array of numbers in native byte order");
    }
    const bool one_row = array.shape(0) <= 1;  // its stride may be anything
    return {array.data(),
            *number,
            array.shape(0),
            array.shape(1),
            one_row ? array.shape(1) * array.itemsize() : array.strides(0),
            array.strides(1)};
}

// Throws ValueError when the array is read-only.
inline MutableMatrixView mutable_matrix(FloatArray& array) {
    const MatrixView view = matrix(array);
    return {array.mutable_data(), view.rows, view.cols, view.stride};
}

// n contiguous values.
template <class T>
std::span<const T> vector(const py::array_t<T, 0>& array, std::int64_t n) {
    if (array.ndim() != 1 || array.shape(0) != n || (array.flags() & py::array::c_style) == 0) {
        throw Error(ErrorKind::type, "a vector must be 1-D, contiguous and of length " + std::to_string(n));
    }
    return {array.data(), static_cast<std::size_t>(n)};
}

template <class T>
std::span<T> mutable_vector(py::array_t<T, 0>& array, std::int64_t n) {
    const std::span<const T> view = vector<T>(array, n);
    return {array.mutable_data(), view.size()};
}

// Rows of the host, or of the model's own device; results likewise.
using RowArray = std::variant<py::array, DeviceArrayPointer>;
using OutArray = std::variant<FloatArray, DeviceArrayPointer>;

inline MutableMatrixView device_matrix(const DeviceArray& array, const std::string& model_device, const char* name) {
    check_same_device(array, model_device, name);
    return matrix(array);
}

inline Table table(const RowArray& array, const std::string& model_device, const char* name) {
    if (const auto* const here = std::get_if<py::array>(&array)) return table(*here);
    const DeviceArray& there = *std::get<DeviceArrayPointer>(array);
    return {device_matrix(there, model_device, name), &there.memory()};
}

inline MutableMatrixView mutable_matrix(OutArray& array, const std::string& model_device) {
    if (auto* const here = std::get_if<FloatArray>(&array)) return mutable_matrix(*here);
    return device_matrix(*std::get<DeviceArrayPointer>(array), model_device, "out");
}

inline const float* row_weights(const std::optional<FloatArray>& weights, std::int64_t rows) {
    return weights ? vector<float>(*weights, rows).data() : nullptr;
}

}  // namespace isthmus::bindings
