// SPDX-License-Identifier: Apache-2.0
// Floor 0: the words every other floor speaks. Enums, views, configuration, errors; no behaviour.
//
// Letters, fixed once: n rows; x (n, in); w (out, in); b (out); z = x @ w.T + b before the activation; y = act(z),
// both (n, out); a gradient is d + name. All matrices are row-major.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace isthmus {

// ---- enums. The order is that of the registries in math/, which give each value its name. ----------------------

enum class Activation : std::uint8_t { linear, relu, leaky_relu, elu, gelu, silu, softplus, sigmoid, tanh };
enum class Loss : std::uint8_t { mse, bce, mae, huber };
enum class Optimizer : std::uint8_t { adam, adamw, sgd };
enum class Schedule : std::uint8_t { constant, cosine, linear, exponential, plateau };
enum class NoiseKind : std::uint8_t { gaussian, mask };
enum class ScalingKind : std::uint8_t { standard, minmax };
enum class Missing : std::uint8_t { error, mask };
enum class Precision : std::uint8_t { float32, tf32, bfloat16 };
enum class PenaltyKind : std::uint8_t { code_l1, kl };
enum class ModelKind : std::uint8_t { autoencoder, anomaly_detector, variational_autoencoder };

// ---- views ----------------------------------------------------------------------------------------------------

// Whose memory a pointer is of. What is `device` is read and written by a device alone: the host must not touch it.
enum class Memory : std::uint8_t { host, device };

// Row r, column c is data[r * stride + c]; the stride is in elements, may be 0 (one row repeated) or negative. What
// is read in a device's memory has a positive stride, rows that begin at multiples of 16 bytes, and zeros after them up
// to a multiple of 4 columns.
struct MatrixView {
    const float* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::int64_t stride = 0;
    Memory memory = Memory::host;

    const float* row(std::int64_t r) const { return data + r * stride; }
};

struct MutableMatrixView {
    float* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::int64_t stride = 0;
    Memory memory = Memory::host;

    float* row(std::int64_t r) const { return data + r * stride; }
    operator MatrixView() const { return {data, rows, cols, stride, memory}; }
};

// ---- configuration: the constructor's parameters that belong to the model (design: "What people see"). ----------
// Device, number of threads and random_state's generator objects are not here: they are never stored in a file.

struct Configuration {
    ModelKind kind = ModelKind::autoencoder;

    std::optional<std::vector<std::int64_t>> encoder_layers;  // widths, the last is the code
    std::optional<std::vector<std::int64_t>> decoder_layers;  // hidden widths; nullopt mirrors the encoder
    Activation activation = Activation::relu;
    Activation code_activation = Activation::linear;
    std::optional<Activation> output_activation;
    Loss loss = Loss::mse;

    Optimizer optimizer = Optimizer::adam;
    double learning_rate = 1e-3;
    double beta_1 = 0.9;
    double beta_2 = 0.999;
    double epsilon = 1e-8;
    double momentum = 0.0;
    std::optional<double> weight_decay;  // nullopt: 0.01 for adamw, 0 otherwise
    Schedule learning_rate_schedule = Schedule::constant;
    std::optional<double> clip_norm;

    double input_noise = 0.0;
    NoiseKind input_noise_kind = NoiseKind::gaussian;

    double code_l1 = 0.0;                   // weight of the mean of the code's absolute values
    std::optional<std::int64_t> code_topk;  // units of a row's code that are kept; nullopt: all
    bool tied_weights = false;              // the decoder uses the encoder's weights transposed

    std::optional<ScalingKind> scaling;  // nullopt: none
    Missing missing = Missing::error;    // mask: NaN is a value that was not observed

    std::int64_t batch_size = 256;
    std::int64_t epochs = 100;
    bool shuffle = true;
    double validation_fraction = 0.0;
    std::optional<std::int64_t> patience;
    double min_delta = 0.0;
    bool restore_best = true;

    Precision precision = Precision::float32;
    std::optional<std::uint64_t> random_state;
    bool warm_start = false;
    std::int64_t verbose = 0;

    // kind = anomaly_detector
    double contamination = 0.1;
    double calibration_fraction = 0.0;

    // kind = variational_autoencoder
    double kl_weight = 1.0;
};

// ---- errors -----------------------------------------------------------------------------------------------------

enum class ErrorKind : std::uint8_t {
    value,         // Python: ValueError
    type,          // TypeError
    model_format,  // isthmus.ModelFormatError (a ValueError)
    divergence,    // isthmus.DivergenceError (an ArithmeticError)
    memory,        // MemoryError; std::bad_alloc too
    io,            // OSError, with code = errno
    runtime,       // RuntimeError: what a device cannot do
};

class Error : public std::runtime_error {
public:
    Error(ErrorKind kind, const std::string& message, int code = 0)
        : std::runtime_error(message), kind_(kind), code_(code) {}

    ErrorKind kind() const noexcept { return kind_; }
    int code() const noexcept { return code_; }

private:
    ErrorKind kind_;
    int code_;
};

}  // namespace isthmus
