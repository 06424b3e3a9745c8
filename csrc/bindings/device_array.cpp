// SPDX-License-Identifier: Apache-2.0
#include "bindings/device_array.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <array>
#include <functional>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "bindings/device_import.hpp"
#include "bindings/dlpack.hpp"
#include "bindings/in_core.hpp"
#include "bindings/json.hpp"
#include "bindings/topics.hpp"
#include "serving/devices.hpp"

namespace isthmus::bindings {
namespace {

namespace py = pybind11;
using Shape = std::vector<std::int64_t>;

Shape row_major(const Shape& shape) {
    Shape strides(shape.size(), 1);
    for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    return strides;
}

std::int64_t size_of(const Shape& shape) {
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Elements elements(const DeviceArray& array) {
    return {array.data, array.type, array.shape.at(0), array.shape.at(1), array.strides.at(0), array.strides.at(1)};
}

// ---- to float32 -----------------------------------------------------------------------------------------------------

// Can the device read it where it is? See MatrixView.
bool is_readable(const DeviceArray& array) {
    const Elements e = elements(array);
    return e.type == ElementType::float32 && (e.col_stride == 1 || e.cols == 1) && e.cols % 4 == 0 &&
           (e.rows == 1 || (e.row_stride % 4 == 0 && e.row_stride >= e.cols)) &&
           reinterpret_cast<std::uintptr_t>(e.data) % 16 == 0;
}

using Converted = std::pair<DeviceArrayPointer, std::optional<std::pair<std::int64_t, std::int64_t>>>;

// The array itself, or a copy on its device that the core can read, with the position of the first value that is not
// finite as float32; an array that is no copy is not looked at.
Converted readable(const DeviceArrayPointer& array) {
    if (is_readable(*array)) return {array, std::nullopt};
    const Elements from = elements(*array);
    const std::int64_t stride = device_stride(from.cols);
    DeviceArrayPointer copy = new_device_array(array->device, ElementType::float32, {from.rows, stride});
    copy->shape[1] = from.cols;
    std::optional<Position> bad;
    {
        const InCore in_core;
        bad = array->memory().convert(from, matrix(*copy));
    }
    if (!bad) return {copy, std::nullopt};
    return {copy, std::pair(bad->row, bad->col)};
}

// For messages, of arrays of floating-point numbers.
double item(const DeviceArray& array, std::int64_t row, std::int64_t col) {
    Elements one = elements(array);
    const std::int64_t offset = row * one.row_stride + col * one.col_stride;
    one.data = static_cast<const char*>(one.data) + offset * element_bytes(one.type);
    one.rows = one.cols = 1;
    const InCore in_core;
    if (one.type == ElementType::float64) {
        double value = 0.0;
        array.memory().copy(&value, one.data, sizeof value);
        return value;
    }
    const std::shared_ptr<void> converted = array.memory().allocate(4 * sizeof(float));
    array.memory().convert(one, {static_cast<float*>(converted.get()), 1, 1, 4, Memory::device});
    float value = 0.0F;
    array.memory().copy(&value, converted.get(), sizeof value);
    return static_cast<double>(value);
}

// As a matrix: a vector is one row.
Elements rows_of(const DeviceArray& array) {
    if (array.shape.size() == 2) return elements(array);
    return {array.data, array.type, 1, size_of(array.shape), 0, array.strides.back()};
}

// The same numbers as float64.
DeviceArrayPointer widened(const DeviceArray& array) {
    DeviceArrayPointer wide = new_device_array(array.device, ElementType::float64, array.shape);
    const InCore in_core;
    array.memory().widen(rows_of(array), static_cast<double*>(wide->data));
    return wide;
}

DeviceArrayPointer narrowed(const DeviceArray& array) {
    DeviceArrayPointer narrow = new_device_array(array.device, ElementType::float32, array.shape);
    const InCore in_core;
    const Elements from = rows_of(array);
    array.memory().convert(from, {static_cast<float*>(narrow->data), from.rows, from.cols, from.cols, Memory::device});
    return narrow;
}

// A copy on the host, 1-D or 2-D: float32 of what float32 holds exactly, else float64. What is not finite stays so.
py::array to_host(const DeviceArray& array) {
    const ElementType type = array.type;
    const bool narrow = type == ElementType::float16 || type == ElementType::bfloat16 || type == ElementType::float32;
    const DeviceArrayPointer gathered = narrow ? narrowed(array) : widened(array);
    py::array result(py::dtype(element_name(gathered->type)),
                     std::vector<py::ssize_t>(array.shape.begin(), array.shape.end()));
    void* const to = result.mutable_data();
    const InCore in_core;
    array.memory().copy(to, gathered->data, size_of(array.shape) * element_bytes(gathered->type));
    return result;
}

// A copy of a C-contiguous array of the host.
DeviceArrayPointer place(const py::array& values, const std::string& device_name) {
    const std::optional<ElementType> type = element_type(values.dtype().attr("name").cast<std::string>());
    if (!type || (values.flags() & py::array::c_style) == 0) {
        throw Error(ErrorKind::type, "only C-contiguous arrays of numbers are placed on a GPU");
    }
    const Device& device = device_named(device_name);
    if (device.memory() == nullptr) throw Error(ErrorKind::value, device_name + " has no memory of its own");
    const void* const from = values.data();
    DeviceArrayPointer there = new_device_array(device, *type, Shape(values.shape(), values.shape() + values.ndim()));
    const InCore in_core;
    there->memory().copy(there->data, from, size_of(there->shape) * element_bytes(*type));
    return there;
}

// ---- results out ----------------------------------------------------------------------------------------------------

// What a capsule hands over. Its deleter knows no Python: it may run on any thread, and when Python is gone.
template <class Managed>
struct Export {
    Managed managed{};
    Shape shape, strides;
    std::shared_ptr<void> owner;

    static void release(Managed* managed) { delete static_cast<Export*>(managed->manager); }
};

template <class Managed>
py::capsule capsule(const DeviceArray& array) {
    auto exported = std::make_unique<Export<Managed>>();
    exported->shape = array.shape;
    exported->strides = array.strides;
    exported->owner = array.owner;
    Managed& managed = exported->managed;
    managed.manager = exported.get();
    managed.deleter = &Export<Managed>::release;
    if constexpr (std::is_same_v<Managed, dlpack::Versioned>) managed.version = dlpack::kVersion;
    managed.tensor = {array.data,
                      {dlpack::kCuda, array.memory().ordinal()},
                      static_cast<std::int32_t>(array.shape.size()),
                      dlpack_type(array.type),
                      exported->shape.data(),
                      exported->strides.data(),
                      0};
    const auto never_taken = [](PyObject* self) {
        if (PyCapsule_IsValid(self, Managed::kName) == 0) return;  // the consumer's now
        auto* const left = static_cast<Managed*>(PyCapsule_GetPointer(self, Managed::kName));
        left->deleter(left);
    };
    PyObject* const made = PyCapsule_New(&managed, Managed::kName, never_taken);
    if (made == nullptr) throw py::error_already_set();
    static_cast<void>(exported.release());
    return py::reinterpret_steal<py::capsule>(made);
}

[[noreturn]] void refuse_export(const std::string& why) {
    PyErr_SetString(PyExc_BufferError, ("a result of isthmus " + why).c_str());
    throw py::error_already_set();
}

using VersionPair = std::pair<std::uint32_t, std::uint32_t>;
using DevicePair = std::pair<std::int32_t, std::int32_t>;

// The data is there when a call returns, so that whatever stream the consumer works on has nothing to wait for.
py::capsule to_dlpack(const DeviceArray& array, const py::object& /*stream*/,
                      const std::optional<VersionPair>& max_version, const std::optional<DevicePair>& dl_device,
                      const std::optional<bool>& copy) {
    if (dl_device && *dl_device != DevicePair(dlpack::kCuda, array.memory().ordinal())) {
        refuse_export("stays on " + array.device.name());
    }
    if (copy.value_or(false)) refuse_export("is not copied on its way out");
    return max_version && max_version->first >= 1 ? capsule<dlpack::Versioned>(array)
                                                  : capsule<dlpack::Unversioned>(array);
}

Parameters cuda_array_interface(const DeviceArray& array) {
    Parameters result;
    result["shape"] = py::tuple(py::cast(array.shape));
    result["typestr"] = element_typestr(array.type);
    result["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(array.data), false);
    result["strides"] = py::none();
    result["stream"] = py::none();  // see to_dlpack
    result["version"] = 3;
    return result;
}

// Scores are negative errors.
DeviceArrayPointer negated(const DeviceArray& array) {
    if (array.type != ElementType::float64) throw Error(ErrorKind::type, "only errors are negated");
    DeviceArrayPointer result = new_device_array(array.device, array.type, array.shape);
    const InCore in_core;
    array.memory().negate(static_cast<const double*>(array.data), static_cast<double*>(result->data),
                          size_of(array.shape));
    return result;
}

}  // namespace

MutableMatrixView matrix(const DeviceArray& array) {
    const bool one_row = array.shape.at(0) <= 1;  // its stride may be anything
    return {static_cast<float*>(array.data), array.shape[0], array.shape.at(1),
            one_row ? device_stride(array.shape[1]) : array.strides.at(0), Memory::device};
}

std::span<double> device_vector(const DeviceArray& array, const std::string& model_device, const char* name) {
    check_same_device(array, model_device, name);
    if (array.type != ElementType::float64 || array.shape.size() != 1) {
        throw Error(ErrorKind::type, std::string(name) + " must be a vector of float64");
    }
    return {static_cast<double*>(array.data), static_cast<std::size_t>(array.shape.front())};
}

void check_same_device(const DeviceArray& array, const std::string& model_device, const char* name) {
    if (array.device.name() == model_device) return;
    throw Error(ErrorKind::value, std::string(name) + " is on " + array.device.name() + ", but this model is on " +
                                      model_device + "; nothing is moved silently: move one of them");
}

DeviceArrayPointer new_device_array(const Device& device, ElementType type, std::vector<std::int64_t> shape) {
    const std::int64_t bytes = size_of(shape) * element_bytes(type);
    std::shared_ptr<void> owner;
    {
        const InCore in_core;
        owner = device.memory()->allocate(bytes);
    }
    Shape strides = row_major(shape);
    void* const data = owner.get();
    return std::make_shared<DeviceArray>(
        DeviceArray{device, std::move(owner), data, type, std::move(shape), std::move(strides)});
}

void register_device_arrays(py::module_& m) {
    py::class_<DeviceArray, DeviceArrayPointer> array(
        m, "DeviceArray", "An array in the memory of a GPU, for DLPack and __cuda_array_interface__.");
    m.def("device_array", &import_device_array, py::arg("array"), py::arg("name"),
          "The caller's array, by DLPack or __cuda_array_interface__; None for one that is not on a GPU.");
    m.def("place", &place, py::arg("values"), py::arg("device"), "A copy of a NumPy array on a GPU.");
    array.def_property_readonly("device", [](const DeviceArray& self) { return self.device.name(); });
    array.def_property_readonly("shape", [](const DeviceArray& self) {
        return py::typing::Tuple<py::int_, py::ellipsis>(py::tuple(py::cast(self.shape)));
    });
    array.def_property_readonly("ndim", [](const DeviceArray& self) { return self.shape.size(); });
    array.def_property_readonly("dtype", [](const DeviceArray& self) { return element_name(self.type); });
    array.def("__len__", [](const DeviceArray& self) { return self.shape.at(0); });
    array.def("readable", &readable,
              "As float32 that the core reads, the array itself where it can be, and where a copy is not finite.");
    array.def("item", &item, py::arg("row").noconvert(), py::arg("column").noconvert());
    array.def("to_host", &to_host, "A NumPy array: float32 of what that holds exactly, else float64.");
    array.def(
        "check_device",
        [](const DeviceArray& self, const std::string& model_device, const std::string& name) {
            check_same_device(self, model_device, name.c_str());
        },
        py::arg("model_device"), py::arg("name"), "ValueError that names both, unless that is where the array is.");
    array.def("widened", &widened);
    array.def("__neg__", &negated);
    array.def(
        "empty",
        [](const DeviceArray& self, Shape shape, bool wide) {
            return new_device_array(self.device, wide ? ElementType::float64 : ElementType::float32, std::move(shape));
        },
        py::arg("shape"), py::arg("wide"), "A new array on the same device, of float32 or float64.");
    array.def("__dlpack__", &to_dlpack, py::kw_only(), py::arg("stream") = py::none(),
              py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(), py::arg("copy") = py::none());
    array.def("__dlpack_device__",
              [](const DeviceArray& self) { return DevicePair(dlpack::kCuda, self.memory().ordinal()); });
    array.def_property_readonly("__cuda_array_interface__", &cuda_array_interface);
}

}  // namespace isthmus::bindings
