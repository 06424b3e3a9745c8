// SPDX-License-Identifier: Apache-2.0
// As much of ONNX Runtime's C interface as bench/latency.cpp calls. Its wheel has the library but no header; what is
// fixed between versions is the order of the functions in the table that OrtGetApiBase()->GetApi(version) gives.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

class OnnxRuntime {
public:
    // The library, a model file with one input "x" and the output of that name, and threads of an operator.
    OnnxRuntime(const char* library, const char* model, const char* output, int threads) : output_name_(output) {
        void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        if (handle == nullptr) give_up(dlerror());
        struct ApiBase {
            const Function* (*get_api)(std::uint32_t version);
            const char* (*get_version)();
        };
        const auto base = reinterpret_cast<const ApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
        if (base == nullptr) give_up("OrtGetApiBase is not there");
        table_ = base()->get_api(16);  // of 2023: every later library has it
        if (table_ == nullptr) give_up("the library is older than 1.16");
        call<int, const char*, void**>(kCreateEnv, kWarning, "latency", &environment_);
        void* options = nullptr;
        call(kCreateSessionOptions, &options);
        call(kSetSessionGraphOptimizationLevel, options, kEnableAll);
        call(kSetIntraOpNumThreads, options, threads);
        call(kSetInterOpNumThreads, options, 1);
        call<void*, const char*, void*, void**>(kCreateSession, environment_, model, options, &session_);
        call(kCreateCpuMemoryInfo, kDeviceAllocator, kMemTypeDefault, &memory_);
    }

    // A row that stays where it is, as a tensor (1, width), made before anything is timed.
    void* tensor(float* row, std::int64_t width) {
        void* value = nullptr;
        const std::int64_t shape[2] = {1, width};
        call<void*, void*, std::size_t, const std::int64_t*, std::size_t, int, void**>(
            kCreateTensorWithDataAsOrtValue, memory_, row, static_cast<std::size_t>(width) * sizeof(float), shape, 2,
            kFloat, &value);
        return value;
    }

    void run(const void* input, void* output) {
        static const char* const kInput = "x";
        const void* const inputs[1] = {input};
        void* outputs[1] = {output};
        call<void*, const void*, const char* const*, const void* const*, std::size_t, const char* const*, std::size_t,
             void**>(kRun, session_, nullptr, &kInput, inputs, 1, &output_name_, 1, outputs);
    }

private:
    using Function = void (*)();
    // Places in the table, and values of enumerations.
    enum Place : std::size_t {
        kGetErrorMessage = 2,
        kCreateEnv = 3,
        kCreateSession = 7,
        kRun = 9,
        kCreateSessionOptions = 10,
        kSetSessionGraphOptimizationLevel = 23,
        kSetIntraOpNumThreads = 24,
        kSetInterOpNumThreads = 25,
        kCreateTensorWithDataAsOrtValue = 49,
        kCreateCpuMemoryInfo = 69,
    };
    static constexpr int kWarning = 2, kEnableAll = 99, kDeviceAllocator = 0, kMemTypeDefault = 0, kFloat = 1;

    [[noreturn]] static void give_up(const char* why) {
        std::fprintf(stderr, "ONNX Runtime: %s\n", why);
        std::exit(1);
    }

    template <class... Arguments>
    void call(Place place, Arguments... arguments) {
        void* const status = reinterpret_cast<void* (*)(Arguments...)>(table_[place])(arguments...);
        if (status == nullptr) return;
        give_up(reinterpret_cast<const char* (*)(const void*)>(table_[kGetErrorMessage])(status));
    }
    const Function* table_ = nullptr;
    const char* output_name_;
    void* environment_ = nullptr;
    void* session_ = nullptr;
    void* memory_ = nullptr;
};
