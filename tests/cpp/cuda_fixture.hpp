// SPDX-License-Identifier: Apache-2.0
// What the tests of the CUDA device share: the device, its settings, networks and ranges of steps without a trainer.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/configuration.hpp"
#include "training_fixture.hpp"

namespace fixture {

inline const int kSmallMemory = setenv("ISTHMUS_EMULATOR_MEMORY", "16777216", 0);

struct Never final : Stop {
    bool requested() override { return false; }
};

inline const Device& gpu() { return *cuda_device_to_test(); }

inline bool emulated() {
    return std::string(std::getenv("ISTHMUS_CUDA_LIBRARY")).find("emulated") != std::string::npos;
}

// Sets a variable of the environment for as long as this lives.
class Variable {
public:
    Variable(const char* name, const char* value) : name_(name) {
        if (const char* const before = std::getenv(name)) before_ = before;
        setenv(name, value, 1);
    }
    ~Variable() {
        if (before_) {
            setenv(name_, before_->c_str(), 1);
        } else {
            unsetenv(name_);
        }
    }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;

private:
    const char* name_;
    std::optional<std::string> before_;
};

// `layers` and back, with the activation in every layer where the loss allows it.
inline Configuration network(std::vector<std::int64_t> layers, Activation activation, Loss loss) {
    Configuration configuration;
    configuration.encoder_layers = std::move(layers);
    configuration.activation = configuration.code_activation = activation;
    configuration.loss = loss;
    if (loss != Loss::bce) configuration.output_activation = activation;
    return configuration;
}

struct Range {
    std::vector<std::int64_t> rows;
    std::vector<double> rates;
    StepRange range;

    Range(std::vector<std::int64_t> numbers, std::int64_t batch, double learning_rate = 1e-3)
        : rows(std::move(numbers)),
          rates((rows.size() + static_cast<std::size_t>(batch) - 1) / static_cast<std::size_t>(batch), learning_rate) {
        range.batch_size = batch;
        range.rows = rows;
        range.learning_rates = rates;
    }
};

inline std::vector<std::int64_t> row_numbers(std::int64_t n, std::int64_t of, std::int64_t step = 7) {
    std::vector<std::int64_t> numbers;
    for (std::int64_t i = 0; i < n; ++i) numbers.push_back(i * step % of);
    return numbers;
}

struct Result {
    Tensors tensors;
    Totals totals;
};

inline Result train(const Device& device, const Program& program, const RowSource& source, const StepRange& range,
                    const UpdateRule& rule = {}, const CompileOptions& options = {}) {
    const auto model = device.compile(program, options);
    model->write({initial_weights(program, 7), {}, {}});
    Never never;
    Result result;
    result.totals = model->train(source, range, rule, nullptr, never);
    model->read(result.tensors);
    return result;
}

}  // namespace fixture
