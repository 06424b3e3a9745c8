// SPDX-License-Identifier: Apache-2.0
// Single passes on every device: partial_fit, evaluate, row weights, noise, subsets of rows; and each device's training
// against the reference.
#include "check.hpp"
#include "core/configuration.hpp"
#include "core/evaluation.hpp"
#include "math/names.hpp"
#include "training_fixture.hpp"

using namespace fixture;

TEST(partial_fit_is_an_epoch_in_row_order) {
    const Rows rows = make_rows(20, 5);
    for (const Device* device : devices()) {
        Configuration configuration = small_configuration();
        configuration.shuffle = false;
        Trained fitted(*device, configuration, 5);
        fitted.fit_epochs(2, rows.source());
        configuration.shuffle = true;
        configuration.learning_rate_schedule = Schedule::cosine;  // partial_fit takes no notice
        Trained passed(*device, configuration, 5);
        passed.partial_fit(rows.source());
        passed.partial_fit(rows.source());
        CHECK(same_tensors(passed.state.tensors, fitted.state.tensors) && same_progress(passed.state, fitted.state));
    }
}

TEST(partial_fit_gives_up_interrupted_passes) {
    const Rows rows = make_rows(20, 5);
    for (const Device* device : devices()) {
        Trained trained(*device, small_configuration(), 5);
        StopAtCall stop(2);
        Hooks hooks;
        hooks.stop = &stop;
        CHECK(trained.fit(rows.source(), nullptr, hooks) == FitEnd::stopped);
        CHECK(trained.state.step == 1 && trained.state.step_in_epoch == 1);
        StopAtCall again(3);
        hooks.stop = &again;
        trained.partial_fit(rows.source(), hooks);
        CHECK(trained.state.step == 3 && trained.state.step_in_epoch == 0 && trained.state.weight_sum == 0.0);
        CHECK(trained.state.epoch == 0 && trained.state.history.loss.empty());
        trained.partial_fit(rows.source());
        CHECK(trained.state.step == 6 && trained.state.epoch == 1 && trained.state.history.loss.size() == 1);
    }
}

TEST(evaluate_is_the_weighted_mean_over_all_blocks) {
    const std::int64_t n = 4096 + 37;
    const Rows rows = make_rows(n, 3);
    const std::vector<float> weights = uniform(n, 5, 0.0, 2.0);
    Configuration configuration = small_configuration();
    configuration.encoder_layers = {2};
    for (const Device* device : devices()) {
        Trained trained(*device, configuration, 3);
        RowSource source = rows.source();
        source.weights = weights.data();
        std::vector<double> errors(static_cast<std::size_t>(n));
        trained.model->row_errors(source, errors, std::nullopt);
        double loss_sum = 0.0;
        double weight_sum = 0.0;
        for (std::size_t i = 0; i < errors.size(); ++i) {
            loss_sum += weights[i] * errors[i];
            weight_sum += weights[i];
        }
        RowFeed feed(source);
        CHECK(evaluate(*trained.model, feed) == loss_sum / weight_sum);
        StopAtCall stop(2);
        CHECK(!evaluate_until(*trained.model, feed, stop) && stop.calls() == 2);
    }
}

TEST(weights_scale_rows_and_a_batch_without_weight_changes_nothing) {
    const Rows rows = make_rows(16, 5);
    std::vector<float> weights(16, 0.0F);
    std::fill(weights.begin() + 8, weights.end(), 3.0F);
    for (const Device* device : devices()) {
        Configuration configuration = small_configuration();
        configuration.optimizer = Optimizer::sgd;
        configuration.momentum = 0.9;
        configuration.shuffle = false;
        RowSource source = rows.source();
        source.weights = weights.data();
        Trained weighted(*device, configuration, 5);
        weighted.fit_epochs(1, source);
        Trained alone(*device, configuration, 5);
        alone.fit_epochs(1, slice(rows.source(), 8, 8));
        CHECK(weighted.state.step == 2 && alone.state.step == 1);
        CHECK(relative_error(weighted.state.tensors.params, alone.state.tensors.params) < 1e-6);
        CHECK(std::abs(weighted.state.history.loss[0] / alone.state.history.loss[0] - 1.0) < 1e-12);
        // Weighing a row twice is having it twice.
        weights.assign(16, 1.0F);
        weights[3] = 2.0F;
        Rows doubled = rows;
        doubled.values.insert(doubled.values.end(), rows.view().row(3), rows.view().row(4));
        configuration.batch_size = 17;
        Trained heavy(*device, configuration, 5);
        heavy.fit_epochs(1, source);
        Trained twice(*device, configuration, 5);
        twice.fit_epochs(1, doubled.source());
        CHECK(relative_error(heavy.state.tensors.m, twice.state.tensors.m) < 1e-6);
        weights.assign(8, 0.0F);
        weights.resize(16, 3.0F);
    }
}

TEST(training_rows_are_the_only_ones_seen) {
    const Rows rows = make_rows(20, 5);
    Rows chosen{{}, 5};
    const std::vector<std::int64_t> numbers{1, 2, 5, 8, 9, 13, 14, 15, 19};
    for (const std::int64_t r : numbers) {
        chosen.values.insert(chosen.values.end(), rows.view().row(r), rows.view().row(r) + 5);
    }
    for (const Device* device : devices()) {
        Trained subset(*device, small_configuration(), 5);
        RowFeed all(rows.source());
        isthmus::fit(*subset.model, subset.state, subset.configuration, all, nullptr, {}, numbers);
        subset.model->read(subset.state.tensors);
        Trained copied(*device, small_configuration(), 5);
        copied.fit(chosen.source());
        CHECK(same_tensors(subset.state.tensors, copied.state.tensors));
        CHECK(same_progress(subset.state, copied.state));
    }
}

TEST(batches_larger_than_the_data_are_one_batch) {
    const Rows rows = make_rows(6, 5);
    for (const Device* device : devices()) {
        Configuration configuration = small_configuration();
        configuration.batch_size = 6;
        Trained exact(*device, configuration, 5);
        exact.fit(rows.source());
        configuration.batch_size = INT64_MAX;
        Trained large(*device, configuration, 5);
        large.fit(rows.source());
        CHECK(same_tensors(exact.state.tensors, large.state.tensors) && large.state.step == 3);
    }
}

TEST(an_interrupted_epoch_of_other_data_is_finished_safely) {
    for (const Device* device : devices()) {
        for (const std::int64_t step_in_epoch : {std::int64_t{2}, std::int64_t{50}, INT64_MAX}) {
            const Rows rows = make_rows(20, 5);
            Trained trained(*device, small_configuration(), 5);
            trained.state.step_in_epoch = step_in_epoch;
            trained.state.loss_sum = trained.state.weight_sum = 16.0;
            CHECK(trained.fit_epochs(2, rows.source()) == FitEnd::epochs_done);
            CHECK(trained.state.epoch == 2 && trained.state.step == (step_in_epoch == 2 ? 4 : 3));
        }
    }
}

TEST(epochs_beyond_counting_are_refused) {
    const Rows rows = make_rows(20, 5);
    for (const Device* device : devices()) {
        Trained trained(*device, small_configuration(), 5);
        trained.state.epoch = 0xffffffff - 2;
        trained.state.step_in_epoch = 1;
        CHECK_THROWS(trained.fit(rows.source()), ErrorKind::value);
        CHECK(trained.state.step_in_epoch == 1);
        trained.state.epoch = 0;
        trained.state.step = INT64_MAX - 8;
        CHECK_THROWS(trained.fit(rows.source()), ErrorKind::value);
        CHECK(trained.state.step_in_epoch == 1);
    }
}

TEST(noise_is_that_of_seed_and_epoch) {
    const Rows rows = make_rows(16, 5);
    const std::vector<std::int64_t> order{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const std::vector<double> rates(2, 0.01);
    for (const Device* device : devices()) {
        Configuration configuration = small_configuration();
        configuration.shuffle = false;
        configuration.input_noise = 0.2;
        Trained trained(*device, configuration, 5, /*seed=*/0x123456789abcU);
        Trained by_hand(*device, configuration, 5, /*seed=*/0x123456789abcU);
        trained.fit_epochs(3, rows.source());
        StopAtCall never(INT64_MAX);
        for (std::uint32_t epoch = 0; epoch < 3; ++epoch) {
            StepRange range;
            range.first_step = 2 * epoch;
            range.batch_size = 8;
            range.rows = order;
            range.learning_rates = rates;
            range.noise = {NoiseKind::gaussian, 0.2F, 0x123456789abcU, epoch};
            by_hand.model->train(rows.source(), range, update_rule(configuration), nullptr, never);
        }
        by_hand.model->read(by_hand.state.tensors);
        CHECK(same_tensors(trained.state.tensors, by_hand.state.tensors));
    }
}

TEST(devices_follow_the_reference) {
    const Rows rows = make_rows(60, 6);
    for (const Device* device : devices()) {
        for (std::size_t optimizer = 0; optimizer < math::names<Optimizer>().size(); ++optimizer) {
            for (std::size_t kind = 0; kind < math::names<NoiseKind>().size(); ++kind) {
                for (const double clip_norm : {0.0, 0.05}) {
                    Configuration configuration = small_configuration();
                    configuration.optimizer = static_cast<Optimizer>(optimizer);
                    configuration.input_noise_kind = static_cast<NoiseKind>(kind);
                    configuration.input_noise = 0.2;
                    configuration.momentum = 0.9;
                    configuration.weight_decay = 0.05;
                    if (clip_norm > 0.0) configuration.clip_norm = clip_norm;
                    Trained trained(*device, configuration, 6);
                    Trained reference(*devices().front(), configuration, 6);
                    trained.fit_epochs(6, rows.source());
                    reference.fit_epochs(6, rows.source());
                    CHECK(relative_error(trained.state.tensors.params, reference.state.tensors.params) < 1e-5);
                    CHECK(std::abs(trained.state.history.loss[5] / reference.state.history.loss[5] - 1.0) < 1e-5);
                    // The tolerance is worth something: noise and clipping move the result by more.
                    configuration.input_noise = 0.0;
                    Trained other(*devices().front(), configuration, 6);
                    other.fit_epochs(6, rows.source());
                    CHECK(relative_error(trained.state.tensors.params, other.state.tensors.params) > 1e-4);
                }
            }
        }
    }
}
