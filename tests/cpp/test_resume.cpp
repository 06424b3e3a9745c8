// SPDX-License-Identifier: Apache-2.0
// A fit that is left anywhere and resumed, on every device, is the one that was not: all that it gives is compared by
// bits, from every step, with the state going through a model file in between, and on the CPU by 1, 2 or 3 threads.
#include <cstdint>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/model_file.hpp"
#include "core/schedule.hpp"
#include "math/names.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

// Steps an epoch: 60 rows in batches of 8.
constexpr std::int64_t kSteps = 8;
constexpr std::int64_t kEpochs = 4;

struct Case {
    std::string name;
    Configuration configuration;
};

Configuration four_epochs() {
    Configuration configuration = small_configuration();
    configuration.epochs = kEpochs;
    return configuration;
}

// Each schedule, each optimizer, and what else keeps a state.
std::vector<Case> cases() {
    std::vector<Case> all;
    const auto add = [&](std::string name, auto&& change) {
        all.push_back({std::move(name), four_epochs()});
        change(all.back().configuration);
    };
    for (std::size_t i = 0; i < math::names<Schedule>().size(); ++i) {
        add(std::string(math::names<Schedule>()[i]),
            [&](Configuration& c) { c.learning_rate_schedule = static_cast<Schedule>(i); });
    }
    add("sgd", [](Configuration& c) {
        c.optimizer = Optimizer::sgd;
        c.momentum = 0.9;
        c.learning_rate_schedule = Schedule::linear;
    });
    add("adamw, clipped", [](Configuration& c) {
        c.optimizer = Optimizer::adamw;
        c.clip_norm = 0.1;
        c.learning_rate_schedule = Schedule::cosine;
    });
    add("noise", [](Configuration& c) { c.input_noise = 0.2; });
    add("sparse code", [](Configuration& c) {
        c.code_l1 = 0.1;
        c.code_topk = 2;
        c.learning_rate_schedule = Schedule::exponential;
    });
    add("tied", [](Configuration& c) { c.tied_weights = true; });
    add("variational", [](Configuration& c) {
        c.kind = ModelKind::variational_autoencoder;
        c.learning_rate_schedule = Schedule::linear;
    });
    add("patience", [](Configuration& c) {
        c.patience = 2;
        c.min_delta = 1e6;  // the third epoch is the last one
        c.learning_rate_schedule = Schedule::cosine;
    });
    add("patience, the last weights", [](Configuration& c) {
        c.patience = 2;
        c.min_delta = 1e6;
        c.restore_best = false;
    });
    return all;
}

// What a process that begins anew has of another's state: what the model file holds.
void through_a_file(const Trained& from, Trained& to) {
    StoredModel stored;
    stored.configuration = from.configuration;
    stored.n_features = kWidth;
    stored.state = from.state;
    stored.has_training_state = true;
    to.state = from_bytes(to_bytes(stored), "here").state;
    to.model->write(to.state.tensors);
}

FitEnd resume(Trained& trained, const RowSource& rows, const RowSource* validation = nullptr) {
    Hooks hooks;
    hooks.resumes = true;
    return trained.fit(rows, validation, hooks);
}

std::string error_of_resume(Trained& trained, const RowSource& rows) {
    try {
        resume(trained, rows);
        return "resumed";
    } catch (const Error& error) {
        return error.what();
    }
}

}  // namespace

TEST(resumed_from_every_step_is_uninterrupted) {
    const Rows rows = make_rows(60, kWidth);
    const Rows held_out = make_rows(9, kWidth, 2);
    const RowSource validation = held_out.source();
    for (const Device* device : devices()) {
        for (const Case& each : cases()) {
            for (const RowSource* const validated : {static_cast<const RowSource*>(nullptr), &validation}) {
                Trained whole(*device, each.configuration, kWidth);
                const FitEnd end = whole.fit(rows.source(), validated);
                CHECK((end == FitEnd::early) == each.configuration.patience.has_value());
                std::int64_t stops = 0;
                for (std::int64_t call = 1; stops == call - 1; ++call) {
                    Trained parts(*device, each.configuration, kWidth, 11, static_cast<int>(1 + call % 3));
                    StopAtCall stop(call);
                    Hooks hooks;
                    hooks.stop = &stop;
                    if (parts.fit(rows.source(), validated, hooks) != FitEnd::stopped) break;
                    ++stops;
                    Trained anew(*device, each.configuration, kWidth, 99, static_cast<int>(1 + call / 3 % 3));
                    through_a_file(parts, anew);
                    CHECK(resume(anew, rows.source(), validated) == end);
                    const bool same =
                        same_tensors(anew.state.tensors, whole.state.tensors) && same_progress(anew.state, whole.state);
                    check::report(same, __FILE__, __LINE__, (each.name + ", call " + std::to_string(call)).c_str());
                }
                CHECK(stops >= whole.state.epoch * kSteps);  // at least between all steps
            }
        }
    }
}

TEST(resumed_twice_is_uninterrupted) {
    const Rows rows = make_rows(60, kWidth);
    for (const Device* device : devices()) {
        Configuration configuration = four_epochs();
        configuration.learning_rate_schedule = Schedule::cosine;
        Trained whole(*device, configuration, kWidth);
        whole.fit(rows.source());
        Trained parts(*device, configuration, kWidth);
        Hooks hooks;
        int fits = 0;
        for (FitEnd end = FitEnd::stopped; end == FitEnd::stopped; ++fits) {
            StopAtCall stop(9);
            hooks.stop = &stop;
            end = parts.fit(rows.source(), nullptr, hooks);
            hooks.resumes = true;
        }
        CHECK(fits > 3);
        CHECK(same_tensors(parts.state.tensors, whole.state.tensors) && same_progress(parts.state, whole.state));
    }
}

TEST(without_resuming_the_schedule_begins_anew) {  // the control of the tests above
    const Rows rows = make_rows(60, kWidth);
    Configuration configuration = four_epochs();
    configuration.learning_rate_schedule = Schedule::cosine;
    for (const Device* device : devices()) {
        Trained whole(*device, configuration, kWidth);
        whole.fit(rows.source());
        Trained parts(*device, configuration, kWidth);
        parts.configuration.epochs = 2;
        parts.fit(rows.source());
        parts.fit(rows.source());
        CHECK(parts.state.epoch == 4 && !same_tensors(parts.state.tensors, whole.state.tensors));
    }
}

TEST(a_resumed_fit_may_get_more_epochs) {
    const Rows rows = make_rows(60, kWidth);
    for (const Device* device : devices()) {
        Trained whole(*device, four_epochs(), kWidth);
        whole.fit(rows.source());
        Trained parts(*device, four_epochs(), kWidth);
        parts.configuration.epochs = 2;
        Hooks hooks;
        StopAtCall stop(11);
        hooks.stop = &stop;
        CHECK(parts.fit(rows.source(), nullptr, hooks) == FitEnd::stopped && parts.state.fit_last_epoch == 2);
        parts.configuration.epochs = 4;
        CHECK(resume(parts, rows.source()) == FitEnd::epochs_done);
        CHECK(same_tensors(parts.state.tensors, whole.state.tensors) && same_progress(parts.state, whole.state));
    }
}

TEST(what_cannot_be_resumed_is_refused) {
    const Rows rows = make_rows(60, kWidth);
    for (const Device* device : devices()) {
        Trained trained(*device, four_epochs(), kWidth);
        CHECK(error_of_resume(trained, rows.source()) == "there is no fit to resume: none was interrupted");
        trained.fit(rows.source());
        CHECK(error_of_resume(trained, rows.source()) == "there is no fit to resume: none was interrupted");
        Hooks hooks;
        PlantNan counter(-1);
        StopAtStep stop(counter, kSteps + 3);
        hooks.reducer = &counter;
        hooks.stop = &stop;
        CHECK(trained.fit(rows.source(), nullptr, hooks) == FitEnd::stopped);
        const TrainingState before = trained.state;
        CHECK(before.epoch == 5 && before.step_in_epoch > 2);
        trained.configuration.epochs = 0;
        CHECK(error_of_resume(trained, rows.source()).starts_with("the fit to resume has done 5 epochs and"));
        trained.configuration.epochs = 4;
        CHECK(error_of_resume(trained, make_rows(9, kWidth).source()).starts_with("the fit to resume has done 5"));
        CHECK(same_tensors(trained.state.tensors, before.tensors) && same_progress(trained.state, before));
        trained.partial_fit(rows.source());
        CHECK(error_of_resume(trained, rows.source()) == "there is no fit to resume: none was interrupted");
    }
}

TEST(a_fit_that_is_out_of_time_is_one_to_go_on_from) {
    const Rows rows = make_rows(60, kWidth);
    for (const Device* device : devices()) {
        Trained whole(*device, four_epochs(), kWidth);
        whole.fit(rows.source());
        Hooks hooks;
        hooks.max_seconds = 0.0;
        Trained none(*device, four_epochs(), kWidth);
        CHECK(none.fit(rows.source(), nullptr, hooks) == FitEnd::out_of_time && none.state.step == 0);
        CHECK(resume(none, rows.source()) == FitEnd::epochs_done);
        CHECK(same_tensors(none.state.tensors, whole.state.tensors) && same_progress(none.state, whole.state));
        hooks.max_seconds = 1e9;
        Trained all(*device, four_epochs(), kWidth);
        CHECK(all.fit(rows.source(), nullptr, hooks) == FitEnd::epochs_done);
        CHECK(same_tensors(all.state.tensors, whole.state.tensors));
    }
}

TEST(a_fit_that_is_out_of_time_ends_with_its_best_weights) {
    const Rows rows = make_rows(60, kWidth);
    for (const Device* device : devices()) {
        Configuration configuration = four_epochs();
        configuration.patience = 3;
        configuration.min_delta = 1e6;  // the first epoch is the best
        Trained first(*device, configuration, kWidth);
        first.fit_epochs(1, rows.source());
        Trained trained(*device, configuration, kWidth);
        Hooks hooks;
        hooks.max_seconds = 1e9;
        PlantNan counter(-1);
        StopAtStep stop(counter, 2 * kSteps + 3);
        hooks.reducer = &counter;
        hooks.stop = &stop;
        CHECK(trained.fit(rows.source(), nullptr, hooks) == FitEnd::stopped && trained.state.epoch == 2);
        hooks = {};
        hooks.resumes = true;
        hooks.max_seconds = 0.0;
        CHECK(trained.fit(rows.source(), nullptr, hooks) == FitEnd::out_of_time);
        CHECK(same_bits(trained.state.tensors.params, first.state.tensors.params));
        CHECK(trained.state.fit_last_epoch == 0 && trained.state.step_in_epoch == 0 && trained.state.epoch == 2);
    }
}

TEST(moments_are_told_in_order) {
    const Rows rows = make_rows(60, kWidth);
    for (const Device* device : devices()) {
        Trained trained(*device, four_epochs(), kWidth);
        std::string told;
        Hooks hooks;
        hooks.on_moment = [&](Moment moment) {
            told += moment == Moment::begin ? 'b' : moment == Moment::epoch ? 'e' : '.';
        };
        hooks.on_epoch_end = [&](const EpochInfo&) {
            told += 'c';
            return false;
        };
        trained.fit(rows.source(), nullptr, hooks);
        CHECK(told == "becececec.");
        told.clear();
        StopAtCall stop(12, true);
        hooks.stop = &stop;
        bool passed = false;
        try {
            trained.fit(rows.source(), nullptr, hooks);
        } catch (const Interrupted&) {
            passed = true;
        }
        CHECK(passed && told == "bec.");
        told.clear();
        hooks.stop = nullptr;
        hooks.resumes = true;
        trained.fit(rows.source(), nullptr, hooks);
        CHECK(told == "ececec.");
        // A divergence is nothing to go on from; what throws at the end does not hide what ended the fit.
        told.clear();
        PlantNan nan(kSteps + 2);
        Hooks diverging = hooks;
        diverging.resumes = false;
        diverging.reducer = &nan;
        passed = false;
        try {
            trained.fit(rows.source(), nullptr, diverging);
        } catch (const Error& error) {
            passed = error.kind() == ErrorKind::divergence;
        }
        CHECK(passed && told == "bec");
        hooks.resumes = false;
        hooks.on_moment = [](Moment moment) {
            if (moment == Moment::end) throw Interrupted();
        };
        CHECK(trained.fit(rows.source(), nullptr, hooks) == FitEnd::epochs_done);
    }
}
