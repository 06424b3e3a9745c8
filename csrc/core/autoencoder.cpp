// SPDX-License-Identifier: Apache-2.0
#include "core/autoencoder.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/checks.hpp"
#include "core/configuration.hpp"
#include "core/evaluation.hpp"
#include "core/held_back.hpp"
#include "core/json.hpp"
#include "core/parameters.hpp"
#include "core/program.hpp"
#include "core/resumption.hpp"
#include "core/row_feed.hpp"
#include "core/scaled_weights.hpp"
#include "core/stream_survey.hpp"

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

// Of a detector alone.
std::optional<DetectorRows> choose_rows(const Samples& all, const Configuration& configuration, std::uint64_t seed) {
    if (configuration.kind != ModelKind::anomaly_detector) return std::nullopt;
    return std::optional<DetectorRows>(std::in_place, all, configuration, seed);
}

Samples learned_from(const Samples& all, const std::optional<DetectorRows>& chosen) {
    Samples learned = all;
    if (chosen) learned.weights = chosen->weights().data();
    return learned;
}

// Adam's step counts from where its moments do.
void restart_moments(TrainingState& state) {
    state.tensors.m.clear();
    state.tensors.v.clear();
    state.step = 0;
}

// From here on the tensors are the model's.
void hand_over(TrainingState& state, Model& model) {
    model.write(state.tensors);
    state.tensors = {};
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

// What is done with all rows at hand cannot be done with those of a stream.
void check_streams(const Configuration& configuration, const Samples& training, const Samples* validation) {
    if (training.stream == nullptr) return;
    if (configuration.kind == ModelKind::anomaly_detector) {
        throw Error(ErrorKind::value,
                    "X is a stream of batches, but an anomaly detector wants its rows at hand, to leave out those that "
                    "lie far out: pass an array; np.memmap where it is larger than memory");
    }
    if (validation == nullptr && configuration.validation_fraction > 0.0) {
        throw Error(ErrorKind::value,
                    "validation_fraction holds back rows of an array, and X is a stream of batches: pass "
                    "validation_data, or an array; np.memmap where it is larger than memory");
    }
}

}  // namespace

// What was learned of columns for rows which are then refused is forgotten.
class FreshColumns {
public:
    FreshColumns(Scaling& scaling, std::vector<double>& means)
        : scaling_(scaling), means_(means), fresh_scaling_(scaling.empty()), fresh_means_(means.empty()) {}
    ~FreshColumns() {
        if (fresh_scaling_) scaling_ = {};
        if (fresh_means_) means_.clear();
    }
    FreshColumns(const FreshColumns&) = delete;
    FreshColumns& operator=(const FreshColumns&) = delete;

    // What is wanted and not there already.
    bool scales(const Configuration& configuration) const { return fresh_scaling_ && configuration.scaling; }
    bool wants(const Configuration& configuration) const {
        return scales(configuration) || (fresh_means_ && configuration.missing == Missing::mask);
    }
    // To these rows of what is learned from, all when there are no numbers.
    void fit(const Configuration& configuration, const Samples& learned, std::span<const std::int64_t> row_numbers) {
        if (!wants(configuration)) return;
        ColumnFit columns(learned.inputs.cols, configuration.missing);
        columns.add(learned.inputs, row_numbers, learned.weights, kRowNames.inputs);
        fit(configuration, columns, learned.inputs.csr.has_value());
    }
    void fit(const Configuration& configuration, ColumnFit& columns, bool sparse) {
        const auto kind = scales(configuration) ? configuration.scaling : std::nullopt;
        Columns found = columns.result(kind, sparse, kRowNames.inputs);
        if (kind) scaling_ = std::move(found.scaling);
        if (fresh_means_) means_ = std::move(found.means);
    }
    void keep() { fresh_scaling_ = fresh_means_ = false; }

private:
    Scaling& scaling_;
    std::vector<double>& means_;
    bool fresh_scaling_, fresh_means_;
};

Autoencoder::Autoencoder(Configuration configuration, std::int64_t n_features, std::uint64_t seed, const Device& device,
                         const CompileOptions& options)
    : configuration_(std::move(configuration)),
      n_features_(n_features),
      program_(build_program(configuration_, n_features)),
      n_threads_(options.n_threads) {
    check_memory(resolve_widths(configuration_, n_features), 0);
    model_ = device.compile(program_, with_precision(options, configuration_.precision));
    state_.seed = seed;
    state_.tensors.params = initial_weights(program_, seed);
    hand_over(state_, *model_);
}

Autoencoder::Autoencoder(StoredModel stored, const Device& device, const CompileOptions& options)
    : feature_names(std::move(stored.feature_names)),
      configuration_(std::move(stored.configuration)),
      n_features_(stored.n_features),
      program_(build_program(configuration_, n_features_)),
      state_(std::move(stored.state)),
      scaling_(std::move(stored.scaling)),
      means_(std::move(stored.means)),
      calibration_(std::move(stored.calibration)),
      n_threads_(options.n_threads) {
    if (!stored.has_training_state) restart_moments(state_);
    check_size(state_.tensors.params, program_.flat_size, false, "params");
    check_size(state_.tensors.m, program_.flat_size, true, "m");
    check_size(state_.tensors.v, program_.flat_size, true, "v");
    check_size(state_.best_params, program_.flat_size, true, "best_params");
    model_ = device.compile(program_, with_precision(options, configuration_.precision));
    hand_over(state_, *model_);
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
    check("code_l1", configuration.code_l1 == configuration_.code_l1);
    check("code_topk", configuration.code_topk == configuration_.code_topk);
    check("kl_weight", configuration.kl_weight == configuration_.kl_weight);
    check("tied_weights", configuration.tied_weights == configuration_.tied_weights);
    check("loss", configuration.loss == configuration_.loss);
    check("output_activation", resolve_output_activation(configuration) == resolve_output_activation(configuration_));
    check("scaling", configuration.scaling == configuration_.scaling);
    check("precision", configuration.precision == configuration_.precision);

    if (!same_moments(configuration.optimizer, configuration_.optimizer)) {
        model_->read_parameters(state_.tensors.params);
        restart_moments(state_);
        hand_over(state_, *model_);
    }
    configuration_ = std::move(configuration);
    if (configuration_.missing == Missing::error) means_.clear();
}

// Trains, and calibrates a detector however that ends: the weights are those of the last completed step.
template <class Train>
FitEnd Autoencoder::calibrated(RowFeed& rows, const Samples& all, const std::optional<DetectorRows>& chosen,
                               Train&& train) {
    if (!chosen) return train();
    FitEnd end = FitEnd::stopped;
    try {
        end = train();
    } catch (...) {
        calibrate(rows, all, *chosen);
        throw;
    }
    calibrate(rows, all, *chosen);
    return end;
}

FitEnd Autoencoder::fit(const Samples& training, const Samples* validation, const Hooks& hooks,
                        const Checkpointing& checkpointing, std::int64_t max_memory) {
    const Training guard(training_);
    return train(training, validation, hooks, checkpointing, max_memory, nullptr);
}

FitEnd Autoencoder::resume(Configuration configuration, const Samples& training, const Samples* validation, Hooks hooks,
                           const Checkpointing& checkpointing, std::int64_t max_memory) {
    const Training guard(training_);
    hooks.resumes = true;
    return train(training, validation, std::move(hooks), checkpointing, max_memory, &configuration);
}

// Reads a stream for the first time, and fits to it what the model has not learned of its columns yet; `columns` null:
// a stream to validate on.
void Autoencoder::survey(Samples& samples, const char* name, FreshColumns* columns, bool prints, Stop* stop) {
    const Passage as_it_is = passage();
    SurveyFor what{&as_it_is, nullptr, prints, stop};
    std::optional<ColumnFit> fit;
    if (columns != nullptr && columns->wants(configuration_)) {
        what.columns = &fit.emplace(n_features_, configuration_.missing);
        // How they are scaled is not known yet. What may be wrong then, a value beyond float32 in a row without weight,
        // is found when it comes to be trained on; bce clips what is scaled.
        if (columns->scales(configuration_)) what.passage = nullptr;
    }
    isthmus::survey(*samples.stream, n_features_, name, what);
    samples.inputs.rows = samples.stream->facts.rows;
    if (fit) columns->fit(configuration_, *fit, samples.stream->facts.sparse);
}

// Trains, from the beginning of a fit or, with the configuration that it is resumed with, where one was interrupted.
FitEnd Autoencoder::train(Samples training, const Samples* to_validate_on, Hooks hooks,
                          const Checkpointing& checkpointing, std::int64_t max_memory, Configuration* resumed_with) {
    std::optional<Samples> own_validation;
    if (to_validate_on) own_validation = *to_validate_on;
    Samples* const validation = own_validation ? &*own_validation : nullptr;
    const RowNames validation_names{validation && validation->targets ? "validation_data[0]" : "validation_data",
                                    "validation_data[1]", "validation_data[2]"};
    const bool keeps = !checkpointing.folder.empty();
    FreshColumns fresh(scaling_, means_);
    check_streams(configuration_, training, validation);
    const bool prints = keeps || (resumed_with != nullptr && !state_.data.empty());
    const auto survey_validation = [&] {
        if (validation && validation->stream) survey(*validation, validation_names.inputs, nullptr, prints, hooks.stop);
    };
    if (training.stream) {
        budget(training, validation, keeps, max_memory);  // what is too much is refused before anything is read
        survey(training, kRowNames.inputs, &fresh, prints, hooks.stop);
    }
    if (resumed_with != nullptr) {
        survey_validation();  // scaling and means are those of the fit that was interrupted
        check_resumable(configuration_, state_, *resumed_with, training, validation, hooks.stop);
        configuration_ = std::move(*resumed_with);
    }
    if (!training.stream) check_samples(training, kRowNames);
    if (validation && !validation->stream) check_samples(*validation, validation_names);
    MemoryBudget memory = budget(training, validation, keeps, max_memory);
    const std::optional<DetectorRows> chosen = choose_rows(training, configuration_, state_.seed);
    const ScaledWeights weighted(learned_from(training, chosen));
    std::optional<Split> split;
    if (!validation && configuration_.validation_fraction > 0.0) {
        split = hold_back(weighted.samples(), state_.seed, configuration_.validation_fraction);
    }

    const auto learned = split ? std::span<const std::int64_t>(split->training) : std::span<const std::int64_t>();
    if (!training.stream) fresh.fit(configuration_, weighted.samples(), learned);
    if (resumed_with == nullptr) survey_validation();
    RowFeed rows(weighted.samples(), passage(), kRowNames, RowFeed::Copy::by_size, memory.room());
    memory.take(training.stream ? least_bytes(training, passage()) : rows.copied_bytes());
    std::optional<RowFeed> held_out;
    std::optional<HeldBack> held_back;
    if (validation) {
        const double room = memory.room() + least_bytes_to_validate(*validation, passage());
        held_out.emplace(*validation, passage(), validation_names, RowFeed::Copy::by_size, room);
    }
    if (split) held_out.emplace(held_back.emplace(rows, std::move(*split)).validation());
    std::optional<CheckpointWriter> writer;
    DataPrint print = hooks.resumes ? state_.data : DataPrint{};
    if (keeps) {
        if (print.empty()) print = print_of(training, validation, hooks.stop);
        writer.emplace(checkpointing, hooks.resumes);
        hooks.on_moment = [&](Moment moment) { writer->at(moment, state_, [&] { return store(true); }); };
    }
    fresh.keep();
    state_.data = std::move(print);

    const auto numbers = held_back ? held_back->training_rows() : std::span<const std::int64_t>();
    const FitEnd end = calibrated(rows, training, chosen, [&] {
        return isthmus::fit(*model_, state_, configuration_, rows, held_out ? &*held_out : nullptr, hooks, numbers);
    });
    if (state_.fit_last_epoch == 0) state_.data = {};
    return end;
}

double Autoencoder::least_bytes(const Samples& training, const Passage& passage) const {
    if (training.stream) return stream_bytes_of_steps(training, passage, configuration_.batch_size);
    return least_copy_bytes(training, passage);
}

double Autoencoder::least_bytes_to_validate(const Samples& validation, const Passage& passage) const {
    if (validation.stream) return stream_bytes_of_blocks(validation, passage, kEvaluatedRows);
    return least_copy_bytes(validation, passage);
}

// What is left of max_memory for copies of the training rows. Throws Error(memory) when that is too little.
MemoryBudget Autoencoder::budget(const Samples& training, const Samples* validation, bool checkpoints,
                                 std::int64_t max_memory) const {
    const bool holds_back = validation == nullptr && configuration_.validation_fraction > 0.0;
    const FitSize size{
        training.rows(), training.stream != nullptr, training.weights != nullptr, holds_back, checkpoints, n_threads_};
    MemoryBudget budget(memory_need(resolve_widths(configuration_, n_features_), configuration_, size), max_memory);
    const Scaling unknown;
    Passage expected = passage();
    if (configuration_.scaling) expected.scaling = &unknown;
    const double of_validation = validation ? least_bytes_to_validate(*validation, expected) : 0.0;
    budget.check(least_bytes(training, expected) + of_validation);
    budget.take(of_validation);
    return budget;
}

void Autoencoder::partial_fit(const Samples& training, const Hooks& hooks, std::int64_t max_memory) {
    const Training guard(training_);
    check_samples(training, kRowNames);
    const MemoryBudget memory = budget(training, nullptr, false, max_memory);
    const std::optional<DetectorRows> chosen = choose_rows(training, configuration_, state_.seed);
    const ScaledWeights weighted(learned_from(training, chosen));
    FreshColumns fresh(scaling_, means_);
    fresh.fit(configuration_, weighted.samples(), {});
    RowFeed rows(weighted.samples(), passage(), kRowNames, RowFeed::Copy::by_size, memory.room());
    fresh.keep();
    state_.data = {};
    calibrated(rows, training, chosen, [&] {
        isthmus::partial_fit(*model_, state_, configuration_, rows, hooks);
        return FitEnd::epochs_done;
    });
}

std::vector<float> Autoencoder::weights() const {
    std::vector<float> params;
    model_->read_parameters(params);
    return params;
}

void Autoencoder::set_weights(std::span<const float> flat) {
    const Training training(training_);
    if (static_cast<std::int64_t>(flat.size()) != program_.flat_size) {
        throw Error(ErrorKind::value, "weights has " + std::to_string(flat.size()) + " values; " +
                                          std::to_string(program_.flat_size) + " are needed");
    }
    TrainingState fresh;
    fresh.tensors.params.resize(flat.size());
    const std::vector<std::string> names = parameter_names(resolve_widths(configuration_, n_features_));
    for (std::size_t i = 0; i < program_.parameters.size(); ++i) {
        const Parameter& parameter = program_.parameters[i];
        const float* values = flat.data() + parameter.offset;
        check_finite({values, parameter.rows, parameter.cols, parameter.cols}, names[i]);
        std::copy_n(values, parameter.size(), fresh.tensors.params.data() + parameter.offset);
    }
    fresh.seed = state_.seed;
    fresh.epoch = state_.epoch;
    fresh.history = state_.history;
    hand_over(fresh, *model_);
    state_ = std::move(fresh);
    calibration_ = {};  // it was that of other weights
}

void Autoencoder::set_scaling(Scaling scaling) {
    const Training training(training_);
    if (!configuration_.scaling) throw Error(ErrorKind::runtime, "a model with scaling=None takes no scaling");
    const auto check = [&](const std::vector<double>& values, const char* name, bool divides) {
        if (static_cast<std::int64_t>(values.size()) != n_features_) {
            throw Error(ErrorKind::value, std::string(name) + " has " + std::to_string(values.size()) + " values; " +
                                              std::to_string(n_features_) + " are needed");
        }
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (std::isfinite(values[i]) && (!divides || values[i] > 0.0)) continue;
            throw Error(ErrorKind::value, std::string(name) + "[" + std::to_string(i) + "] is " +
                                              Json(values[i]).dump() + "; it must be finite" +
                                              (divides ? " and above 0" : ""));
        }
    };
    check(scaling.shift, "shift", false);
    check(scaling.scale, "scale", true);
    scaling_ = std::move(scaling);
    calibration_ = {};  // it was that of another scaling
}

StoredModel Autoencoder::store(bool training_state) const {
    StoredModel stored;
    stored.configuration = configuration_;
    stored.n_features = n_features_;
    stored.feature_names = feature_names;
    stored.scaling = scaling_;
    stored.means = means_;
    if (!training_) stored.calibration = calibration_;  // else it is that of the weights before
    stored.has_training_state = training_state;
    if (training_state) {
        model_->read(stored.state.tensors);
        static_cast<Progress&>(stored.state) = state_;
        stored.state.data = state_.data;
    } else {
        model_->read_parameters(stored.state.tensors.params);
        stored.state.seed = state_.seed;
        stored.state.epoch = state_.epoch;
        stored.state.history = state_.history;
    }
    return stored;
}

}  // namespace isthmus
