// SPDX-License-Identifier: Apache-2.0
#include "core/parameters.hpp"

#include <charconv>
#include <limits>

#include "core/json.hpp"
#include "device/cgroup.hpp"

namespace isthmus {
namespace {

constexpr std::int64_t kAlignment = 16;  // floats: 64 bytes, one cache line and one AVX-512 register
// Flat buffers of a model that is trained: parameters and two moments, here and on the device, and the device's
// transposed copy.
constexpr double kTrainingCopies = 7.0;
constexpr std::int64_t kMaxFloats = std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(sizeof(float));

// "encoder_layers, decoder_layers: a network of widths [3, 8, 3] takes 9.60e+02 bytes": of `copies` flat buffers.
std::string takes_bytes(const Widths& widths, double copies) {
    double bytes = 0.0;
    for (std::size_t i = 0; i + 1 < widths.layers.size(); ++i) {
        bytes += 4.0 * static_cast<double>(widths.layers[i + 1]) * (static_cast<double>(widths.layers[i]) + 1.0);
    }
    char amount[32];
    const auto end =
        std::to_chars(amount, amount + sizeof(amount), copies * bytes, std::chars_format::scientific, 2).ptr;
    return "encoder_layers, decoder_layers: a network of widths " +
           summary(Json(JsonArray(widths.layers.begin(), widths.layers.end()))) + " takes " + std::string(amount, end) +
           " bytes";
}

}  // namespace

ParameterLayout parameter_layout(const Widths& widths) {
    ParameterLayout layout;
    layout.parameters.reserve(2 * (widths.layers.size() - 1));
    const auto append = [&](std::int64_t rows, std::int64_t cols) {
        std::int64_t size = 0;
        std::int64_t end = 0;
        if (__builtin_mul_overflow(rows, cols, &size) || __builtin_add_overflow(layout.flat_size, size, &end) ||
            end > kMaxFloats - kAlignment) {
            throw Error(ErrorKind::value, takes_bytes(widths, 1.0) + " of weights; at most 2^63 - 1 can be addressed");
        }
        layout.parameters.push_back({layout.flat_size, rows, cols});
        layout.flat_size = (end + kAlignment - 1) / kAlignment * kAlignment;
    };
    for (std::size_t i = 0; i + 1 < widths.layers.size(); ++i) {
        append(widths.layers[i + 1], widths.layers[i]);
        append(widths.layers[i + 1], 1);
    }
    return layout;
}

void check_memory(const Widths& widths) {
    const auto machine = static_cast<double>(memory_limit());
    const double flat = 4.0 * static_cast<double>(parameter_layout(widths).flat_size);
    if (kTrainingCopies * flat <= machine) return;
    throw Error(ErrorKind::memory, takes_bytes(widths, kTrainingCopies) + " of weights and moments; this machine has " +
                                       std::to_string(memory_limit()));
}

std::string parameter_name(std::size_t layer, std::size_t code, bool bias) {
    const bool encoder = layer < code;
    const std::string number = std::to_string(encoder ? layer : layer - code);
    return (encoder ? "encoder." : "decoder.") + number + (bias ? ".bias" : ".weight");
}

}  // namespace isthmus
