// SPDX-License-Identifier: Apache-2.0
// A model with its state: what the bindings and, later, the C interface hold.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/model_file.hpp"
#include "core/trainer.hpp"
#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// What the arguments of a row source are called in messages.
struct RowNames {
    const char* inputs;
    const char* targets;
    const char* weights;
    std::int64_t first_row = 0;  // the number of the row that the source begins with
};

class Autoencoder {
public:
    // Initial weights from the seed.
    Autoencoder(Configuration configuration, std::int64_t n_features, std::uint64_t seed, const Device& device,
                const CompileOptions& options);
    Autoencoder(StoredModel stored, const Device& device, const CompileOptions& options);

    const Configuration& configuration() const { return configuration_; }
    // New training parameters; throws Error(value) when the network would change.
    void configure(Configuration configuration);
    std::int64_t n_features() const { return n_features_; }
    std::int64_t code_size() const;
    const Program& program() const { return program_; }
    const TrainingState& state() const { return state_; }
    // How the device ran the last steps, in words; empty before the first.
    std::string last_plan() const { return model_->last_plan(); }

    // Rows held back by configuration.validation_fraction, when no validation source is given, are drawn from the seed.
    // Throws Error(value) naming row and column (of `training` or `validation`) for NaN, infinity, bad weights, and
    // for bce targets outside [0, 1] beyond rounding (1e-6).
    FitEnd fit(const RowSource& training, const RowSource* validation, const Hooks& hooks);
    void partial_fit(const RowSource& training, const Hooks& hooks);

    // Rows are checked as in fit; outputs are (rows, code), (rows, features), ...
    void encode(MatrixView x, MutableMatrixView code) const;
    void decode(MatrixView code, MutableMatrixView x) const;
    void reconstruct(MatrixView x, MutableMatrixView y) const;
    // A caller that goes through its rows in blocks says which row of them x begins with.
    void reconstruction_error(MatrixView x, std::span<double> errors, std::optional<MutableMatrixView> per_feature,
                              std::int64_t first_row = 0) const;
    // Loss over the rows of a source.
    double evaluate(const RowSource& source) const;
    // d loss / d parameter of all rows as one batch: the loss is sum(w e) / sum(w). One flat vector, program layout.
    std::vector<float> gradients(const RowSource& source) const;

    std::vector<float> weights() const;  // flat, program layout
    // Throws Error(value) for a wrong size or a non-finite value, naming the parameter. Moments restart at zero.
    void set_weights(std::span<const float> flat);

    StoredModel store(bool training_state) const;
    std::vector<std::string> feature_names;

private:
    void check_inputs(MatrixView x) const;
    void run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out, const char* name) const;
    void check_rows(const RowSource& source, const RowNames& names) const;

    Configuration configuration_;
    std::int64_t n_features_;
    Program program_;
    TrainingState state_;
    std::unique_ptr<Model> model_;
    bool training_ = false;  // see Training in the source
};

}  // namespace isthmus
