// SPDX-License-Identifier: Apache-2.0
// Networks that train in one block of threads: which do, and that they have the bits of the layer-by-layer plan, which
// test_cuda.cpp compares with the CPU.
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/evaluation.hpp"
#include "cuda/one_block_plan.hpp"
#include "cuda_plans.hpp"

using namespace fixture;
using isthmus::cuda::PlanKind;

namespace {

// One block gives the bits of the other plan.
bool plans_agree(const Program& program, const RowSource& source, const StepRange& range, const UpdateRule& rule = {}) {
    return same(train_by("one_block", program, source, range, rule), train_by("layers", program, source, range, rule));
}

// Case a of the bench, "small tutorial".
Configuration case_a() {
    Configuration configuration = network({64, 32}, Activation::relu, Loss::mse);
    configuration.decoder_layers = {32, 64};
    configuration.output_activation = Activation::sigmoid;
    return configuration;
}

}  // namespace

// ---- plan ----------------------------------------------------------------------------------------------------------

TEST(small_networks_take_one_block) {
    const Program a = build_program(case_a(), 10);
    const cuda::Plan small = plan_of(a, 100, 10, kH200);
    CHECK(small.kind == PlanKind::one_block && small.one_block.layout.threads == 512);
    CHECK(cuda::describe(small).starts_with("one block: 512 threads, "));
    const cuda::Plan tabular =
        plan_of(build_program(network({16, 8}, Activation::tanh, Loss::mse), 30), 1280, 128, kH200);
    CHECK(tabular.kind == PlanKind::one_block);
    const cuda::Plan tiny = plan_of(build_program(network({3}, Activation::relu, Loss::mse), 5), 100, 8, kH200);
    CHECK(tiny.kind == PlanKind::one_block && tiny.one_block.layout.threads == 128);

    const cuda::Plan large = plan_of(build_program(network({32}, Activation::relu, Loss::bce), 784), 16384, 256, kH200);
    CHECK(large.kind != PlanKind::one_block);
    CHECK(std::string(large.one_block.why_not) == "too large for one block");
    const cuda::Plan many_rows = plan_of(a, 100000, 1000, kH200);  // not too many, but others are faster
    CHECK(many_rows.kind != PlanKind::one_block);
}

TEST(a_byte_decides) {
    const Program program = build_program(case_a(), 10);
    const std::int64_t bytes = plan_of(program, 100, 10, kH200).one_block.bytes;
    cuda::Limits limits = kH200;
    limits.shared_memory = bytes;
    CHECK(plan_of(program, 100, 10, limits).kind == PlanKind::one_block);
    limits.shared_memory = bytes - 1;
    CHECK(plan_of(program, 100, 10, limits).kind != PlanKind::one_block);
    limits.plan = PlanKind::one_block;
    CHECK_THROWS(plan_of(program, 100, 10, limits), ErrorKind::runtime);
    limits = kH200;
    limits.plan = PlanKind::layer_by_layer;
    CHECK(plan_of(program, 100, 10, limits).kind == PlanKind::layer_by_layer);
}

TEST(what_one_block_cannot_do_is_said) {
    cuda::Network network(build_program(case_a(), 10));
    const auto why = [&](auto&& change, cuda::Limits limits = kH200) {
        cuda::RangeFacts facts;
        facts.rows = 100;
        facts.batch_size = 10;
        change(facts);
        limits.plan = PlanKind::one_block;
        CHECK_THROWS(cuda::plan(network, facts, limits), ErrorKind::runtime);
        limits.plan = {};
        const cuda::Plan plan = cuda::plan(network, facts, limits);
        CHECK(plan.kind != PlanKind::one_block);
        return std::string(plan.one_block.why_not);
    };
    CHECK(why([](auto& f) { f.clipped = true; }).find("clip_norm") != std::string::npos);
    CHECK(why([](auto& f) { f.reduced = true; }).find("reducer") != std::string::npos);
    CHECK(why([](auto& f) { f.targets = f.masked = true; }).find("missing") != std::string::npos);
    CHECK(why([](auto& f) { f.held = false; }).find("do not fit") != std::string::npos);
    CHECK(why([](auto& f) { f.rows = f.batch_size = 1025; }).find("batch") != std::string::npos);
    CHECK(why([](auto& f) { f.rows = 0; }).find("no rows") != std::string::npos);
    for (const cuda::Arithmetic other :
         {cuda::Arithmetic::tf32, cuda::Arithmetic::bfloat16, cuda::Arithmetic::bf16x6}) {
        network = cuda::Network(build_program(case_a(), 10), other);
        CHECK(why([](auto&) {}).find("float32") != std::string::npos);
    }
}

TEST(division_by_multiplication_is_exact) {
    bool right = true;
    for (int n = 1; n < 70; ++n) {
        const cuda::Divisor divisor(n);
        for (int x = 0; x < 65536; ++x) right &= divisor.quotient(x) == x / n;
    }
    for (const int n : {255, 256, 257, 4095, 16383, 16384, 65535}) {
        const cuda::Divisor divisor(n);
        for (int x = 0; x < 65536; ++x) right &= divisor.quotient(x) == x / n;
    }
    CHECK(right);
}

// ---- steps ---------------------------------------------------------------------------------------------------------

TEST(fifty_steps_have_the_bits_of_the_layer_by_layer_plan) {
    const Rows inputs = make_rows(40, 9);
    const Rows targets{uniform(40 * 9, 5, 0.0, 1.0), 9};
    const std::vector<float> weights = uniform(40, 6, 0.5, 2.0);
    const RowSource source{inputs.view(), targets.view(), weights.data()};
    const Range steps(row_numbers(50 * 8 - 3, 40), 8);
    for_each<Activation>([&](Activation activation) {
        for_each<Loss>([&](Loss loss) {
            const Program program = build_program(network({7, 3}, activation, loss), 9);
            for_each<Optimizer>([&](Optimizer optimizer) {
                const Result found = train_by("one_block", program, source, steps.range, rule_of(optimizer));
                const Result expected = train_by("layers", program, source, steps.range, rule_of(optimizer));
                CHECK(same(found, expected));
                CHECK(found.totals.status == Status::complete && found.totals.steps_done == 50);
            });
        });
    });
}

TEST(they_are_those_of_the_cpu) {
    const Rows rows = make_rows(100, 10);
    const Program program = build_program(case_a(), 10);
    const Range steps(row_numbers(500, 100), 10);
    const Result found = train_by("one_block", program, rows.source(), steps.range);
    const Result expected = train(cpu::device(), program, rows.source(), steps.range);
    CHECK(relative_error(found.tensors.params, expected.tensors.params) < 1e-5);
    CHECK(std::abs(found.totals.loss_sum / expected.totals.loss_sum - 1.0) < 1e-6);
}

TEST(every_shape_has_the_same_bits) {
    // Odd widths, one unit, rows wider than a warp and than a block of the loss; batches of one row, of a few, and of
    // so many that a gradient is summed in parts and the losses of rows in several groups, with smaller last ones.
    struct Shape {
        std::vector<std::int64_t> layers;
        std::int64_t features, batch, rows;
    };
    const std::vector<Shape> shapes = {
        {{1}, 1, 1, 5},       {{3}, 7, 1, 6},       {{33, 7}, 3, 7, 23},     {{7}, 33, 10, 35},
        {{1}, 64, 10, 40},    {{31, 2}, 45, 5, 12}, {{16, 8}, 30, 128, 300}, {{3, 5, 2}, 6, 33, 100},
        {{2}, 5, 300, 700},   {{4}, 300, 4, 11},    {{1}, 257, 6, 12},       {{5, 4, 3, 2, 3}, 8, 40, 160},
        {{2}, 3, 1000, 1001},
    };
    for (const Shape& shape : shapes) {
        const Rows data = make_rows(shape.rows, shape.features);
        const Program program = build_program(network(shape.layers, Activation::tanh, Loss::mse), shape.features);
        const Range steps(row_numbers(shape.rows * 3 - 1, shape.rows), shape.batch, 1e-2);
        const bool right = plans_agree(program, data.source(), steps.range);
        if (!right) std::printf("%d features, batch %d\n", int(shape.features), int(shape.batch));
        CHECK(right);
    }
}

TEST(noise_weights_and_targets_in_every_combination) {
    const std::int64_t n = 50;
    const Rows inputs = make_rows(n, 11);
    const Rows targets = make_rows(n, 11, 2);
    std::vector<float> weights = uniform(n, 3, 0.0, 2.0);
    for (int i = 0; i < 6; ++i) weights[static_cast<std::size_t>(i * 7 % n)] = 0.0F;  // the first step weighs nothing
    const Program program = build_program(network({6, 3}, Activation::silu, Loss::huber), 11);
    for (const bool with_targets : {false, true}) {
        for (const bool with_weights : {false, true}) {
            RowSource source = inputs.source();
            if (with_targets) source.targets = targets.view();
            if (with_weights) source.weights = weights.data();
            for (const NoiseKind kind : {NoiseKind::gaussian, NoiseKind::mask}) {
                for (const float amount : {0.0F, 0.3F}) {
                    Range steps(row_numbers(6 * 9 - 2, n), 6);
                    steps.range.noise = {kind, amount, 5, 2};
                    steps.range.first_step = 11;
                    steps.range.loss_sum = 0.25;
                    steps.range.weight_sum = 4.0;
                    CHECK(plans_agree(program, source, steps.range));
                }
            }
            // Rows of a part of what is held.
            const auto model = gpu().compile(program, {});
            source.resident = model->hold(source);
            CHECK(source.resident != nullptr);
            CHECK(plans_agree(program, slice(source, 9, 30), Range(row_numbers(60, 30), 7).range));
        }
    }
}

TEST(the_bits_do_not_depend_on_the_order_of_threads_nor_on_time) {
    if (!emulated()) return;
    const Rows rows = make_rows(60, 10);
    const Program program = build_program(network({21, 5}, Activation::tanh, Loss::mse), 10);
    Range steps(row_numbers(60 * 2 - 3, 60), 16);
    for (const float noise : {0.0F, 0.2F}) {
        steps.range.noise = {NoiseKind::gaussian, noise, 3, 1};
        const Result expected = train_by("layers", program, rows.source(), steps.range);
        for (const char* order : {"forward", "reverse", "1", "2", "3", "4"}) {
            for (const char* streams : {"early", "late"}) {
                const Variable first("ISTHMUS_EMULATOR_ORDER", order);
                const Variable second("ISTHMUS_EMULATOR_STREAMS", streams);
                CHECK(same(train_by("one_block", program, rows.source(), steps.range), expected));
            }
        }
    }
}

TEST(many_launches_are_as_one) {
    const std::int64_t n = 1000;
    const Rows rows = make_rows(n, 2);
    const Program program = build_program(network({1}, Activation::linear, Loss::mse), 2);
    CHECK(cuda::steps_a_launch(plan_of(program, n, n, kH200).one_block) == 129);  // a megabyte of row numbers
    const Range steps(row_numbers(n * 270, n), n);                                // so three, on two buffers
    const Result expected = train_by("layers", program, rows.source(), steps.range);
    for (const char* streams : {"early", "late"}) {
        const Variable ahead("ISTHMUS_EMULATOR_STREAMS", streams);
        CHECK(same(train_by("one_block", program, rows.source(), steps.range), expected));
    }
}

TEST(a_stop_ends_after_exactly_that_step) {
    const Rows rows = make_rows(90, 5);
    const Program program = build_program(small_configuration(), 5);
    const Variable forced("ISTHMUS_CUDA_PLAN", "one_block");
    for (const std::int64_t call : {1, 2, 33, 89}) {
        for (const bool throws : {false, true}) {
            const auto model = gpu().compile(program, {});
            model->write({initial_weights(program, 7), {}, {}});
            const Range all(row_numbers(90, 90), 1);
            StopAtCall stop(call, throws);
            Totals totals;
            bool thrown = false;
            try {
                totals = model->train(rows.source(), all.range, {}, nullptr, stop);
            } catch (const Interrupted&) {
                thrown = true;
            }
            CHECK(thrown == throws && stop.calls() == call);
            Tensors tensors;
            model->read(tensors);
            const Range some(row_numbers(call, 90), 1);
            const Result expected = train(gpu(), program, rows.source(), some.range);
            CHECK(same_tensors(tensors, expected.tensors));
            if (throws) continue;
            CHECK(totals.status == Status::stopped && totals.steps_done == call);
            CHECK(totals.loss_sum == expected.totals.loss_sum && totals.weight_sum == static_cast<double>(call));
        }
    }
}

TEST(the_first_step_that_diverges_is_named) {
    const Rows rows = make_rows(200, 5);
    const Program program = build_program(network({3}, Activation::linear, Loss::mse), 5);
    std::vector<std::int64_t> order(200);
    std::iota(order.begin(), order.end(), std::int64_t{0});
    for (const std::int64_t step : {0, 1, 40, 199}) {
        for (const float value : {1e38F, 1e19F}) {  // the loss is infinite; the second moment alone
            Rows spoilt = rows;
            spoilt.values[static_cast<std::size_t>(step * 5)] = value;
            const Range all(order, 1);
            const Result found = train_by("one_block", program, spoilt.source(), all.range);
            const Result expected = train_by("layers", program, spoilt.source(), all.range);
            CHECK(found.totals.status == Status::diverged && found.totals.steps_done == step);
            CHECK(expected.totals.status == Status::diverged && expected.totals.steps_done == step);
            CHECK(found.totals.loss_sum == expected.totals.loss_sum);
            CHECK(found.totals.weight_sum == expected.totals.weight_sum);
        }
    }
}

TEST(a_forced_plan_that_cannot_be_is_an_error) {
    const Rows rows = make_rows(20, 5);
    const Program program = build_program(small_configuration(), 5);
    const Range steps(row_numbers(20, 20), 4);
    UpdateRule clipped;
    clipped.clip_norm = 1.0;
    CHECK_THROWS(train_by("one_block", program, rows.source(), steps.range, clipped), ErrorKind::runtime);
    CHECK_THROWS(train_by("other", program, rows.source(), steps.range), ErrorKind::value);
    const Result found = train(gpu(), program, rows.source(), steps.range, clipped);  // layer by layer, of itself
    CHECK(found.totals.status == Status::complete);
}

TEST(the_largest_that_fits_trains) {
    if (!emulated()) return;  // other devices have other limits
    const Rows rows = make_rows(12, 20);
    std::int64_t width = 16;
    const auto program_of = [](std::int64_t w) { return build_program(network({w}, Activation::relu, Loss::mse), 20); };
    while (plan_of(program_of(width + 1), 12, 4, kH200).one_block.bytes <= kShared) ++width;
    const Range steps(row_numbers(24, 12), 4);
    CHECK(plans_agree(program_of(width), rows.source(), steps.range));
    CHECK_THROWS(train_by("one_block", program_of(width + 1), rows.source(), steps.range), ErrorKind::runtime);
}
