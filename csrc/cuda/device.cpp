// SPDX-License-Identifier: Apache-2.0
// A CUDA device: what it has, and the library's one door.
#include <array>
#include <memory>
#include <mutex>
#include <string>

#include "cuda/device_limits.hpp"
#include "cuda/kernels.hpp"
#include "cuda/launch.hpp"
#include "cuda/model.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kMostDevices = 64;

class CudaDevice final : public Device {
public:
    explicit CudaDevice(int ordinal) : ordinal_(ordinal), limits_(device_limits(ordinal)) {}

    std::string name() const override { return "cuda:" + std::to_string(ordinal_); }

    std::unique_ptr<Model> compile(const Program& program, const CompileOptions& options) const override {
        const Limits found = limits();
        check_precision(options.precision, found, name());
        const OnDevice device(ordinal_);
        return std::make_unique<CudaModel>(ordinal_, memory_, found, program, arithmetic_of(options.precision, found));
    }

    const Kernels& kernels() const override { return kernels_; }
    const DeviceMemory* memory() const override { return &memory_; }

private:
    Limits limits() const { return with_environment(limits_); }

    int ordinal_;
    Limits limits_;
    CudaMemory memory_{ordinal_};
    CudaKernels kernels_{ordinal_, [this] { return limits(); }};
};

// How many there are; Error(runtime) with what was found where it cannot be told.
int device_count() {
    int count = 0;
    const cudaError_t result = cudaGetDeviceCount(&count);
    if (result == cudaErrorNoDevice) return 0;
    if (result == cudaErrorInsufficientDriver) {
        cudaGetLastError();
        int driver = 0;
        int runtime = 0;
        check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
        check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
        const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
        throw Error(ErrorKind::runtime, driver == 0 ? "no NVIDIA driver was found"
                                                    : "the NVIDIA driver serves CUDA " + version(driver) +
                                                          ", but CUDA " + version(runtime) + " is needed");
    }
    check(result, "cudaGetDeviceCount");
    return count;
}

}  // namespace

}  // namespace isthmus::cuda

// The device of that number, made on first use and kept for good: at the end of the process the CUDA runtime is gone
// before static objects are. Throws Error(runtime) with what was found when there is none.
extern "C" __attribute__((visibility("default"))) const isthmus::Device* isthmus_cuda_device(int ordinal) {
    using namespace isthmus;
    static std::mutex mutex;
    static std::array<cuda::CudaDevice*, cuda::kMostDevices> devices{};
    const std::lock_guard lock(mutex);
    const int count = cuda::device_count();
    if (ordinal < 0 || ordinal >= count || ordinal >= cuda::kMostDevices) {
        throw Error(ErrorKind::runtime, "there is no device cuda:" + std::to_string(ordinal) + "; " +
                                            (count == 0   ? "no CUDA device was found"
                                             : count == 1 ? "the only one is cuda:0"
                                                          : "they are cuda:0 to cuda:" + std::to_string(count - 1)));
    }
    cuda::CudaDevice*& device = devices[static_cast<std::size_t>(ordinal)];
    if (device == nullptr) device = new cuda::CudaDevice(ordinal);
    return device;
}
