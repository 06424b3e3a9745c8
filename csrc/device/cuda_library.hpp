// SPDX-License-Identifier: Apache-2.0
// The CUDA device lives in a shared object of its own, so that one wheel serves machines with and without a GPU: it is
// opened on first use, and nothing of it is needed before. ISTHMUS_CUDA_LIBRARY names another file than the
// libisthmus_cuda.so beside the object that holds this code; set but empty, it stands for none.
#pragma once

#include <string>

#include "device/contract.hpp"

namespace isthmus {

// What the library exports, and all of it. Throws Error(runtime) that says what it found: no driver, no such device.
// An ordinal has one Device, which lives as long as the process.
extern "C" using CudaDeviceFunction = const Device * (int ordinal);
inline constexpr const char* kCudaDeviceFunction = "isthmus_cuda_device";

// Throws Error(runtime): no library in this build, one that cannot be opened, no driver, no such device, or a process
// that was forked from one that had used CUDA, whose driver a child cannot use.
const Device& cuda_device(int ordinal);

// What device="auto" goes by: cuda_device(0), or why there is none. Looks once; where there is no driver, the library
// is not opened.
struct FirstCudaDevice {
    const Device* device = nullptr;
    std::string why_not;
};
FirstCudaDevice first_cuda_device();

// Throws Error(runtime) when this process was forked from one that had used CUDA: what it inherited must not be
// touched.
void refuse_cuda_after_fork();

// Of the library, for people who ask what was found. Opens it, but asks it for no device.
struct CudaLibrary {
    std::string path;           // where it is, or should be
    std::string error;          // empty: it can be opened
    std::string built_with;     // CUDA's version, "13.0"; empty when this build made none
    std::string driver_needed;  // of that version, "580 or newer"
};
CudaLibrary cuda_library();

}  // namespace isthmus
