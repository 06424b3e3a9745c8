// SPDX-License-Identifier: Apache-2.0
// Training, and the caller's functions inside it.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "c/handles.hpp"
#include "core/checkpoints.hpp"
#include "core/trainer.hpp"

namespace isthmus::c {
namespace {

static_assert(static_cast<int>(FitEnd::epochs_done) == ISTHMUS_EPOCHS_DONE &&
              static_cast<int>(FitEnd::early) == ISTHMUS_EARLY &&
              static_cast<int>(FitEnd::stopped) == ISTHMUS_STOPPED &&
              static_cast<int>(FitEnd::out_of_time) == ISTHMUS_OUT_OF_TIME);

class CallersStop final : public Stop {
public:
    explicit CallersStop(const isthmus_fit_options& options) : options_(options) {}
    bool requested() override { return options_.should_stop != nullptr && options_.should_stop(options_.user) != 0; }

private:
    const isthmus_fit_options& options_;
};

isthmus_epoch to_c(const EpochInfo& info) {
    return {.struct_size = sizeof(isthmus_epoch),
            .epoch = info.epoch,
            .n_epochs = info.n_epochs,
            .loss = info.loss,
            .val_loss = info.val_loss.value_or(std::numeric_limits<double>::quiet_NaN()),
            .learning_rate = info.learning_rate,
            .seconds = info.seconds};
}

FitEnd fit(SharedModel& model, const isthmus_rows* x, const isthmus_fit_options& options) {
    const Table inputs = table(x, "X");
    const Samples training{inputs, std::nullopt,
                           weights(options.sample_weight, options.sample_weight_count, inputs.rows)};
    std::optional<Samples> validation;
    if (options.validation != nullptr) {
        std::optional<Table> targets;
        if (options.validation_targets != nullptr) targets = table(options.validation_targets, "validation_targets");
        validation = Samples{table(options.validation, "validation"), targets, nullptr};
    } else if (options.validation_targets != nullptr) {
        throw Error(ErrorKind::value, "validation_targets needs validation");
    }
    CallersStop stop(options);
    Hooks hooks;
    hooks.stop = &stop;
    if (options.on_epoch_end != nullptr) {
        hooks.on_epoch_end = [&](const EpochInfo& info) {
            const isthmus_epoch epoch = to_c(info);
            return model.pause([&] { return options.on_epoch_end(options.user, &epoch) != 0; });
        };
    }
    // A NaN is no time either.
    if (options.max_seconds != 0.0 && !(options.max_seconds > 0.0)) {
        throw Error(ErrorKind::value, "max_seconds must be above 0, or 0 for none");
    }
    if (options.max_seconds != 0.0) hooks.max_seconds = options.max_seconds;
    if (options.max_memory < 0) throw Error(ErrorKind::value, "max_memory must be above 0, or 0 for none");
    if (options.checkpoint_every < 0) throw Error(ErrorKind::value, "checkpoint_every must be at least 1, or 0 for 1");
    Checkpointing checkpoints;
    if (options.checkpoint != nullptr) checkpoints.folder = options.checkpoint;
    checkpoints.every = std::max<std::int64_t>(1, options.checkpoint_every);
    return model.write([&](Autoencoder& core) {
        const Samples* const held_out = validation ? &*validation : nullptr;
        if (options.resume == 0) return core.fit(training, held_out, hooks, checkpoints, options.max_memory);
        return core.resume(core.configuration(), training, held_out, hooks, checkpoints, options.max_memory);
    });
}

}  // namespace
}  // namespace isthmus::c

using namespace isthmus::c;  // NOLINT: the functions below are of no namespace

isthmus_status isthmus_fit(isthmus_model* model, const isthmus_rows* x, const isthmus_fit_options* options,
                           int32_t* end) {
    return guarded([&] {
        const auto known = known_part(options, sizeof(isthmus_fit_options), "options");
        const isthmus::FitEnd how = fit(*required(model, "model").shared, x, known);
        if (end != nullptr) *end = static_cast<int32_t>(how);
    });
}

isthmus_status isthmus_partial_fit(isthmus_model* model, const isthmus_rows* x, const float* sample_weight,
                                   size_t sample_weight_count) {
    return writing(model, [&](isthmus::Autoencoder& core) {
        const isthmus::Table inputs = table(x, "X");
        core.partial_fit({inputs, std::nullopt, weights(sample_weight, sample_weight_count, inputs.rows)}, {});
    });
}
