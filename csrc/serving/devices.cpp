// SPDX-License-Identifier: Apache-2.0
#include "serving/devices.hpp"

#include <charconv>
#include <optional>
#include <string_view>

#include "cpu/cpu.hpp"
#include "device/cuda_library.hpp"

namespace isthmus {
namespace {

// "cuda" -> 0, "cuda:N" -> N.
std::optional<int> cuda_ordinal(std::string_view name) {
    constexpr std::string_view kCuda = "cuda", kNumbered = "cuda:";
    if (name == kCuda) return 0;
    if (!name.starts_with(kNumbered)) return std::nullopt;
    const std::string_view digits = name.substr(kNumbered.size());
    int ordinal = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), ordinal);
    if (error != std::errc() || end != digits.data() + digits.size() || ordinal < 0) return std::nullopt;
    return ordinal;
}

}  // namespace

const Device& device_named(const std::string& name) {
    if (name == "cpu") return cpu::device();
    if (name == "auto") {
        const Device* gpu = first_cuda_device().device;
        return gpu != nullptr ? *gpu : cpu::device();
    }
    if (const std::optional<int> ordinal = cuda_ordinal(name)) return cuda_device(*ordinal);
    throw Error(ErrorKind::value, "device must be \"auto\", \"cpu\", \"cuda\" or \"cuda:N\"; got \"" + name + '"');
}

}  // namespace isthmus
