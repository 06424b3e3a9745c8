// SPDX-License-Identifier: Apache-2.0
// A CUDA device: what it has, and the library's one door.
#include <array>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

#include "cuda/kernels.hpp"
#include "cuda/launch.hpp"
#include "cuda/model.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kMostDevices = 64;

// ISTHMUS_CUDA_TILE (large, medium, small) is for tests and measurements; it changes no bit.
std::optional<TileSize> forced_tile() {
    const char* const value = std::getenv("ISTHMUS_CUDA_TILE");
    if (value == nullptr) return std::nullopt;
    const std::string name = value;
    if (name == "large") return TileSize::large;
    if (name == "medium") return TileSize::medium;
    if (name == "small") return TileSize::small;
    throw Error(ErrorKind::value, "ISTHMUS_CUDA_TILE is '" + name + "'; it must be large, medium or small");
}

// ISTHMUS_CUDA_PLAN (one_block, two_kernels, layers) likewise.
std::optional<PlanKind> forced_plan() {
    const char* const value = std::getenv("ISTHMUS_CUDA_PLAN");
    if (value == nullptr) return std::nullopt;
    const std::string name = value;
    if (name == "one_block") return PlanKind::one_block;
    if (name == "two_kernels") return PlanKind::two_kernels;
    if (name == "layers") return PlanKind::layer_by_layer;
    throw Error(ErrorKind::value, "ISTHMUS_CUDA_PLAN is '" + name + "'; it must be one_block, two_kernels or layers");
}

class CudaDevice final : public Device {
public:
    explicit CudaDevice(int ordinal) : ordinal_(ordinal) {
        const OnDevice device(ordinal);
        cudaDeviceProp properties{};
        check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
        limits_.multiprocessors = properties.multiProcessorCount;
        limits_.memory = static_cast<std::int64_t>(properties.totalGlobalMem);
        limits_.shared_memory = static_cast<std::int64_t>(properties.sharedMemPerBlockOptin);
    }

    std::string name() const override { return "cuda:" + std::to_string(ordinal_); }

    std::unique_ptr<Model> compile(const Program& program, const CompileOptions& options) const override {
        check_precision(options.precision);
        const OnDevice device(ordinal_);
        return std::make_unique<CudaModel>(ordinal_, limits(), program);
    }

    const Kernels& kernels() const override { return kernels_; }

private:
    Limits limits() const {
        Limits limits = limits_;
        limits.tile = forced_tile();
        limits.plan = forced_plan();
        return limits;
    }

    int ordinal_;
    Limits limits_;
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
