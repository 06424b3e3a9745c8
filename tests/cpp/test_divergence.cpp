// SPDX-License-Identifier: Apache-2.0
// Divergence and faults in the middle of training, on every device: the model goes back to whole, finite steps.
#include <string>

#include "check.hpp"
#include "core/guarded_steps.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

Configuration noisy() {
    Configuration configuration = small_configuration();
    configuration.encoder_layers = {3};
    configuration.input_noise = 0.1;
    configuration.learning_rate_schedule = Schedule::linear;
    configuration.epochs = 80;
    return configuration;
}

// The state after exactly `steps` steps.
void train_steps(Trained& trained, const RowSource& source, std::int64_t steps) {
    PlantNan counter(-1);
    StopAtStep stop(counter, steps);
    Hooks hooks;
    hooks.reducer = &counter;
    hooks.stop = &stop;
    trained.fit(source, nullptr, hooks);
}

// Runs a fit that must throw Error(divergence) and returns its message.
std::string divergence(Trained& trained, const RowSource& source, const Hooks& hooks) {
    try {
        trained.fit(source, nullptr, hooks);
    } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::divergence);
        return error.what();
    }
    CHECK(!"diverged");
    return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(divergence_keeps_the_state_after_the_last_finite_step) {
    const Rows rows = make_rows(50, 4);  // 7 steps an epoch
    const RowSource source = rows.source();
    // Around the edges of an epoch and of what is kept: the first range that begins 256 steps after the last one does.
    for (const std::int64_t step :
         {0, 1, 6, 7, 8, 50, 255, 256, 257, 258, 259, 260, 265, 266, 267, 300, 518, 519, 540}) {
        for (const Device* device : devices()) {
            Trained trained(*device, noisy(), 4);
            PlantNan plant(step);
            Hooks hooks;
            hooks.reducer = &plant;
            const std::string message = divergence(trained, source, hooks);
            CHECK(contains(message, "epoch " + std::to_string(step / 7 + 1) + ", step " + std::to_string(step % 7 + 1) +
                                        " of 7, learning rate 0.0"));
            CHECK(contains(message, "after " + std::to_string(step) + " steps"));
            CHECK(plant.steps() <= step + 1 + kKeepInterval + 2 * 7);  // the steps repeated

            Trained expected(*device, noisy(), 4);
            if (step > 0) train_steps(expected, source, step);
            CHECK(trained.state.step == step);
            CHECK(same_tensors(trained.state.tensors, expected.state.tensors));
            CHECK(trained.state.epoch * 7 + trained.state.step_in_epoch == step);
            CHECK(trained.state.history.loss.size() == static_cast<std::size_t>(trained.state.epoch));
            // At the end of an epoch the other stops before the epoch's end is written, and this one after.
            if (step % 7 != 0) CHECK(same_progress(trained.state, expected.state));

            CHECK(trained.fit_epochs(1, source) == FitEnd::epochs_done);  // the next call works
        }
    }
}

TEST(a_huge_learning_rate_keeps_finite_weights) {
    const Rows rows = make_rows(50, 4);
    for (const Device* device : devices()) {
        for (const Optimizer optimizer : {Optimizer::sgd, Optimizer::adam}) {
            Configuration configuration = noisy();
            configuration.optimizer = optimizer;
            configuration.activation = Activation::linear;
            configuration.learning_rate = optimizer == Optimizer::sgd ? 1e6 : 1e37;
            configuration.learning_rate_schedule = Schedule::constant;
            Trained trained(*device, configuration, 4);
            const std::string message = divergence(trained, rows.source(), {});
            CHECK(contains(message, "learning rate 1"));
            CHECK(contains(message, "Lower learning_rate, or set clip_norm, or scale X"));
            Trained expected(*device, configuration, 4);
            if (trained.state.step > 0) train_steps(expected, rows.source(), trained.state.step);
            CHECK(trained.state.step < 50);
            CHECK(same_tensors(trained.state.tensors, expected.state.tensors));
            for (const float value : trained.state.tensors.params) CHECK(std::isfinite(value));
        }
    }
}

TEST(an_infinite_first_loss_changes_nothing) {
    Rows rows = make_rows(50, 4);
    for (float& value : rows.values) value *= 1e30F;
    for (const Device* device : devices()) {
        Configuration configuration = noisy();
        configuration.activation = Activation::linear;
        configuration.shuffle = false;
        Trained trained(*device, configuration, 4);
        const Tensors before = trained.state.tensors;
        RowSource source = rows.source();
        const std::vector<float> weights(50, 3e38F);  // the gradient overflows a float on any device
        source.weights = weights.data();
        CHECK_THROWS(trained.fit(source), ErrorKind::divergence);
        CHECK(trained.state.step == 0 && same_tensors(trained.state.tensors, before));
    }
}

TEST(partial_fit_diverges_as_cleanly) {
    const Rows rows = make_rows(50, 4);
    for (const Device* device : devices()) {
        Trained trained(*device, noisy(), 4);
        trained.partial_fit(rows.source());
        PlantNan plant(4);
        Hooks hooks;
        hooks.reducer = &plant;
        CHECK_THROWS(trained.partial_fit(rows.source(), hooks), ErrorKind::divergence);
        CHECK(trained.state.step == 11 && trained.state.epoch == 1 && trained.state.step_in_epoch == 0);
        Trained expected(*device, noisy(), 4);
        expected.partial_fit(rows.source());
        PlantNan counter(-1);
        StopAtStep stop(counter, 4);
        hooks.reducer = &counter;
        hooks.stop = &stop;
        expected.partial_fit(rows.source(), hooks);
        CHECK(same_tensors(trained.state.tensors, expected.state.tensors));
        CHECK(same_progress(trained.state, expected.state));
    }
}

TEST(a_validation_loss_that_overflows_is_divergence) {
    const Rows rows = make_rows(50, 4);
    Rows far = make_rows(10, 4);
    for (float& value : far.values) value *= 1e38F;
    const RowSource validation = far.source();
    Configuration configuration = noisy();
    configuration.activation = Activation::linear;
    Trained trained(cpu::device(), configuration, 4);  // the reference's errors are doubles and do not overflow
    RowFeed held_out(validation);
    CHECK(!std::isfinite(evaluate(*trained.model, held_out)));
    CHECK_THROWS(trained.fit(rows.source(), &validation), ErrorKind::divergence);
    CHECK(trained.state.step == 7 && trained.state.history.loss.empty());
}

TEST(a_stop_while_steps_are_repeated_leaves_what_was_kept) {
    const Rows rows = make_rows(50, 4);
    for (const Device* device : devices()) {
        for (const bool throws : {false, true}) {
            // Ranges begin at multiples of 7 steps: kept at 0 and 259, diverged at 300.
            Trained trained(*device, noisy(), 4);
            PlantNan plant(300);
            struct AfterFault final : Stop {
                const PlantNan& plant;
                bool throws;
                AfterFault(const PlantNan& p, bool t) : plant(p), throws(t) {}
                bool requested() override {
                    if (plant.steps() < 310) return false;
                    if (throws) throw Interrupted();
                    return true;
                }
            } stop(plant, throws);
            Hooks hooks;
            hooks.reducer = &plant;
            hooks.stop = &stop;
            bool interrupted = false;
            bool diverged = false;
            try {
                trained.fit(rows.source(), nullptr, hooks);
            } catch (const Interrupted&) {
                interrupted = true;
            } catch (const Error& error) {
                diverged = contains(error.what(), "after 259 steps");
            }
            CHECK(interrupted == throws && diverged == !throws);
            Trained expected(*device, noisy(), 4);
            train_steps(expected, rows.source(), 259);
            CHECK(trained.state.step == 259 && trained.state.epoch == 37);
            CHECK(same_tensors(trained.state.tensors, expected.state.tensors));
        }
    }
}

TEST(a_reducer_that_throws_leaves_what_was_kept) {
    struct Failing final : PlantNan {
        explicit Failing(std::int64_t step) : PlantNan(-1), step_(step) {}
        void reduce(std::span<float> gradient, double& loss_sum, double& weight_sum, double& penalty_sum) override {
            PlantNan::reduce(gradient, loss_sum, weight_sum, penalty_sum);
            if (steps() > step_) throw Interrupted();
        }
        std::int64_t step_;
    };
    const Rows rows = make_rows(50, 4);
    for (const Device* device : devices()) {
        for (const std::int64_t step : {0, 3, 100, 258, 259, 300}) {
            Trained trained(*device, noisy(), 4);
            Failing failing(step);
            Hooks hooks;
            hooks.reducer = &failing;
            bool passed = false;
            try {
                trained.fit(rows.source(), nullptr, hooks);
            } catch (const Interrupted&) {
                passed = true;
            }
            const std::int64_t kept = step < 259 ? 0 : 259;
            Trained expected(*device, noisy(), 4);
            if (kept > 0) train_steps(expected, rows.source(), kept);
            CHECK(passed && trained.state.step == kept);
            CHECK(same_tensors(trained.state.tensors, expected.state.tensors));
            CHECK(trained.state.epoch == kept / 7 && trained.state.step_in_epoch == 0);
        }
    }
}

TEST(a_range_that_was_stopped_is_repeated_as_far_as_it_went) {
    const Rows rows = make_rows(50, 4);
    RowFeed source(rows.source());
    for (const Device* device : devices()) {
        Trained trained(*device, noisy(), 4);
        PlantNan plant(5);
        GuardedSteps steps(*trained.model, trained.state,
                           {source, RowOrder({}, 50, 11, true), 8, UpdateRule{}, Noise{}, &plant});
        StopAtStep stop(plant, 3);
        StopAtCall never(INT64_MAX);
        CHECK(steps.run(std::vector<double>(7, 0.01), stop) == Status::stopped && trained.state.step == 3);
        CHECK_THROWS(steps.run(std::vector<double>(4, 0.01), never), ErrorKind::divergence);
        Trained expected(*device, noisy(), 4);
        PlantNan counter(-1);
        GuardedSteps again(*expected.model, expected.state,
                           {source, RowOrder({}, 50, 11, true), 8, UpdateRule{}, Noise{}, &counter});
        again.run(std::vector<double>(5, 0.01), never);
        trained.model->read(trained.state.tensors);
        expected.model->read(expected.state.tensors);
        CHECK(trained.state.step == 5 && same_tensors(trained.state.tensors, expected.state.tensors));
        CHECK(same_progress(trained.state, expected.state));
    }
}
