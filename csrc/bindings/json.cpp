// SPDX-License-Identifier: Apache-2.0
#include "bindings/json.hpp"

#include <pybind11/numpy.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "isthmus/types.hpp"

namespace py = pybind11;

namespace isthmus::bindings {
namespace {

std::string describe(py::handle value) {
    constexpr std::size_t kLongest = 80;
    std::string text = py::repr(value).cast<std::string>();
    if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
    return text + " (" + Py_TYPE(value.ptr())->tp_name + ")";
}

Json integer(const std::string& name, py::handle value) {
    PyObject* pointer = PyNumber_Index(value.ptr());
    if (pointer == nullptr) throw py::error_already_set();
    const auto number = py::reinterpret_steal<py::int_>(pointer);
    int overflow = 0;
    const std::int64_t narrow = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow == 0) return Json(Json::Value(narrow));
    if (overflow > 0) {
        const std::uint64_t wide = PyLong_AsUnsignedLongLong(number.ptr());
        if (PyErr_Occurred() == nullptr) return Json(Json::Value(wide));
        PyErr_Clear();
    }
    throw Error(ErrorKind::value, name + " must be an integer of at most 64 bits; got " + describe(value));
}

bool is_numpy_bool(py::handle value) { return py::isinstance(value, py::dtype::of<bool>().attr("type")); }

// A number that is no integer: float, NumPy's float scalars, Fraction; no complex number.
bool is_real(py::handle value) {
    return PyFloat_Check(value.ptr()) || py::isinstance(value, py::module_::import("numbers").attr("Real"));
}

Json text(const std::string& name, py::handle value) {
    Py_ssize_t size = 0;
    const char* utf8 = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
    if (utf8 != nullptr) return Json(Json::Value(std::string(utf8, static_cast<std::size_t>(size))));
    PyErr_Clear();  // a lone surrogate
    throw Error(ErrorKind::value, name + " must be text that UTF-8 can hold; got " + describe(value));
}

Json scalar(const std::string& name, py::handle value) {
    if (value.is_none()) return Json(Json::Value(nullptr));
    if (py::isinstance<py::bool_>(value)) return Json(Json::Value(value.cast<bool>()));
    if (is_numpy_bool(value)) return Json(Json::Value(PyObject_IsTrue(value.ptr()) == 1));
    if (py::isinstance<py::str>(value)) return text(name, value);
    if (PyIndex_Check(value.ptr())) return integer(name, value);
    if (is_real(value)) return Json(Json::Value(py::float_(py::reinterpret_borrow<py::object>(value)).cast<double>()));
    throw Error(ErrorKind::type,
                name + " must be None, a bool, a number, a string or a sequence of these; got " + describe(value));
}

Json scalar_or_sequence(const std::string& name, py::handle value) {
    py::object items = py::reinterpret_borrow<py::object>(value);
    if (py::isinstance<py::array>(value)) {  // a list, or for a 0-d array a scalar
        if (py::reinterpret_borrow<py::array>(value).ndim() > 1) {
            throw Error(ErrorKind::type, name + " must be a sequence of scalars; got " + describe(value));
        }
        items = value.attr("tolist")();
    }
    const bool sequence = PySequence_Check(items.ptr()) != 0 && !py::isinstance<py::str>(items) &&
                          !py::isinstance<py::bytes>(items) && !py::isinstance<py::bytearray>(items);
    if (!sequence) return scalar(name, items);
    JsonArray array;
    for (const py::handle item : items) array.push_back(scalar(name + "[" + std::to_string(array.size()) + "]", item));
    return Json(Json::Value(std::move(array)));
}

}  // namespace

Json to_json(const Parameters& parameters) {
    JsonObject object;
    for (const auto& [key, value] : parameters) {
        std::string name = key.cast<std::string>();
        Json json = scalar_or_sequence(name, value);
        object.emplace_back(std::move(name), std::move(json));
    }
    return Json(Json::Value(std::move(object)));
}

py::object to_python(const Json& json) {
    return std::visit(
        [](const auto& value) -> py::object {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, std::nullptr_t>) {
                return py::none();
            } else if constexpr (std::is_same_v<T, JsonArray>) {
                py::tuple items(value.size());
                for (std::size_t i = 0; i < value.size(); ++i) items[i] = to_python(value[i]);
                return items;
            } else if constexpr (std::is_same_v<T, JsonObject>) {
                py::dict members;
                for (const auto& [key, member] : value) members[py::str(key)] = to_python(member);
                return members;
            } else {
                return py::cast(value);
            }
        },
        json.value());
}

}  // namespace isthmus::bindings
