// SPDX-License-Identifier: Apache-2.0
// Steps in CUDA graphs: which ranges take them, and that they have the bits of steps that are launched one by one,
// which is what ranges of a few steps do; over epochs, with noise, weights, targets and clipping, wherever a range
// ends.
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"
#include "cuda_plans.hpp"

using namespace fixture;

namespace {

const int kLayerByLayer = setenv("ISTHMUS_CUDA_PLAN", "layers", 1);

cuda::Plan plan_of(const Program& program, const cuda::RangeFacts& facts,
                   cuda::Arithmetic arithmetic = cuda::Arithmetic::simt) {
    cuda::Limits limits = kH200;
    limits.plan = cuda::PlanKind::layer_by_layer;
    return cuda::plan(cuda::Network(program, arithmetic), facts, limits);
}

cuda::RangeFacts facts_of(std::int64_t rows, std::int64_t batch) {
    cuda::RangeFacts facts;
    facts.rows = rows;
    facts.batch_size = batch;
    return facts;
}

// A range of every kind of what differs from step to step.
struct Case {
    Rows inputs = make_rows(50, 6);
    Rows targets = make_rows(50, 6, 2);
    std::vector<float> weights = uniform(50, 3, 0.0, 2.0);
    Program program = build_program(network({5, 3}, Activation::silu, Loss::huber), 6);
    UpdateRule rule;
    Range steps;

    explicit Case(std::int64_t n_rows, std::int64_t batch) : steps(row_numbers(n_rows, 50), batch) {
        for (std::size_t i = 0; i < steps.rates.size(); ++i) steps.rates[i] = 1e-3 * static_cast<double>(1 + i % 7);
        // The rows of step 11, which is in a graph, weigh nothing.
        for (std::int64_t i = 0; i < batch; ++i) {
            const auto at = static_cast<std::size_t>(11 * batch + i);
            if (at < steps.rows.size()) weights[static_cast<std::size_t>(steps.rows[at])] = 0.0F;
        }
        steps.range.noise = {NoiseKind::gaussian, 0.2F, 5, 2};
        steps.range.first_step = 13;
        steps.range.loss_sum = 0.25;
        steps.range.weight_sum = 4.0;
        rule.clip_norm = 0.05;
    }
    RowSource source() const { return {inputs.view(), targets.view(), weights.data()}; }
};

}  // namespace

// ---- plan ----------------------------------------------------------------------------------------------------------

TEST(what_keeps_steps_out_of_a_graph_is_said) {
    const Program program = build_program(network({32}, Activation::relu, Loss::bce), 784);
    const auto why = [&](auto&& change) {
        cuda::RangeFacts facts = facts_of(60000, 256);
        change(facts);
        const cuda::Plan plan = plan_of(program, facts);
        CHECK((plan.steps_a_graph == 0) == (*plan.why_no_graph != '\0'));
        return std::string(plan.why_no_graph);
    };
    CHECK(why([](auto&) {}) == "");
    CHECK(why([](auto& f) { f.clipped = true; }) == "");  // the norm stays on the device
    CHECK(why([](auto& f) { f.reduced = true; }).find("reducer") != std::string::npos);
    CHECK(why([](auto& f) { f.held = false; }).find("from the host") != std::string::npos);
    CHECK(why([](auto& f) { f.rows = 8 * 256; }).find("few steps") != std::string::npos);
    CHECK(why([](auto& f) { f.rows = 9 * 256; }) == "");
    CHECK(why([](auto& f) { f.batch_size = 32768, f.rows = 1 << 20; }).find("long") != std::string::npos);
    CHECK(why([](auto& f) { f.batch_size = f.rows = 1 << 28; }).find("pieces") != std::string::npos);
    CHECK(why([](auto& f) { f.rows = 0; }).find("few steps") != std::string::npos);
    const Program tiny = build_program(network({1}, Activation::relu, Loss::mse), 1);
    CHECK(std::string(plan_of(tiny, facts_of(1 << 20, 16384)).why_no_graph) == "");
    CHECK(std::string(plan_of(tiny, facts_of(1 << 20, 16385)).why_no_graph) == "a batch is large");
    // A tensor core's step is over sooner.
    const Program wide = build_program(network({512}, Activation::relu, Loss::mse), 784);
    const auto long_in = [&](cuda::Arithmetic arithmetic) {
        return plan_of(wide, facts_of(1 << 20, 4096), arithmetic).steps_a_graph == 0;
    };
    CHECK(long_in(cuda::Arithmetic::simt) && long_in(cuda::Arithmetic::bf16x6));
    CHECK(!long_in(cuda::Arithmetic::tf32) && !long_in(cuda::Arithmetic::bfloat16));
    CHECK(cuda::describe(plan_of(program, facts_of(60000, 256))) ==
          "layer by layer, 8 steps a graph: ISTHMUS_CUDA_PLAN says so");
    CHECK(cuda::describe(plan_of(program, facts_of(256, 256))) ==
          "layer by layer, no graph, for there are few steps: ISTHMUS_CUDA_PLAN says so");
}

TEST(a_table_holds_a_megabyte_of_row_numbers) {
    for (const std::int64_t batch : {1, 255, 256, 257, 10000, 131072, 131073, 1 << 24}) {
        const std::int64_t steps = cuda::steps_a_table(batch);
        CHECK(steps >= 1 && steps <= 512 && (steps & (steps - 1)) == 0);
        CHECK(steps * batch <= 1 << 17 || steps == 1);
        CHECK(2 * steps * batch > 1 << 17 || steps == 512);
    }
}

// ---- steps ---------------------------------------------------------------------------------------------------------

TEST(graphs_have_the_bits_of_single_steps) {
    // Also with a smaller last batch, and with more steps than a table holds.
    for (const auto& [rows, batch] : {std::pair<int, int>{9 * 4, 4}, {40 * 4 - 1, 4}, {30 * 7 + 3, 7}, {1100, 1}}) {
        for (const bool plain : {false, true}) {
            Case c(rows, batch);
            if (plain) c.steps.range.noise = {}, c.rule.clip_norm.reset();
            const RowSource source = plain ? c.inputs.source() : c.source();
            Training graphs(c.program, source, c.rule), single(c.program, source, c.rule);
            CHECK(same(graphs.run(c.steps.range), single.run_in_pieces(c.steps.range)));
            CHECK(same_tensors(graphs.tensors(), single.tensors()));
        }
    }
}

TEST(a_graph_serves_the_next_epoch_and_another_range_gets_its_own) {
    const Case c(30 * 4, 4);
    Training graphs(c.program, c.source(), c.rule), single(c.program, c.source(), c.rule);
    const auto both = [&](const StepRange& range) {
        CHECK(same(graphs.run(range), single.run_in_pieces(range)));
        CHECK(same_tensors(graphs.tensors(), single.tensors()));
    };
    both(c.steps.range);
    for (const std::uint32_t epoch : {3U, 4U}) {  // other rows, other noise
        Range next(row_numbers(30 * 4, 50, 11), 4, 2e-3);
        next.range.noise = {NoiseKind::gaussian, 0.2F, 5, epoch};
        next.range.first_step = 30 * epoch;
        both(next.range);
    }
    Range masked(row_numbers(30 * 4, 50, 13), 4);
    masked.range.noise = {NoiseKind::mask, 0.3F, 5, 4};
    both(masked.range);
    masked.range.noise.seed = 6;
    both(masked.range);
    both(Range(row_numbers(31 * 4, 50, 13), 5).range);  // another batch, and no noise
    both(Range(row_numbers(31 * 4, 50, 3), 4).range);
    both(Range(row_numbers(31 * 40, 50, 3), 40).range);  // a larger workspace
    both(c.steps.range);
}

TEST(other_rows_and_another_rule_get_their_own_graph) {
    const Case c(30 * 4, 4);
    const Rows others = make_rows(50, 6, 9);
    UpdateRule sgd;
    sgd.optimizer = Optimizer::sgd;
    sgd.momentum = 0.5;
    UpdateRule clipped = c.rule;
    clipped.clip_norm = 0.01;
    Never never;
    const auto trained = [&](bool pieces) {
        const auto model = gpu().compile(c.program, {});
        model->write({initial_weights(c.program, 7), {}, {}});
        std::vector<double> losses;
        for (const UpdateRule& rule : {c.rule, clipped, sgd}) {
            for (const Rows* rows : {&c.inputs, &others}) {
                RowSource source = rows->source();
                source.resident = model->hold(source);
                if (!pieces) {
                    losses.push_back(model->train(source, c.steps.range, rule, nullptr, never).loss_sum);
                    continue;
                }
                double loss = c.steps.range.loss_sum;
                for (std::int64_t step = 0; step < 30; step += 6) {
                    StepRange piece = c.steps.range;
                    piece.first_step += step;
                    piece.loss_sum = loss;
                    piece.rows = piece.rows.subspan(static_cast<std::size_t>(step) * 4, 24);
                    piece.learning_rates = piece.learning_rates.subspan(static_cast<std::size_t>(step), 6);
                    loss = model->train(source, piece, rule, nullptr, never).loss_sum;
                }
                losses.push_back(loss);
            }
        }
        Tensors tensors;
        model->read(tensors);
        return std::pair(losses, tensors);
    };
    const auto graphs = trained(false), single = trained(true);
    CHECK(graphs.first == single.first && same_tensors(graphs.second, single.second));
}

TEST(the_bits_do_not_depend_on_the_order_of_threads_nor_on_time) {
    if (!emulated()) return;
    const Case c(25 * 4 - 1, 4);
    Training single(c.program, c.source(), c.rule);
    const Totals expected = single.run_in_pieces(c.steps.range);
    for (const char* order : {"forward", "reverse", "1", "2", "3"}) {
        for (const char* streams : {"early", "late", "1"}) {
            const Variable first("ISTHMUS_EMULATOR_ORDER", order);
            const Variable second("ISTHMUS_EMULATOR_STREAMS", streams);
            Training graphs(c.program, c.source(), c.rule);
            CHECK(same(graphs.run(c.steps.range), expected) && same_tensors(graphs.tensors(), single.tensors()));
            CHECK(same(graphs.run(c.steps.range), graphs.run(c.steps.range)) == false);  // it goes on
        }
    }
}

TEST(a_stop_in_the_midst_of_a_graph_ends_after_exactly_that_step) {
    const Case c(40 * 4, 4);
    for (std::int64_t call = 1; call <= 20; ++call) {
        for (const bool throws : {false, true}) {
            Training graphs(c.program, c.source(), c.rule), single(c.program, c.source(), c.rule);
            StopAtCall stop(call, throws);
            bool thrown = false;
            Totals totals;
            try {
                totals = graphs.run(c.steps.range, stop);
            } catch (const Interrupted&) {
                thrown = true;
            }
            CHECK(thrown == throws && stop.calls() == call);
            StepRange some = c.steps.range;
            some.rows = some.rows.first(static_cast<std::size_t>(4 * call));
            some.learning_rates = some.learning_rates.first(static_cast<std::size_t>(call));
            Totals expected = single.run_in_pieces(some);
            CHECK(same_tensors(graphs.tensors(), single.tensors()));
            expected.status = Status::stopped;
            CHECK(throws || same(totals, expected));
        }
    }
}

TEST(a_step_that_diverges_within_a_graph_is_named) {
    const Rows rows = make_rows(60, 5);
    const Program program = build_program(network({3}, Activation::linear, Loss::mse), 5);
    std::vector<std::int64_t> order(60);
    std::iota(order.begin(), order.end(), std::int64_t{0});
    const Range all(order, 1);
    for (const std::int64_t step : {0, 1, 2, 7, 8, 9, 15, 16, 33, 56, 57, 59}) {
        for (const float value : {1e38F, 1e19F}) {  // the loss is infinite; the second moment alone
            Rows spoilt = rows;
            spoilt.values[static_cast<std::size_t>(step * 5)] = value;
            Training graphs(program, spoilt.source(), {}), single(program, spoilt.source(), {});
            const Totals found = graphs.run(all.range);
            CHECK(found.status == Status::diverged && found.steps_done == step);
            CHECK(same(found, single.run_in_pieces(all.range)));
            // The model is as usable as before.
            graphs.model().write({initial_weights(program, 7), {}, {}});
            const Totals again = graphs.run(all.range);
            CHECK(same(again, found));
        }
    }
}
