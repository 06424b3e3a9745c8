// SPDX-License-Identifier: Apache-2.0
// One translator from isthmus::Error to Python. Exceptions that Python raised itself (a callback's, a signal
// handler's) and std::bad_alloc are pybind11's own business.
#include <pybind11/pybind11.h>

#include <exception>
#include <string_view>

#include "bindings/topics.hpp"
#include "isthmus/types.hpp"

namespace py = pybind11;

namespace isthmus::bindings {
namespace {

// A message may hold a path, which need not be UTF-8.
py::str decode(std::string_view text) {
    PyObject* decoded = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace");
    if (decoded == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::str>(decoded);
}

py::object exception_class(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::value: return py::reinterpret_borrow<py::object>(PyExc_ValueError);
        case ErrorKind::type: return py::reinterpret_borrow<py::object>(PyExc_TypeError);
        case ErrorKind::memory: return py::reinterpret_borrow<py::object>(PyExc_MemoryError);
        case ErrorKind::io: return py::reinterpret_borrow<py::object>(PyExc_OSError);
        case ErrorKind::model_format: return py::module_::import("isthmus._errors").attr("ModelFormatError");
        case ErrorKind::divergence: return py::module_::import("isthmus._errors").attr("DivergenceError");
        case ErrorKind::runtime: break;
    }
    return py::reinterpret_borrow<py::object>(PyExc_RuntimeError);
}

void set_python_error(const Error& error) {
    const py::object type = exception_class(error.kind());
    const py::str message = decode(error.what());
    // OSError(errno, message) makes itself a FileNotFoundError, a PermissionError ...
    const bool has_errno = error.kind() == ErrorKind::io && error.code() != 0;
    const py::object exception = has_errno ? type(error.code(), message) : type(message);
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
}

}  // namespace

void register_errors() {
    py::register_local_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const Error& error) {
            try {
                set_python_error(error);
            } catch (py::error_already_set& failure) {
                failure.restore();
            }
        }
    });
}

}  // namespace isthmus::bindings
