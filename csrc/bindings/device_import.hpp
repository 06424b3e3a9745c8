// SPDX-License-Identifier: Apache-2.0
// Arrays of other libraries on a GPU, taken as they are: DLPack first, which says the device and orders streams itself,
// then the CUDA Array Interface.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "bindings/device_array.hpp"
#include "bindings/dlpack.hpp"

namespace isthmus::bindings {

// Null for what is not on a GPU. Throws Error(type) that names the dtype for what holds no real numbers, Error(runtime)
// for a GPU that isthmus cannot use, with what was found.
std::optional<DeviceArrayPointer> import_device_array(const pybind11::object& array, const std::string& name);

std::int64_t element_bytes(ElementType type);
std::string element_name(ElementType type);  // as NumPy's dtype
std::optional<ElementType> element_type(const std::string& name);
dlpack::DataType dlpack_type(ElementType type);
const char* element_typestr(ElementType type);  // of __cuda_array_interface__; null where that has none

}  // namespace isthmus::bindings
