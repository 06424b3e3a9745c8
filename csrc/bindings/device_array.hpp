// SPDX-License-Identifier: Apache-2.0
// isthmus._core.DeviceArray: a caller's array in the memory of a GPU, or a result there. Nothing is copied between them
// and torch, CuPy, JAX or Numba: both sides hold the owner of the memory.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus::bindings {

struct DeviceArray {
    const Device& device;
    std::shared_ptr<void> owner;  // of the memory; any thread may let go of it
    void* data = nullptr;
    ElementType type = ElementType::float32;
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;  // in elements

    const DeviceMemory& memory() const { return *device.memory(); }
};

using DeviceArrayPointer = std::shared_ptr<DeviceArray>;

// Of what `readable` gave, or of a result: float32, 2-D.
MutableMatrixView matrix(const DeviceArray& array);

// Of a result: float64, 1-D. Errors as of check_same_device.
std::span<double> device_vector(const DeviceArray& array, const std::string& model_device, const char* name);

// Throws Error(value) that names both unless the array is where the model is.
void check_same_device(const DeviceArray& array, const std::string& model_device, const char* name);

// Row-major, without gaps.
DeviceArrayPointer new_device_array(const Device& device, ElementType type, std::vector<std::int64_t> shape);

}  // namespace isthmus::bindings
