// SPDX-License-Identifier: Apache-2.0
// Names, shapes and places of a network's parameters: one rule for the program, the flat buffers and the model file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/configuration.hpp"
#include "device/contract.hpp"

namespace isthmus {

// What a layer takes from the layout. `transposed`: its weight is that of another layer, which owns it.
struct LayerParameters {
    ParamId weight = 0;
    ParamId bias = 0;
    bool transposed = false;
};

struct ParameterLayout {
    std::vector<Parameter> parameters;    // weight (out, in), where it owns one, and bias (out) of each layer in turn
    std::vector<LayerParameters> layers;  // from input to output
    std::int64_t flat_size = 0;           // floats in a flat buffer, a multiple of 16
};

// Layer i leads from widths.layers[i] to widths.layers[i + 1]; each parameter starts at the next multiple of 16 floats.
// The encoder's last gives code_parts values for each unit of the code. With tied widths the layers behind the code use
// the weights of those before it, the first that of the last. Throws Error(value) when the bytes of a flat buffer do
// not fit 63 bits.
ParameterLayout parameter_layout(const Widths& widths);

// For a message, "encoder_layers, decoder_layers: a network of widths [3, 8, 3] takes 9.60e+02 bytes": of `copies` flat
// buffers.
std::string takes_bytes(const Widths& widths, double copies);

// "encoder.<layer>.weight" for the layers before the code, "decoder.<layer - code>.weight" for the others; `code` is
// Widths::code, the number of layers of the encoder.
std::string parameter_name(std::size_t layer, std::size_t code, bool bias);

// One for each parameter of the layout: "encoder.0.weight", "encoder.0.bias", ..., "decoder.0.weight", ...
std::vector<std::string> parameter_names(const Widths& widths);

}  // namespace isthmus
