// SPDX-License-Identifier: Apache-2.0
#include "device/cuda_driver.hpp"

#include <dlfcn.h>

#include <array>
#include <cstddef>
#include <string>

namespace isthmus {
namespace {

// Of cuda.h, which a machine without the toolkit has not: functions return 0 for success, a device is an int.
using Init = int(unsigned flags);
using Int = int(int* value);
using Name = int(char* name, int length, int device);
using Memory = int(std::size_t* bytes, int device);
using Attribute = int(int* value, int attribute, int device);
using ErrorText = int(int error, const char** text);
constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR

void* driver() {
    static void* const handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    return handle;
}

template <class Function>
Function* function(const char* name) {
    return reinterpret_cast<Function*>(dlsym(driver(), name));
}

std::string text(int error) {
    const char* text = nullptr;
    const auto describe_error = function<ErrorText>("cuGetErrorString");
    if (describe_error != nullptr) describe_error(error, &text);
    return (text != nullptr ? text : "unknown error") + (" (" + std::to_string(error) + ")");
}

}  // namespace

bool cuda_driver_present() { return driver() != nullptr; }

CudaDriver cuda_driver() {
    CudaDriver found;
    if (driver() == nullptr) {
        found.error = "no NVIDIA driver (libcuda.so.1)";
        return found;
    }
    const auto init = function<Init>("cuInit");
    const auto version = function<Int>("cuDriverGetVersion");
    const auto count = function<Int>("cuDeviceGetCount");
    const auto name = function<Name>("cuDeviceGetName");
    const auto memory = function<Memory>("cuDeviceTotalMem_v2");
    const auto attribute = function<Attribute>("cuDeviceGetAttribute");
    if (init == nullptr || version == nullptr || count == nullptr || name == nullptr || memory == nullptr ||
        attribute == nullptr) {
        found.error = "libcuda.so.1 is not a driver of today";
        return found;
    }
    version(&found.version);
    int n = 0;
    int error = init(0);
    if (error == 0) error = count(&n);
    if (error != 0) found.error = "the NVIDIA driver refuses: " + text(error);
    for (int device = 0; device < n; ++device) {
        std::array<char, 256> buffer{};
        std::size_t bytes = 0;
        CudaGpu gpu;
        name(buffer.data(), static_cast<int>(buffer.size()) - 1, device);
        memory(&bytes, device);
        attribute(&gpu.major, kMajor, device);
        attribute(&gpu.minor, kMinor, device);
        gpu.name = buffer.data();
        gpu.memory = static_cast<std::int64_t>(bytes);
        found.gpus.push_back(gpu);
    }
    return found;
}

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string describe(const CudaDriver& driver) {
    if (!driver.error.empty()) return driver.error;
    std::string text = "a driver for CUDA " + version_text(driver.version) + " and ";
    if (driver.gpus.empty()) return text + "no GPU";
    for (std::size_t i = 0; i < driver.gpus.size(); ++i) text += (i > 0 ? ", " : "") + driver.gpus[i].name;
    return text;
}

}  // namespace isthmus
