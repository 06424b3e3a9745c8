// SPDX-License-Identifier: Apache-2.0
#include "cuda/device_limits.hpp"

#include <cstdlib>
#include <optional>
#include <string>

#include "cuda/stream.hpp"
#include "cuda/wgmma_products.hpp"

namespace isthmus::cuda {

namespace {

template <class T>
struct Choice {
    const char* word;
    T value;
};

// What `variable` says, if it is set.
template <class T, std::size_t n>
std::optional<T> chosen(const char* variable, const Choice<T> (&choices)[n]) {
    const char* const value = std::getenv(variable);
    if (value == nullptr) return std::nullopt;
    std::string words;
    for (std::size_t i = 0; i < n; ++i) {
        if (value == std::string(choices[i].word)) return choices[i].value;
        words += (i == 0 ? "" : i + 1 < n ? ", " : " or ") + std::string(choices[i].word);
    }
    throw Error(ErrorKind::value, std::string(variable) + " is '" + value + "'; it must be " + words);
}

constexpr Choice<TileSize> kTiles[] = {
    {"large", TileSize::large}, {"medium", TileSize::medium}, {"small", TileSize::small}};
constexpr Choice<PlanKind> kPlans[] = {
    {"one_block", PlanKind::one_block}, {"two_kernels", PlanKind::two_kernels}, {"layers", PlanKind::layer_by_layer}};
constexpr Choice<Arithmetic> kFloat32[] = {{"simt", Arithmetic::simt}, {"bf16x6", Arithmetic::bf16x6}};
constexpr Choice<bool> kSwitch[] = {{"on", true}, {"off", false}};

}  // namespace

Limits device_limits(int ordinal) {
    const OnDevice device(ordinal);
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
    Limits limits;
    limits.multiprocessors = properties.multiProcessorCount;
    limits.memory = static_cast<std::int64_t>(properties.totalGlobalMem);
    limits.shared_memory = static_cast<std::int64_t>(properties.sharedMemPerBlockOptin);
    limits.compute_capability = 10 * properties.major + properties.minor;
    limits.wgmma = limits.compute_capability == 90 && has_wgmma();
    return limits;
}

Limits with_environment(Limits limits) {
    limits.tile = chosen("ISTHMUS_CUDA_TILE", kTiles);
    limits.plan = chosen("ISTHMUS_CUDA_PLAN", kPlans);
    limits.float32 = chosen("ISTHMUS_CUDA_FLOAT32", kFloat32).value_or(Arithmetic::simt);
    limits.wgmma = chosen("ISTHMUS_CUDA_WGMMA", kSwitch).value_or(true) && limits.wgmma;
    return limits;
}

}  // namespace isthmus::cuda
