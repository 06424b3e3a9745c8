// SPDX-License-Identifier: Apache-2.0
#include "core/parameters.hpp"

#include <charconv>
#include <limits>

#include "core/json.hpp"

namespace isthmus {
namespace {

constexpr std::int64_t kAlignment = 16;  // floats: 64 bytes, one cache line and one AVX-512 register
constexpr std::int64_t kMaxFloats = std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(sizeof(float));

bool owns_weight(const Widths& widths, std::size_t layer) { return !widths.tied || layer < widths.code; }

// Of a layer; twice what cannot be addressed anyway need not be counted.
std::int64_t outputs(const Widths& widths, std::size_t layer) {
    const std::int64_t width = widths.layers[layer + 1];
    return layer + 1 == widths.code && width <= kMaxFloats ? width * widths.code_parts : width;
}

}  // namespace

std::string takes_bytes(const Widths& widths, double copies) {
    double bytes = 0.0;
    for (std::size_t i = 0; i + 1 < widths.layers.size(); ++i) {
        const double inputs = owns_weight(widths, i) ? static_cast<double>(widths.layers[i]) : 0.0;
        bytes += 4.0 * static_cast<double>(outputs(widths, i)) * (inputs + 1.0);
    }
    char amount[32];
    const auto end =
        std::to_chars(amount, amount + sizeof(amount), copies * bytes, std::chars_format::scientific, 2).ptr;
    return "encoder_layers, decoder_layers: a network of widths " +
           summary(Json(JsonArray(widths.layers.begin(), widths.layers.end()))) + " takes " + std::string(amount, end) +
           " bytes";
}

ParameterLayout parameter_layout(const Widths& widths) {
    ParameterLayout layout;
    const std::size_t n_layers = widths.layers.size() - 1;
    layout.parameters.reserve(2 * n_layers);
    const auto append = [&](std::int64_t rows, std::int64_t cols) {
        std::int64_t size = 0;
        std::int64_t end = 0;
        if (__builtin_mul_overflow(rows, cols, &size) || __builtin_add_overflow(layout.flat_size, size, &end) ||
            end > kMaxFloats - kAlignment) {
            throw Error(ErrorKind::value, takes_bytes(widths, 1.0) + " of weights; at most 2^63 - 1 can be addressed");
        }
        layout.parameters.push_back({layout.flat_size, rows, cols});
        layout.flat_size = (end + kAlignment - 1) / kAlignment * kAlignment;
        return layout.parameters.size() - 1;
    };
    for (std::size_t i = 0; i < n_layers; ++i) {
        LayerParameters layer;
        layer.transposed = !owns_weight(widths, i);
        layer.weight =
            layer.transposed ? layout.layers[n_layers - 1 - i].weight : append(outputs(widths, i), widths.layers[i]);
        layer.bias = append(outputs(widths, i), 1);
        layout.layers.push_back(layer);
    }
    return layout;
}

std::string parameter_name(std::size_t layer, std::size_t code, bool bias) {
    const bool encoder = layer < code;
    const std::string number = std::to_string(encoder ? layer : layer - code);
    return (encoder ? "encoder." : "decoder.") + number + (bias ? ".bias" : ".weight");
}

std::vector<std::string> parameter_names(const Widths& widths) {
    const ParameterLayout layout = parameter_layout(widths);
    std::vector<std::string> names(layout.parameters.size());
    for (std::size_t i = 0; i < layout.layers.size(); ++i) {
        const LayerParameters& layer = layout.layers[i];
        if (!layer.transposed) names[layer.weight] = parameter_name(i, widths.code, false);
        names[layer.bias] = parameter_name(i, widths.code, true);
    }
    return names;
}

}  // namespace isthmus
