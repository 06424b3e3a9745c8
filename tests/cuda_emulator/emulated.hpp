// SPDX-License-Identifier: Apache-2.0
// What the emulator's tests share: reports as text, settings of the environment, arrays on the device.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda/launch.hpp"
#include "cuda/ptx.hpp"

namespace emulated {

using isthmus::cuda::launch;

inline void must(cudaError_t result) { isthmus::cuda::check(result, "a call of the runtime"); }

inline const char* const kOrders[] = {"forward", "reverse", "1", "2", "3"};

// The report that the body ends with, or "".
template <class F>
std::string report_of(F&& body) {
    try {
        body();
    } catch (const cuda_emulator::Report& report) {
        return report.what();
    }
    return "";
}

inline bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// An environment variable while the object lives.
class Setting {
public:
    Setting(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
    ~Setting() { unsetenv(name_); }
    Setting(const Setting&) = delete;
    Setting& operator=(const Setting&) = delete;

private:
    const char* name_;
};

inline Setting order(const char* value) { return {"ISTHMUS_EMULATOR_ORDER", value}; }
inline Setting streams(const char* value) { return {"ISTHMUS_EMULATOR_STREAMS", value}; }

// The exit code of a process of its own, which a sanitizer may end: 0, or what the body returns; -1 after a signal.
template <class F>
int exit_code_of(F&& body) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(0);
        if constexpr (std::is_void_v<decltype(body())>) {
            body();
            _exit(0);
        } else {
            _exit(body());
        }
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

template <class T>
class DeviceArray {
public:
    explicit DeviceArray(std::size_t n) : n_(n) { must(cudaMalloc(&data_, n * sizeof(T))); }
    explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
        must(cudaMemcpyAsync(data_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice, nullptr));
        must(cudaStreamSynchronize(nullptr));
    }
    ~DeviceArray() { cudaFree(data_); }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;

    T* data() const { return data_; }
    std::vector<T> values() const {
        std::vector<T> values(n_);
        must(cudaMemcpyAsync(values.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost, nullptr));
        must(cudaStreamSynchronize(nullptr));
        return values;
    }

private:
    T* data_ = nullptr;
    std::size_t n_;
};

struct Stream {
    cudaStream_t handle = nullptr;
    Stream() { must(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream() { cudaStreamDestroy(handle); }
};
struct Event {
    cudaEvent_t handle = nullptr;
    explicit Event(unsigned flags = 0) { must(cudaEventCreateWithFlags(&handle, flags)); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event() { cudaEventDestroy(handle); }
};
struct Pinned {
    float* data = nullptr;
    explicit Pinned(std::size_t bytes) { must(cudaMallocHost(&data, bytes)); }
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;
    ~Pinned() { cudaFreeHost(data); }
};

}  // namespace emulated
