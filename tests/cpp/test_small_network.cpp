// SPDX-License-Identifier: Apache-2.0
// A network so small, and a batch so large, that two threads of the CPU keep the parameters twice and sum half of the
// rows each: against the reference, and the same bits on one thread, on two and on the split plan.
#include <limits>
#include <numeric>
#include <vector>

#include "check.hpp"
#include "every_instruction_set.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

constexpr std::int64_t kFeatures = 30;
constexpr std::int64_t kBatch = 129;             // two parts of 64 and 65 rows
constexpr std::int64_t kRows = 6 * kBatch + 20;  // the last batch is summed in one part
constexpr std::int64_t kSteps = 7;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Outcome {
    Totals totals;
    Tensors tensors;
};

struct Job {
    RowSource source;
    UpdateRule rule;
    Noise noise;
    std::vector<double> rates = std::vector<double>(kSteps, 1e-2);
    std::int64_t stop_at = kSteps + 1;  // the call of Stop that says yes
    bool throws = false;
};

Program small_program() {
    Configuration configuration;
    configuration.encoder_layers = {16, 8};
    configuration.activation = Activation::tanh;
    return build_program(configuration, kFeatures);
}

Outcome train(const Device& device, const Job& job, int threads, StepPlan plan) {
    const Program program = small_program();
    CompileOptions options;
    options.n_threads = threads;
    options.step_plan = plan;
    const auto model = device.compile(program, options);
    model->write({initial_weights(program, 3), {}, {}});
    std::vector<std::int64_t> rows(kRows);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i) * 389 % kRows;
    StepRange range;
    range.batch_size = kBatch;
    range.rows = rows;
    range.learning_rates = job.rates;
    range.noise = job.noise;
    StopAtCall stop(job.stop_at, job.throws);
    Outcome outcome;
    try {
        outcome.totals = model->train(job.source, range, job.rule, nullptr, stop);
    } catch (const Interrupted&) {
        outcome.totals.steps_done = stop.calls();
    }
    model->read(outcome.tensors);
    return outcome;
}

void check_every_way(const Job& job) {
    const Outcome expected = train(*devices()[0], job, 1, StepPlan::automatic);
    for_each_instruction_set([&] {
        const Outcome alone = train(cpu::device(), job, 1, StepPlan::automatic);
        CHECK(alone.totals.steps_done == expected.totals.steps_done);
        CHECK(alone.totals.status == expected.totals.status);
        if (expected.totals.status != Status::diverged) {
            CHECK(relative_error(alone.tensors.params, expected.tensors.params) < 1e-5);
        }
        for (const StepPlan plan : {StepPlan::fused, StepPlan::split}) {
            for (const int threads : {1, 2, 3}) {
                const Outcome other = train(cpu::device(), job, threads, plan);
                CHECK(other.totals.status == alone.totals.status);
                CHECK(other.totals.steps_done == alone.totals.steps_done);
                CHECK(other.totals.loss_sum == alone.totals.loss_sum);
                CHECK(other.totals.weight_sum == alone.totals.weight_sum);
                if (alone.totals.status != Status::diverged) CHECK(same_tensors(other.tensors, alone.tensors));
            }
        }
    });
}

const Rows& data() {
    static const Rows rows = make_rows(kRows, kFeatures);
    return rows;
}

}  // namespace

TEST(seven_steps) { check_every_way({data().source(), {}, {}}); }

TEST(row_weights_noise_and_momentum) {
    std::vector<float> weights = uniform(kRows, 5, 0.0, 2.0);
    weights[0] = 0.0F;
    Job job{data().source(), {}, {NoiseKind::mask, 0.2F, 9, 4}};
    job.source.weights = weights.data();
    job.rule.optimizer = Optimizer::sgd;
    job.rule.momentum = 0.9;
    check_every_way(job);
}

TEST(a_batch_without_weight_leaves_the_parameters) {
    const std::vector<float> weights(kRows, 0.0F);
    Job job{data().source(), {}, {}};
    job.source.weights = weights.data();
    check_every_way(job);
}

TEST(a_stop_or_an_exception_leaves_whole_steps) {
    for (const std::int64_t call : {1, 2, 5, 6}) {
        for (const bool throws : {false, true}) {
            Job job{data().source(), {}, {}};
            job.stop_at = call;
            job.throws = throws;
            for (int i = 0; i < 20; ++i) {  // either thread may be the one behind
                const Outcome one = train(cpu::device(), job, 1, StepPlan::automatic);
                const Outcome two = train(cpu::device(), job, 2, StepPlan::automatic);
                CHECK(one.totals.steps_done == call && two.totals.steps_done == call);
                CHECK(same_tensors(one.tensors, two.tensors));
            }
            check_every_way(job);
        }
    }
}

TEST(divergence_is_found_in_its_step) {
    for (const std::size_t step : {0U, 3U, 6U}) {
        Job job{data().source(), {}, {}};
        job.rates[step] = kInfinity;
        check_every_way(job);
    }
    Rows bad = data();
    bad.values[static_cast<std::size_t>(kRows - 1) * kFeatures] = std::nanf("");
    check_every_way({bad.source(), {}, {}});
}

// What stands between two ranges may change the parameters behind the second thread's back.
TEST(ranges_one_after_another_go_on_from_what_the_model_has) {
    const Program program = small_program();
    std::vector<std::int64_t> rows(kRows);
    std::iota(rows.begin(), rows.end(), std::int64_t{0});
    const std::vector<double> rates(kSteps, 1e-2);
    const auto run = [&](int threads) {
        CompileOptions options;
        options.n_threads = threads;
        const auto model = cpu::device().compile(program, options);
        UpdateRule rule;
        StepRange range;
        range.batch_size = kBatch;
        range.rows = rows;
        range.learning_rates = rates;
        std::vector<Tensors> after;
        const auto train = [&] {
            StopAtCall never(kSteps + 1, false);
            const Totals totals = model->train(data().source(), range, rule, nullptr, never);
            range.first_step += kSteps;
            after.emplace_back();
            if (totals.status != Status::diverged) model->read(after.back());
        };
        model->write({initial_weights(program, 3), {}, {}});
        train();
        train();
        model->keep();
        rule.clip_norm = 1e-3;  // the split plan
        train();
        rule.clip_norm.reset();
        train();
        model->rollback();
        train();
        model->write({initial_weights(program, 4), {}, {}});
        train();
        const std::vector<double> diverging(kSteps, kInfinity);
        range.learning_rates = diverging;
        train();
        range.learning_rates = rates;
        model->rollback();
        train();
        return after;
    };
    for_each_instruction_set([&] {
        const std::vector<Tensors> one = run(1);
        const std::vector<Tensors> two = run(2);
        for (std::size_t i = 0; i < one.size(); ++i) CHECK(same_tensors(one[i], two[i]));
    });
}
