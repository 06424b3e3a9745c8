// SPDX-License-Identifier: Apache-2.0
// Rows with missing values on every device: against the reference, the same bits in any plan and partition, and those
// of rows without a mask where nothing is missing. The gradients are test_gradients'.
#include <cmath>
#include <numeric>
#include <vector>

#include "check.hpp"
#include "core/evaluation.hpp"
#include "every_instruction_set.hpp"
#include "math/names.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

// Rows whose targets are the inputs, with a share of them missing; the last row has none.
struct Holes {
    Rows inputs, targets;
    std::vector<float> weights;

    Holes(std::int64_t n, std::int64_t cols, double share) : inputs(make_rows(n, cols)), targets(inputs) {
        for (float& value : inputs.values) value = 0.5F + 0.5F * value;  // bce wants [0, 1]
        targets = inputs;
        weights = uniform(n, 5, 0.5, 2.0);
        if (share == 0.0) return;
        const std::vector<float> dice = uniform(n * cols, 6, 0.0, 1.0);
        for (std::size_t i = 0; i < dice.size(); ++i) {
            const bool is_last = i >= dice.size() - static_cast<std::size_t>(cols);
            if (dice[i] < share || is_last) {
                targets.values[i] = std::nanf("");
                inputs.values[i] = 0.25F;
            }
        }
        weights.back() = 0.0F;
    }

    RowSource source() const {
        RowSource source{inputs.view(), targets.view(), weights.data()};
        source.masked = true;
        return source;
    }
};

Configuration configured(Loss loss, std::int64_t batch = 8) {
    Configuration configuration = small_configuration();
    configuration.loss = loss;
    configuration.batch_size = batch;
    return configuration;
}

template <class F>
void for_each_loss(F&& f) {
    for (std::size_t loss = 0; loss < math::names<Loss>().size(); ++loss) f(static_cast<Loss>(loss));
}

struct Errors {
    std::vector<double> rows;
    Rows elements;

    Errors(const Model& model, const RowSource& source)
        : rows(static_cast<std::size_t>(source.rows())),
          elements{std::vector<float>(static_cast<std::size_t>(source.rows() * source.inputs.cols)),
                   source.inputs.cols} {
        model.row_errors(source, rows,
                         MutableMatrixView{elements.values.data(), source.rows(), elements.cols, elements.cols});
    }
};

}  // namespace

// Widths of a warp and of a block on the GPU, of whole and of cut vectors on the CPU.
TEST(a_mask_without_holes_changes_no_bit) {
    for (const std::int64_t cols : {5, 64, 300}) {
        const Holes rows(41, cols, 0.0);
        RowSource plain = rows.source();
        plain.masked = false;
        for_each_loss([&](Loss loss) {
            for (const Device* device : devices()) {
                Trained masked(*device, configured(loss), cols);
                Trained unmasked(*device, configured(loss), cols);
                masked.fit(rows.source());
                unmasked.fit(plain);
                CHECK(same_tensors(masked.state.tensors, unmasked.state.tensors));
                CHECK(same_progress(masked.state, unmasked.state));
                const Errors with(*masked.model, rows.source());
                const Errors without(*masked.model, plain);
                CHECK(with.rows == without.rows && same_bits(with.elements.values, without.elements.values));
            }
        });
    }
}

TEST(errors_are_means_over_what_is_observed) {
    for (const std::int64_t cols : {5, 300}) {
        const Holes rows(23, cols, 0.3);
        for_each_loss([&](Loss loss) {
            const Trained expected(*devices().front(), configured(loss), cols);
            const Errors wanted(*expected.model, rows.source());
            for (const Device* device : devices()) {
                const Trained trained(*device, configured(loss), cols);
                const Errors found(*trained.model, rows.source());
                for (std::size_t r = 0; r < wanted.rows.size(); ++r) {
                    CHECK(std::abs(found.rows[r] - wanted.rows[r]) <= 1e-5 * wanted.rows[r]);
                }
                CHECK(found.rows.back() == 0.0);
                bool where_missing = true;
                for (std::size_t i = 0; i < found.elements.values.size(); ++i) {
                    where_missing &= std::isnan(found.elements.values[i]) == std::isnan(rows.targets.values[i]);
                }
                CHECK(where_missing);
            }
        });
    }
}

TEST(training_with_holes_follows_the_reference) {
    const Holes rows(60, 6, 0.3);
    RowSource ignorant = rows.source();
    ignorant.masked = false;
    ignorant.targets.reset();
    for_each_loss([&](Loss loss) {
        for (const double clip_norm : {0.0, 0.05}) {
            Configuration configuration = configured(loss);
            configuration.input_noise = 0.1;
            if (clip_norm > 0.0) configuration.clip_norm = clip_norm;
            Trained reference(*devices().front(), configuration, 6);
            reference.fit_epochs(6, rows.source());
            // The tolerance is worth something: what is put for the holes, taken for data, moves the result by more.
            Trained other(*devices().front(), configuration, 6);
            other.fit_epochs(6, ignorant);
            CHECK(relative_error(other.state.tensors.params, reference.state.tensors.params) > 1e-4);
            for (const Device* device : devices()) {
                Trained trained(*device, configuration, 6);
                trained.fit_epochs(6, rows.source());
                CHECK(relative_error(trained.state.tensors.params, reference.state.tensors.params) < 1e-5);
                CHECK(std::abs(trained.state.history.loss[5] / reference.state.history.loss[5] - 1.0) < 1e-5);
                CHECK(std::isfinite(trained.state.history.loss[5]));
            }
        }
    });
}

// A slice is a slice of targets, too: the errors of all rows are those of a row at a time.
TEST(a_row_does_not_depend_on_the_others) {
    const Holes rows(37, 70, 0.3);
    for (const Device* device : devices()) {
        const Trained trained(*device, configured(Loss::huber), 70);
        const Errors all(*trained.model, rows.source());
        for (std::int64_t r = 0; r < 37; ++r) {
            const Errors one(*trained.model, slice(rows.source(), r, 1));
            CHECK(one.rows[0] == all.rows[static_cast<std::size_t>(r)]);
        }
        RowFeed feed(rows.source());
        double loss_sum = 0.0;
        double weight_sum = 0.0;
        for (std::size_t i = 0; i < all.rows.size(); ++i) {
            loss_sum += rows.weights[i] * all.rows[i];
            weight_sum += rows.weights[i];
        }
        CHECK(evaluate(*trained.model, feed) == loss_sum / weight_sum);
    }
}

TEST(threads_and_plans_give_the_same_bits) {
    constexpr std::int64_t kBatch = 129;
    constexpr std::int64_t kSteps = 6;
    const Holes rows(kSteps * kBatch, 30, 0.2);
    Configuration configuration;
    configuration.encoder_layers = {16, 8};
    const Program program = build_program(configuration, 30);
    std::vector<std::int64_t> order(static_cast<std::size_t>(kSteps * kBatch));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    const std::vector<double> rates(kSteps, 1e-2);
    const auto train = [&](int threads, StepPlan plan) {
        CompileOptions options;
        options.n_threads = threads;
        options.step_plan = plan;
        const auto model = cpu::device().compile(program, options);
        model->write({initial_weights(program, 3), {}, {}});
        StepRange range;
        range.batch_size = kBatch;
        range.rows = order;
        range.learning_rates = rates;
        StopAtCall never(kSteps + 1);
        const Totals totals = model->train(rows.source(), range, {}, nullptr, never);
        CHECK(totals.status == Status::complete);
        Tensors tensors;
        model->read(tensors);
        return tensors;
    };
    for_each_instruction_set([&] {
        const Tensors alone = train(1, StepPlan::fused);
        for (const StepPlan plan : {StepPlan::fused, StepPlan::split}) {
            for (const int threads : {1, 2, 3}) CHECK(same_tensors(train(threads, plan), alone));
        }
    });
}

// On a device that keeps the rows: masked ones after others, by the same buffers.
TEST(held_rows_keep_their_mask) {
    const Holes rows(64, 6, 0.3);
    const Holes whole(64, 6, 0.0);
    RowSource plain = whole.source();
    plain.masked = false;
    for (const Device* device : devices()) {
        Trained one(*device, configured(Loss::mse), 6);
        for (const RowSource& source : {plain, rows.source(), plain}) one.fit_epochs(1, source);
        Trained expected(*devices().front(), configured(Loss::mse), 6);
        for (const RowSource& source : {plain, rows.source(), plain}) expected.fit_epochs(1, source);
        CHECK(relative_error(one.state.tensors.params, expected.state.tensors.params) < 1e-5);
    }
}
