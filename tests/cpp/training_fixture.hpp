// SPDX-License-Identifier: Apache-2.0
// A small network on every device, data for it, and hooks that stop, count and plant faults.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/autoencoder.hpp"
#include "core/program.hpp"
#include "core/trainer.hpp"
#include "cpu/cpu.hpp"
#include "device/contract.hpp"
#include "device/cuda_library.hpp"
#include "reference_device.hpp"

namespace fixture {

using namespace isthmus;

// Where ISTHMUS_CUDA_LIBRARY names a library, which may be the emulator's, its first device; else null.
inline const Device* cuda_device_to_test() {
    const char* const library = std::getenv("ISTHMUS_CUDA_LIBRARY");
    return library != nullptr && *library != '\0' ? &cuda_device(0) : nullptr;
}

// One test body for every device. The reference comes first: what fails there is the trainer's fault.
inline std::vector<const Device*> devices() {
    static const reference::ReferenceDevice reference_device;
    std::vector<const Device*> all{&reference_device, &cpu::device()};
    if (const Device* const cuda = cuda_device_to_test()) all.push_back(cuda);
    return all;
}

// Uniform in [low, high); splitmix64, so that no test rests on the package's own random numbers.
inline std::vector<float> uniform(std::int64_t n, std::uint64_t seed, double low = -1.0, double high = 1.0) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) {
        std::uint64_t z = (seed += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        value = static_cast<float>(low + (high - low) * std::ldexp(static_cast<double>((z ^ (z >> 31)) >> 11), -53));
    }
    return values;
}

struct Rows {
    std::vector<float> values;
    std::int64_t cols;

    std::int64_t rows() const { return static_cast<std::int64_t>(values.size()) / cols; }
    MatrixView view() const { return {values.data(), rows(), cols, cols}; }
    RowSource source() const { return {view(), {}, nullptr}; }
};

inline Rows make_rows(std::int64_t n, std::int64_t cols, std::uint64_t seed = 1) {
    return {uniform(n * cols, seed), cols};
}

inline Configuration small_configuration() {
    Configuration configuration;
    configuration.encoder_layers = {7, 3};
    configuration.activation = Activation::tanh;
    configuration.batch_size = 8;
    configuration.epochs = 3;
    configuration.learning_rate = 0.01;
    return configuration;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline bool same_tensors(const Tensors& a, const Tensors& b) {
    return same_bits(a.params, b.params) && same_bits(a.m, b.m) && same_bits(a.v, b.v);
}

// What an Autoencoder holds, without its checks at the door.
struct Trained {
    Configuration configuration;
    Program program;
    std::unique_ptr<Model> model;
    TrainingState state;

    Trained(const Device& device, const Configuration& from, std::int64_t n_features, std::uint64_t seed = 11,
            int n_threads = 0)
        : configuration(from), program(build_program(from, n_features)) {
        CompileOptions options;
        options.n_threads = n_threads;
        model = device.compile(program, options);
        state.seed = seed;
        state.tensors.params = initial_weights(program, seed);
        model->write(state.tensors);
        model->read(state.tensors);
    }

    FitEnd fit(const RowSource& training, const RowSource* validation = nullptr, const Hooks& hooks = {}) {
        const Reader reader{*this};
        RowFeed rows(training);
        std::optional<RowFeed> held_out;
        if (validation) held_out.emplace(*validation);
        return isthmus::fit(*model, state, configuration, rows, held_out ? &*held_out : nullptr, hooks);
    }
    FitEnd fit_epochs(std::int64_t epochs, const RowSource& training, const RowSource* validation = nullptr,
                      const Hooks& hooks = {}) {
        configuration.epochs = epochs;
        return fit(training, validation, hooks);
    }
    void partial_fit(const RowSource& training, const Hooks& hooks = {}) {
        const Reader reader{*this};
        RowFeed rows(training);
        isthmus::partial_fit(*model, state, configuration, rows, hooks);
    }

private:
    // Reads the tensors from the model however training ends.
    struct Reader {
        Trained& trained;
        ~Reader() { trained.model->read(trained.state.tensors); }
    };
};

// All but the seconds.
inline bool same_progress(const TrainingState& a, const TrainingState& b) {
    return a.epoch == b.epoch && a.step == b.step && a.step_in_epoch == b.step_in_epoch && a.loss_sum == b.loss_sum &&
           a.weight_sum == b.weight_sum && a.penalty_sum == b.penalty_sum && a.fit_first_epoch == b.fit_first_epoch &&
           a.fit_first_step == b.fit_first_step && a.fit_last_epoch == b.fit_last_epoch &&
           a.plateau_factor == b.plateau_factor && a.best_loss == b.best_loss && a.best_wait == b.best_wait &&
           a.best_params == b.best_params && a.history.loss == b.history.loss &&
           a.history.val_loss == b.history.val_loss && a.history.penalty == b.history.penalty &&
           a.history.learning_rate == b.history.learning_rate;
}

// ||a - b|| / ||b||
inline double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0.0;
    double norm = 0.0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
        norm += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(difference / norm);
}

struct Interrupted : std::runtime_error {
    Interrupted() : std::runtime_error("interrupted") {}
};

// Says yes, or throws, from its n-th call on.
class StopAtCall final : public Stop {
public:
    explicit StopAtCall(std::int64_t call, bool throws = false) : call_(call), throws_(throws) {}
    bool requested() override {
        if (++calls_ < call_) return false;
        if (throws_) throw Interrupted();
        return true;
    }
    std::int64_t calls() const { return calls_; }

private:
    std::int64_t call_;
    bool throws_;
    std::int64_t calls_ = 0;
};

// Counts steps, repeated ones too, and makes the loss of the `faulty` one (from 0) a NaN, once.
class PlantNan : public Reducer {
public:
    explicit PlantNan(std::int64_t faulty) : faulty_(faulty) {}
    void reduce(std::span<float>, double& loss_sum, double&, double&) override {
        if (steps_++ == faulty_) loss_sum = std::nan("");
    }
    std::int64_t steps() const { return steps_; }

private:
    std::int64_t faulty_;
    std::int64_t steps_ = 0;
};

// Stops when `steps` steps are done, as counted by a reducer.
class StopAtStep final : public Stop {
public:
    StopAtStep(const PlantNan& counter, std::int64_t steps) : counter_(counter), steps_(steps) {}
    bool requested() override { return counter_.steps() >= steps_; }

private:
    const PlantNan& counter_;
    std::int64_t steps_;
};

// ---- a whole Autoencoder of five features -----------------------------------------------------------------------

inline constexpr std::int64_t kWidth = 5;

inline Autoencoder make_autoencoder(const Device& device, const Configuration& configuration = small_configuration()) {
    return {configuration, kWidth, 11, device, {}};
}

inline std::vector<float> encoded(const Autoencoder& model, MatrixView x) {
    std::vector<float> code(static_cast<std::size_t>(x.rows * model.code_size()));
    model.encode(x, {code.data(), x.rows, model.code_size(), model.code_size()});
    return code;
}

}  // namespace fixture
