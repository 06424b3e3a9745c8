// SPDX-License-Identifier: Apache-2.0
#include "bindings/device_import.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "device/cuda_library.hpp"

namespace isthmus::bindings {
namespace {

namespace py = pybind11;

struct TypeNames {
    ElementType type;
    const char* name;  // NumPy's
    dlpack::TypeCode code;
    std::uint8_t bits;
    const char* typestr;  // of __cuda_array_interface__; null where that has none
};
constexpr TypeNames kTypes[] = {
    {ElementType::boolean, "bool", dlpack::kBool, 8, "|b1"},
    {ElementType::int8, "int8", dlpack::kInt, 8, "|i1"},
    {ElementType::int16, "int16", dlpack::kInt, 16, "<i2"},
    {ElementType::int32, "int32", dlpack::kInt, 32, "<i4"},
    {ElementType::int64, "int64", dlpack::kInt, 64, "<i8"},
    {ElementType::uint8, "uint8", dlpack::kUnsigned, 8, "|u1"},
    {ElementType::uint16, "uint16", dlpack::kUnsigned, 16, "<u2"},
    {ElementType::uint32, "uint32", dlpack::kUnsigned, 32, "<u4"},
    {ElementType::uint64, "uint64", dlpack::kUnsigned, 64, "<u8"},
    {ElementType::float16, "float16", dlpack::kFloat, 16, "<f2"},
    {ElementType::bfloat16, "bfloat16", dlpack::kBfloat, 16, nullptr},
    {ElementType::float32, "float32", dlpack::kFloat, 32, "<f4"},
    {ElementType::float64, "float64", dlpack::kFloat, 64, "<f8"},
};

const TypeNames& names_of(ElementType type) {
    return *std::ranges::find_if(kTypes, [type](const TypeNames& names) { return names.type == type; });
}

template <class Is>
ElementType type_where(Is is, const std::string& name, const std::string& dtype) {
    const auto* const found = std::ranges::find_if(kTypes, is);
    if (found == std::end(kTypes)) {
        throw Error(ErrorKind::type, name + " has dtype " + dtype + "; it must hold real numbers");
    }
    return found->type;
}

std::string dtype_text(const dlpack::DataType& dtype) {
    const std::string bits = std::to_string(dtype.bits);
    const std::string lanes = dtype.lanes == 1 ? "" : " x " + std::to_string(dtype.lanes);
    if (dtype.code == dlpack::kComplex) return "complex" + bits + lanes;
    if (dtype.code == dlpack::kFloat) return "float" + bits + lanes;
    return "of DLPack's code " + std::to_string(dtype.code) + ", " + bits + " bits" + lanes;
}

// The memory of a tensor that came in a capsule: whoever lets go of it last calls the producer's deleter, once.
template <class Managed>
struct Taken {
    std::shared_ptr<void> owner;
    const dlpack::Tensor* tensor;

    static Taken from(const py::object& capsule) {
        auto* const managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), Managed::kName));
        if (managed == nullptr || PyCapsule_SetName(capsule.ptr(), Managed::kUsed) != 0) throw py::error_already_set();
        std::shared_ptr<void> owner(managed, [](void* pointer) {
            auto* const mine = static_cast<Managed*>(pointer);
            if (mine->deleter != nullptr) mine->deleter(mine);
        });
        if constexpr (std::is_same_v<Managed, dlpack::Versioned>) {
            if (managed->version.major != dlpack::kVersion.major) {
                throw Error(ErrorKind::type, "an array came by DLPack " + std::to_string(managed->version.major) +
                                                 "; isthmus reads DLPack 1 and the unversioned one before it");
            }
        }
        return {std::move(owner), &managed->tensor};
    }
};

template <class Managed>
DeviceArrayPointer from_capsule(const py::object& capsule, const Device& device, const std::string& name) {
    auto taken = Taken<Managed>::from(capsule);
    const dlpack::Tensor& tensor = *taken.tensor;
    const dlpack::DataType dtype = tensor.dtype;
    DeviceArray array{device, std::move(taken.owner), nullptr, ElementType::float32, {}, {}};
    array.type =
        type_where([&](const TypeNames& t) { return t.code == dtype.code && t.bits == dtype.bits && dtype.lanes == 1; },
                   name, dtype_text(dtype));
    array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
    array.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
    array.strides.resize(array.shape.size(), 1);
    if (tensor.strides != nullptr) {
        array.strides.assign(tensor.strides, tensor.strides + tensor.ndim);
    } else {
        for (std::size_t i = array.shape.size(); i-- > 1;) array.strides[i - 1] = array.strides[i] * array.shape[i];
    }
    return std::make_shared<DeviceArray>(std::move(array));
}

std::optional<DeviceArrayPointer> by_dlpack(const py::object& array, const std::string& name) {
    const auto [type, ordinal] = array.attr("__dlpack_device__")().cast<std::pair<int, int>>();
    if (type != dlpack::kCuda && type != dlpack::kCudaManaged) return std::nullopt;
    const Device& device = cuda_device(ordinal);
    // The producer has our stream wait for its own. PyTorch exports from the current device alone.
    py::dict options;
    options["stream"] = device.memory()->stream();
    options["max_version"] = py::make_tuple(dlpack::kVersion.major, dlpack::kVersion.minor);
    py::object capsule;
    device.memory()->while_current([&] {
        try {
            capsule = array.attr("__dlpack__")(**options);
        } catch (py::error_already_set& error) {
            if (!error.matches(PyExc_TypeError)) throw;
            options.attr("pop")("max_version");  // a producer from before DLPack 1
            capsule = array.attr("__dlpack__")(**options);
        }
    });
    if (PyCapsule_IsValid(capsule.ptr(), dlpack::Versioned::kName) != 0) {
        return from_capsule<dlpack::Versioned>(capsule, device, name);
    }
    return from_capsule<dlpack::Unversioned>(capsule, device, name);
}

DeviceArrayPointer by_cuda_array_interface(const py::object& array, const std::string& name) {
    const py::dict facts = array.attr("__cuda_array_interface__");
    const auto given = [&](const char* key) {
        return facts.contains(key) ? py::object(facts[key]) : py::object(py::none());
    };
    if (!given("mask").is_none()) throw Error(ErrorKind::type, name + " is masked; it must be without masked values");
    const auto data = facts["data"].cast<std::pair<std::uintptr_t, bool>>().first;
    const auto typestr = facts["typestr"].cast<std::string>();
    const auto shape = facts["shape"].cast<std::vector<std::int64_t>>();

    const int ordinal = data == 0 ? 0 : cuda_device(0).memory()->ordinal_of(reinterpret_cast<const void*>(data));
    if (ordinal < 0) {
        throw Error(ErrorKind::value, name + " has a __cuda_array_interface__ whose data is not in a GPU's memory");
    }
    const Device& device = cuda_device(ordinal);
    // Whatever keeps the object keeps its memory.
    std::shared_ptr<void> owner(new py::object(array), [](void* kept) {
        const py::gil_scoped_acquire gil;
        delete static_cast<py::object*>(kept);
    });
    DeviceArray result{device, std::move(owner), nullptr, ElementType::float32, {}, {}};
    result.data = reinterpret_cast<void*>(data);
    result.type =
        type_where([&](const TypeNames& t) { return t.typestr != nullptr && typestr == t.typestr; }, name, typestr);
    result.shape = shape;
    result.strides.resize(shape.size(), 1);
    for (std::size_t i = shape.size(); i-- > 1;) result.strides[i - 1] = result.strides[i] * shape[i];
    if (const py::object strides = given("strides"); !strides.is_none()) {
        result.strides = strides.cast<std::vector<std::int64_t>>();
        for (std::int64_t& stride : result.strides) {
            if (stride % element_bytes(result.type) != 0) {
                throw Error(ErrorKind::value, name + " has strides that are not multiples of its elements' size");
            }
            stride /= element_bytes(result.type);
        }
    }
    if (const py::object stream = given("stream"); !stream.is_none()) {
        device.memory()->follow(stream.cast<std::uintptr_t>());
    }
    return std::make_shared<DeviceArray>(std::move(result));
}

}  // namespace

std::int64_t element_bytes(ElementType type) { return names_of(type).bits / 8; }
std::string element_name(ElementType type) { return names_of(type).name; }
const char* element_typestr(ElementType type) { return names_of(type).typestr; }
dlpack::DataType dlpack_type(ElementType type) { return {names_of(type).code, names_of(type).bits, 1}; }

std::optional<ElementType> element_type(const std::string& name) {
    const auto* const found = std::ranges::find_if(kTypes, [&](const TypeNames& names) { return name == names.name; });
    return found == std::end(kTypes) ? std::nullopt : std::optional(found->type);
}

std::optional<DeviceArrayPointer> import_device_array(const py::object& array, const std::string& name) {
    if (py::hasattr(array, "__dlpack_device__") && py::hasattr(array, "__dlpack__")) return by_dlpack(array, name);
    if (py::hasattr(array, "__cuda_array_interface__")) return by_cuda_array_interface(array, name);
    return std::nullopt;
}

}  // namespace isthmus::bindings
