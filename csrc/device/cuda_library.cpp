// SPDX-License-Identifier: Apache-2.0
#include "device/cuda_library.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "device/cuda_driver.hpp"

namespace isthmus {
namespace {

constexpr const char* kVariable = "ISTHMUS_CUDA_LIBRARY";
constexpr const char* kFile = "libisthmus_cuda.so";
#ifdef ISTHMUS_CUDA_VERSION
constexpr int kCudaVersion = ISTHMUS_CUDA_VERSION;  // that of the compiler, 13000
#else
constexpr int kCudaVersion = 0;
#endif

// ---- the file -----------------------------------------------------------------------------------------------------

struct Located {
    std::string path;
    std::string error;
    bool overridden = false;
};

// Beside the object that holds this function: the extension module, or a program.
std::string path_beside_us() {
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void*>(&path_beside_us), &info) == 0 || info.dli_fname == nullptr) return kFile;
    std::error_code failure;
    const std::filesystem::path self = std::filesystem::weakly_canonical(info.dli_fname, failure);
    return ((failure ? std::filesystem::path(info.dli_fname) : self).parent_path() / kFile).string();
}

Located locate() {
    const char* variable = std::getenv(kVariable);
    Located result{variable != nullptr ? variable : path_beside_us(), "", variable != nullptr};
    if (result.path.empty()) {
        result.error = std::string(kVariable) + " is set to nothing, which turns CUDA off";
    } else if (access(result.path.c_str(), F_OK) != 0) {
        result.error = result.overridden ? std::string(kVariable) + " names " + result.path + ", which does not exist"
                                         : "this build of isthmus has no CUDA device (no " + result.path +
                                               "; pip install . -C cmake.define.ISTHMUS_CUDA=ON builds it)";
    }
    return result;
}

// What is found at first is kept: a file that is missing then is not looked for again.
const Located& located() {
    static const Located result = locate();
    return result;
}

// A library that was named by hand may bring a driver of its own, as the tests' does.
bool driver_missing() { return !located().overridden && !cuda_driver_present(); }

// ---- the open library -----------------------------------------------------------------------------------------------

struct Opened {
    CudaDeviceFunction* device = nullptr;
    std::string error;
};

Opened open(const Located& library) {
    if (!library.error.empty()) return {nullptr, library.error};
    void* handle = dlopen(library.path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        const char* reason = dlerror();
        return {nullptr, library.path + " cannot be opened: " + (reason != nullptr ? reason : "no reason given")};
    }
    void* symbol = dlsym(handle, kCudaDeviceFunction);
    if (symbol == nullptr) return {nullptr, library.path + " is no CUDA library of isthmus: no " + kCudaDeviceFunction};
    return {reinterpret_cast<CudaDeviceFunction*>(symbol), ""};
}

const Opened& opened() {
    static const Opened result = open(located());
    return result;
}

// ---- forks --------------------------------------------------------------------------------------------------------

std::atomic<bool> used{false};    // this process, or one that it was forked from, may have initialised the driver
std::atomic<bool> forked{false};  // ... and it was one that this process was forked from

const Device& ask_library(int ordinal) {
    static const int registered = pthread_atfork(nullptr, nullptr, [] { forked = used.load(); });
    if (registered != 0) throw std::bad_alloc();
    used = true;
    return *opened().device(ordinal);
}

std::string driver_needed() {
    switch (kCudaVersion / 1000) {  // CUDA's release notes, Linux
        case 12: return "525 or newer";
        case 13: return "580 or newer";
        default: return kCudaVersion == 0 ? "" : "one for CUDA " + version_text(kCudaVersion);
    }
}

}  // namespace

void refuse_cuda_after_fork() {
    if (!forked) return;
    throw Error(ErrorKind::runtime,
                "CUDA cannot be used in a process that was forked from one that had used it; start it with "
                "multiprocessing's \"spawn\" or \"forkserver\", or take device=\"cpu\"");
}

const Device& cuda_device(int ordinal) {
    refuse_cuda_after_fork();
    const std::string asked = "device=\"cuda:" + std::to_string(ordinal) + "\": ";
    if (located().error.empty() && driver_missing()) {
        const std::string needed = driver_needed();
        throw Error(ErrorKind::runtime, asked + "found no NVIDIA driver (libcuda.so.1)" +
                                            (needed.empty() ? "" : "; this build needs " + needed));
    }
    if (opened().device == nullptr) {
        throw Error(ErrorKind::runtime, asked + opened().error + "; found " + describe(cuda_driver()));
    }
    try {
        return ask_library(ordinal);
    } catch (const Error& error) {
        throw Error(error.kind(), asked + error.what());
    }
}

FirstCudaDevice first_cuda_device() {
    if (forked) return {nullptr, "this process was forked from one that had used CUDA"};
    static const FirstCudaDevice first = []() -> FirstCudaDevice {
        if (!located().error.empty()) return {nullptr, located().error};
        if (driver_missing()) return {nullptr, "no NVIDIA driver (libcuda.so.1)"};
        if (opened().device == nullptr) return {nullptr, opened().error};
        try {
            return {&ask_library(0), ""};
        } catch (const Error& error) {
            return {nullptr, error.what()};
        }
    }();
    return first;
}

CudaLibrary cuda_library() {
    return {located().path, opened().error, kCudaVersion == 0 ? "" : version_text(kCudaVersion), driver_needed()};
}

}  // namespace isthmus
