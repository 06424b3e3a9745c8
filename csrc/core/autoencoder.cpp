// SPDX-License-Identifier: Apache-2.0
#include "core/autoencoder.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "core/checks.hpp"
#include "core/configuration.hpp"
#include "core/held_back.hpp"
#include "core/json.hpp"
#include "core/parameters.hpp"
#include "core/program.hpp"

namespace isthmus {
namespace {

// A callback that calls fit again, or a second thread, would train on a state that is half way between device and
// host: refused.
class Training {
public:
    explicit Training(bool& flag) : flag_(flag) {
        if (flag_.exchange(true))
            throw Error(ErrorKind::runtime, "the model is being trained; it cannot be changed until that ends");
    }
    ~Training() { flag_.store(false); }
    Training(const Training&) = delete;
    Training& operator=(const Training&) = delete;

private:
    std::atomic_ref<bool> flag_;
};

CompileOptions with_precision(CompileOptions options, Precision precision) {
    options.precision = precision;
    return options;
}

void check_size(const std::vector<float>& values, std::int64_t size, bool may_be_empty, const char* name) {
    if (static_cast<std::int64_t>(values.size()) == size || (may_be_empty && values.empty())) return;
    throw Error(ErrorKind::value, std::string(name) + " has " + std::to_string(values.size()) +
                                      " values, but the network of this configuration has " + std::to_string(size));
}

void check_shape(MatrixView out, std::int64_t rows, std::int64_t cols) {
    if (out.rows == rows && out.cols == cols) return;
    throw Error(ErrorKind::value, "the output has shape (" + std::to_string(out.rows) + ", " +
                                      std::to_string(out.cols) + "); (" + std::to_string(rows) + ", " +
                                      std::to_string(cols) + ") is needed");
}

std::string fitted_with(std::int64_t n_features) {
    return "features, but this model was fitted with " + std::to_string(n_features);
}

constexpr RowNames kRows{"X", "y", "sample_weight"};

// A source whose largest weight is at least 1 and below 2. The loss does not depend on the scale of the weights, but
// float32 does: a device multiplies gradients by them, and reads denormals as 0. Powers of two keep every bit.
class ScaledWeights {
public:
    explicit ScaledWeights(const RowSource& source) : source_(source) {
        if (source.weights == nullptr) return;
        const std::span<const float> weights(source.weights, static_cast<std::size_t>(source.rows()));
        const int exponent = std::ilogb(*std::ranges::max_element(weights));
        if (exponent == 0) return;
        scaled_.reserve(weights.size());
        for (const float weight : weights) scaled_.push_back(std::ldexp(weight, -exponent));
        source_.weights = scaled_.data();
    }

    const RowSource& source() const { return source_; }

private:
    RowSource source_;
    std::vector<float> scaled_;
};

// Adam's step counts from where its moments do.
void restart_moments(TrainingState& state) {
    state.tensors.m.clear();
    state.tensors.v.clear();
    state.step = 0;
}

// The moments of adam and adamw are one thing, the velocity of sgd another.
bool same_moments(Optimizer a, Optimizer b) { return (a == Optimizer::sgd) == (b == Optimizer::sgd); }

// A network's parameter that another configuration has otherwise: "loss is "mae", but this model was made with ...".
void check_same(const char* name, const Configuration& before, const Configuration& after, bool same) {
    if (same) return;
    throw Error(ErrorKind::value, std::string(name) + " is " + to_json(after).find(name)->dump() +
                                      ", but this model was made with " + to_json(before).find(name)->dump() +
                                      "; on a model that goes on training it cannot change");
}

}  // namespace

Autoencoder::Autoencoder(Configuration configuration, std::int64_t n_features, std::uint64_t seed, const Device& device,
                         const CompileOptions& options)
    : configuration_(std::move(configuration)),
      n_features_(n_features),
      program_(build_program(configuration_, n_features)),
      memory_(device.memory()) {
    check_memory(resolve_widths(configuration_, n_features));
    model_ = device.compile(program_, with_precision(options, configuration_.precision));
    state_.seed = seed;
    state_.tensors.params = initial_weights(program_, seed);
    model_->write(state_.tensors);
}

Autoencoder::Autoencoder(StoredModel stored, const Device& device, const CompileOptions& options)
    : feature_names(std::move(stored.feature_names)),
      configuration_(std::move(stored.configuration)),
      n_features_(stored.n_features),
      program_(build_program(configuration_, n_features_)),
      memory_(device.memory()),
      state_(std::move(stored.state)) {
    if (!stored.has_training_state) restart_moments(state_);
    check_size(state_.tensors.params, program_.flat_size, false, "params");
    check_size(state_.tensors.m, program_.flat_size, true, "m");
    check_size(state_.tensors.v, program_.flat_size, true, "v");
    check_size(state_.best_params, program_.flat_size, true, "best_params");
    model_ = device.compile(program_, with_precision(options, configuration_.precision));
    model_->write(state_.tensors);
}

std::int64_t Autoencoder::code_size() const { return program_.width(program_.code_op + 1); }

void Autoencoder::configure(Configuration configuration) {
    const Training training(training_);
    const Widths before = resolve_widths(configuration_, n_features_);
    const Widths after = resolve_widths(configuration, n_features_);
    const auto encoder = [](const Widths& widths) { return std::span(widths.layers).first(widths.code + 1); };
    const auto check = [&](const char* name, bool same) { check_same(name, configuration_, configuration, same); };
    check("kind", configuration.kind == configuration_.kind);
    check("encoder_layers", std::ranges::equal(encoder(after), encoder(before)));
    check("decoder_layers", after.layers == before.layers);
    check("activation", configuration.activation == configuration_.activation);
    check("code_activation", configuration.code_activation == configuration_.code_activation);
    check("loss", configuration.loss == configuration_.loss);
    check("output_activation", resolve_output_activation(configuration) == resolve_output_activation(configuration_));
    check("precision", configuration.precision == configuration_.precision);

    if (!same_moments(configuration.optimizer, configuration_.optimizer)) {
        restart_moments(state_);
        model_->write(state_.tensors);
    }
    configuration_ = std::move(configuration);
}

void Autoencoder::check_rows(const RowSource& source, const RowNames& names) const {
    const std::string width_of = fitted_with(n_features_);
    // What lies within [0, 1] is finite: one pass over the data instead of two.
    check_shape_of(source.inputs, n_features_, width_of, names.inputs);
    const bool in_range = program_.loss == Loss::bce && !source.targets && are_bce_targets(source.inputs, memory_);
    if (!in_range) check_finite(source.inputs, names.inputs, names.first_row, memory_);
    if (source.targets) {
        check_matrix(*source.targets, n_features_, width_of, names.targets, names.first_row, memory_);
        if (source.targets->rows != source.rows()) {
            throw Error(ErrorKind::value, std::string(names.targets) + " has " + std::to_string(source.targets->rows) +
                                              " rows, but " + names.inputs + " has " + std::to_string(source.rows()));
        }
    }
    if (program_.loss == Loss::bce && !in_range) {
        check_bce_targets(source.targets.value_or(source.inputs), source.targets ? names.targets : names.inputs,
                          names.first_row, memory_);
    }
    if (source.weights) check_weights(source.weights, source.rows(), names.weights);
}

FitEnd Autoencoder::fit(const RowSource& training, const RowSource* validation, const Hooks& hooks) {
    const Training guard(training_);
    check_rows(training, kRows);
    if (validation) {
        const char* const inputs = validation->targets ? "validation_data[0]" : "validation_data";
        check_rows(*validation, {inputs, "validation_data[1]", "validation_data[2]"});
    }
    const ScaledWeights scaled(training);
    if (validation || configuration_.validation_fraction <= 0.0) {
        return isthmus::fit(*model_, state_, configuration_, scaled.source(), validation, hooks);
    }
    const HeldBack held_back(scaled.source(), state_.seed, configuration_.validation_fraction, memory_);
    return isthmus::fit(*model_, state_, configuration_, scaled.source(), &held_back.validation(), hooks,
                        held_back.training_rows());
}

void Autoencoder::partial_fit(const RowSource& training, const Hooks& hooks) {
    const Training guard(training_);
    check_rows(training, kRows);
    isthmus::partial_fit(*model_, state_, configuration_, ScaledWeights(training).source(), hooks);
}

void Autoencoder::check_inputs(MatrixView x) const {
    if (x.rows >= 1 && x.cols == n_features_) return;  // no sentence is put together for the many calls that are right
    check_shape_of(x, n_features_, fitted_with(n_features_), "X");
}

void Autoencoder::run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out,
                      const char* name) const {
    if (model_->run(first_op, last_op, rows, out)) return;
    check_finite(rows, name, 0, memory_);
    throw Error(ErrorKind::runtime, std::string(name) + " was changed by another thread while it was read");
}

void Autoencoder::encode(MatrixView x, MutableMatrixView code) const {
    check_inputs(x);
    check_shape(code, x.rows, code_size());
    run(0, program_.code_op + 1, x, code, "X");
}

void Autoencoder::decode(MatrixView code, MutableMatrixView x) const {
    check_shape_of(code, code_size(), "columns, but this model's code has " + std::to_string(code_size()), "Z");
    check_shape(x, code.rows, n_features_);
    run(program_.code_op + 1, program_.ops.size(), code, x, "Z");
}

void Autoencoder::reconstruct(MatrixView x, MutableMatrixView y) const {
    check_inputs(x);
    check_shape(y, x.rows, n_features_);
    run(0, program_.ops.size(), x, y, "X");
}

void Autoencoder::reconstruction_error(MatrixView x, std::span<double> errors,
                                       std::optional<MutableMatrixView> per_feature, std::int64_t first_row) const {
    const RowSource source{x, {}, nullptr};
    RowNames names = kRows;
    names.first_row = first_row;
    check_rows(source, names);
    check_shape({nullptr, static_cast<std::int64_t>(errors.size()), 1, 1}, x.rows, 1);
    if (per_feature) check_shape(*per_feature, x.rows, n_features_);
    model_->row_errors(source, errors, per_feature, x.memory);
}

double Autoencoder::evaluate(const RowSource& source) const {
    check_rows(source, kRows);
    return isthmus::evaluate(*model_, ScaledWeights(source).source());
}

std::vector<float> Autoencoder::gradients(const RowSource& source) const {
    check_rows(source, kRows);
    std::vector<float> flat(static_cast<std::size_t>(program_.flat_size));
    const Totals totals = model_->gradient(ScaledWeights(source).source(), flat);
    for (float& value : flat) value = static_cast<float>(value / totals.weight_sum);
    return flat;
}

std::vector<float> Autoencoder::weights() const {
    Tensors tensors;
    model_->read(tensors);
    return std::move(tensors.params);
}

void Autoencoder::set_weights(std::span<const float> flat) {
    const Training training(training_);
    if (static_cast<std::int64_t>(flat.size()) != program_.flat_size) {
        throw Error(ErrorKind::value, "weights has " + std::to_string(flat.size()) + " values; " +
                                          std::to_string(program_.flat_size) + " are needed");
    }
    TrainingState fresh;
    fresh.tensors.params.resize(flat.size());
    const std::vector<std::string> names = parameter_names(program_);
    for (std::size_t i = 0; i < program_.parameters.size(); ++i) {
        const Parameter& parameter = program_.parameters[i];
        const float* values = flat.data() + parameter.offset;
        check_finite({values, parameter.rows, parameter.cols, parameter.cols}, names[i]);
        std::copy_n(values, parameter.size(), fresh.tensors.params.data() + parameter.offset);
    }
    fresh.seed = state_.seed;
    fresh.epoch = state_.epoch;
    fresh.history = state_.history;
    model_->write(fresh.tensors);
    state_ = std::move(fresh);
}

StoredModel Autoencoder::store(bool training_state) const {
    StoredModel stored;
    stored.configuration = configuration_;
    stored.n_features = n_features_;
    stored.feature_names = feature_names;
    stored.has_training_state = training_state;
    model_->read(stored.state.tensors);
    if (training_state) {
        static_cast<Progress&>(stored.state) = state_;
    } else {
        restart_moments(stored.state);
        stored.state.seed = state_.seed;
        stored.state.epoch = state_.epoch;
        stored.state.history = state_.history;
    }
    return stored;
}

}  // namespace isthmus
