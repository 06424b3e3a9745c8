// SPDX-License-Identifier: Apache-2.0
// Steps of two kernels: which networks take them, and that they have the bits of the layer-by-layer plan, which
// test_cuda.cpp compares with the CPU.
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/evaluation.hpp"
#include "cuda_plans.hpp"

using namespace fixture;
using isthmus::cuda::PlanKind;

namespace {

bool plans_agree(const Program& program, const RowSource& source, const StepRange& range, const UpdateRule& rule = {}) {
    return same(train_by("two_kernels", program, source, range, rule),
                train_by("layers", program, source, range, rule));
}

Program case_b() { return build_program(network({32}, Activation::relu, Loss::bce), 784); }

}  // namespace

// ---- plan ----------------------------------------------------------------------------------------------------------

TEST(middle_networks_take_two_kernels) {
    const cuda::Plan b = plan_of(case_b(), 60000, 256, kH200);
    CHECK(b.kind == PlanKind::two_kernels && b.steps_a_graph == 8);
    CHECK(cuda::describe(b).starts_with("two kernels, 8 steps a graph: "));
    CHECK(b.two_kernels.blocks * b.two_kernels.layout.rows == 256 && b.two_kernels.bytes <= kShared);
    const Program deep = build_program(network({128, 32}, Activation::relu, Loss::bce), 784);
    CHECK(plan_of(deep, 60000, 256, kH200).kind == PlanKind::two_kernels);
    // Small enough for one block, or so large that products fill the device.
    const Program a = build_program(network({64, 32}, Activation::relu, Loss::mse), 10);
    CHECK(plan_of(a, 100, 10, kH200).kind == PlanKind::one_block);
    const Program c = build_program(network({512, 256, 64}, Activation::relu, Loss::bce), 784);
    CHECK(plan_of(c, 60000, 256, kH200).kind == PlanKind::layer_by_layer);
    const Program d = build_program(network({4096}, Activation::relu, Loss::mse), 2048);
    CHECK(cuda::describe(plan_of(d, 60000, 16, kH200)) == "layer by layer, 8 steps a graph: too wide for two kernels");
}

TEST(a_layout_lies_within_shared_memory) {
    for (const auto& layers : std::vector<std::vector<std::int64_t>>{{1}, {32}, {128, 32}, {300, 7, 5}, {1000}}) {
        for (const std::int64_t features : {1, 5, 30, 784, 1001}) {
            const Program program = build_program(network(layers, Activation::relu, Loss::mse), features);
            const cuda::TwoKernelsPlan plan = plan_of(program, 60000, 256, kH200).two_kernels;
            if (plan.why_not != nullptr) continue;
            const cuda::RowBlockLayout& net = plan.layout;
            CHECK(plan.bytes == 4 * net.floats && plan.bytes <= kShared && net.n_passes == 2 * net.n_layers - 1);
            CHECK(net.ring + cuda::kWeightStages * net.stage_floats <= net.floats);
            for (int i = 0; i < net.n_passes; ++i) {
                const cuda::WeightPass& pass = net.passes[i];
                const cuda::RowBlockLayer& layer = net.layers[pass.layer];
                CHECK(pass.cols * pass.col_tiles >= (pass.forward ? layer.out : layer.in) && pass.cols % 4 == 0);
                CHECK(4 * pass.quads * pass.k_tiles >= (pass.forward ? layer.in : layer.out));
                CHECK(pass.weight_rows * pass.stride <= net.stage_floats && pass.stride / 4 % 2 == 1);
                CHECK(pass.quads_a_row.n * 4 <= pass.stride);
            }
        }
    }
}

TEST(what_two_kernels_cannot_do_is_said) {
    const auto why = [&](auto&& change, const Program& program = case_b(),
                         cuda::Arithmetic arithmetic = cuda::Arithmetic::simt) {
        const cuda::Network network(program, arithmetic);
        cuda::RangeFacts facts;
        facts.rows = 60000;
        facts.batch_size = 256;
        change(facts);
        cuda::Limits limits = kH200;
        limits.plan = PlanKind::two_kernels;
        CHECK_THROWS(cuda::plan(network, facts, limits), ErrorKind::runtime);
        limits.plan = {};
        const cuda::Plan plan = cuda::plan(network, facts, limits);
        CHECK(plan.kind != PlanKind::two_kernels);
        return std::string(plan.two_kernels.why_not);
    };
    CHECK(why([](auto& f) { f.clipped = true; }).find("clip_norm") != std::string::npos);
    CHECK(why([](auto& f) { f.reduced = true; }).find("reducer") != std::string::npos);
    CHECK(why([](auto& f) { f.targets = f.masked = true; }).find("missing") != std::string::npos);
    CHECK(why([](auto& f) { f.held = false; }).find("do not fit") != std::string::npos);
    CHECK(why([](auto& f) { f.rows = 0; }).find("no rows") != std::string::npos);
    CHECK(why([](auto& f) { f.rows = f.batch_size = 1 << 28; }).find("pieces") != std::string::npos);
    const auto nothing = [](auto&) {};
    const Program many = build_program(network({9, 8, 7, 6, 5, 4, 3}, Activation::relu, Loss::mse), 10);
    CHECK(why(nothing, many).find("too many layers") != std::string::npos);
    const Program wide = build_program(network({3}, Activation::relu, Loss::mse), 4097);
    CHECK(why(nothing, wide).find("too wide") != std::string::npos);
    for (const cuda::Arithmetic other :
         {cuda::Arithmetic::tf32, cuda::Arithmetic::bfloat16, cuda::Arithmetic::bf16x6}) {
        CHECK(why(nothing, case_b(), other).find("float32") != std::string::npos);
    }
}

TEST(a_byte_decides) {
    cuda::Limits limits = kH200;
    const Program program = case_b();
    const auto fits = [&](std::int64_t bytes) {
        limits.shared_memory = bytes;
        return plan_of(program, 60000, 256, limits).two_kernels.why_not == nullptr;
    };
    std::int64_t least = 1024;
    while (!fits(least)) least += 4;
    const cuda::TwoKernelsPlan plan = plan_of(program, 60000, 256, limits).two_kernels;
    CHECK(plan.bytes <= least && plan.layout.rows == 1 && !fits(least - 4));
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
                const Result found = train_by("two_kernels", program, source, steps.range, rule_of(optimizer));
                const Result expected = train_by("layers", program, source, steps.range, rule_of(optimizer));
                CHECK(same(found, expected));
                CHECK(found.totals.status == Status::complete && found.totals.steps_done == 50);
            });
        });
    });
}

TEST(they_are_those_of_the_cpu) {
    const Rows rows = make_rows(64, 100);
    const Program program = build_program(network({33, 8}, Activation::silu, Loss::mse), 100);
    const Range steps(row_numbers(50 * 16, 64), 16);
    const Result found = train_by("two_kernels", program, rows.source(), steps.range);
    const Result expected = train(cpu::device(), program, rows.source(), steps.range);
    CHECK(relative_error(found.tensors.params, expected.tensors.params) < 1e-5);
    CHECK(std::abs(found.totals.loss_sum / expected.totals.loss_sum - 1.0) < 1e-6);
}

TEST(every_shape_has_the_same_bits) {
    // Odd widths, one unit, rows wider than a warp and than a block of the loss, weights of many tiles; batches of one
    // row, of a few, and of so many that a gradient is summed in parts, with smaller last ones.
    struct Shape {
        std::vector<std::int64_t> layers;
        std::int64_t features, batch, rows;
    };
    const std::vector<Shape> shapes = {
        {{1}, 1, 1, 5},      {{3}, 7, 1, 6},           {{33, 7}, 3, 7, 23},           {{7}, 33, 10, 35},
        {{1}, 64, 10, 40},   {{31, 2}, 45, 5, 12},     {{16, 8}, 30, 128, 300},       {{3, 5, 2}, 6, 33, 100},
        {{4}, 300, 4, 11},   {{1}, 257, 6, 12},        {{5, 4, 3, 2, 3}, 8, 40, 160}, {{2}, 3, 1000, 1001},
        {{32}, 784, 33, 80}, {{301, 130}, 517, 9, 30}, {{200}, 1030, 3, 8},
    };
    for (const Shape& shape : shapes) {
        const Rows data = make_rows(shape.rows, shape.features);
        const Program program = build_program(network(shape.layers, Activation::tanh, Loss::mse), shape.features);
        const Range steps(row_numbers(shape.rows * 3 - 1, shape.rows), shape.batch, 1e-2);
        const bool right = plans_agree(program, data.source(), steps.range);
        if (!right) std::printf("%d features, batch %d\n", int(shape.features), int(shape.batch));
        CHECK(right);
    }
    // Fewer rows than a batch has.
    const Rows data = make_rows(10, 5);
    const Program program = build_program(network({3}, Activation::tanh, Loss::mse), 5);
    CHECK(plans_agree(program, data.source(), Range(row_numbers(10, 10), 1000).range));
}

TEST(little_shared_memory_gives_the_same_bits) {
    if (!emulated()) return;
    // Weights in more and smaller tiles, fewer rows a block.
    const Rows data = make_rows(40, 70);
    const Program program = build_program(network({45, 9}, Activation::gelu, Loss::mae), 70);
    const Range steps(row_numbers(120, 40), 24);
    const Result expected = train_by("layers", program, data.source(), steps.range);
    const Variable devices("ISTHMUS_EMULATOR_DEVICES", "5");
    const Variable forced("ISTHMUS_CUDA_PLAN", "two_kernels");
    int ordinal = 0;  // a device is asked once what it has
    for (const char* bytes : {"30000", "40000", "60000", "100000"}) {
        const Variable shared("ISTHMUS_EMULATOR_SHARED", bytes);
        CHECK(same(train(cuda_device(++ordinal), program, data.source(), steps.range), expected));
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
                    Range steps(row_numbers(6 * 21 - 2, n), 6);
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
    // Weights of several tiles, each summed in four parts, whose blocks come in any order.
    const Rows rows = make_rows(140, 45);
    const Program program = build_program(network({40, 33}, Activation::tanh, Loss::mse), 45);
    Range steps(row_numbers(300 * 3 - 3, 140), 300);
    for (const float noise : {0.0F, 0.2F}) {
        steps.range.noise = {NoiseKind::gaussian, noise, 3, 1};
        const Result expected = train_by("layers", program, rows.source(), steps.range);
        for (const char* order : {"forward", "reverse", "1", "2", "3", "4"}) {
            for (const char* streams : {"early", "late"}) {
                const Variable first("ISTHMUS_EMULATOR_ORDER", order);
                const Variable second("ISTHMUS_EMULATOR_STREAMS", streams);
                CHECK(same(train_by("two_kernels", program, rows.source(), steps.range), expected));
            }
        }
    }
}

TEST(plans_take_turns_on_one_model) {
    const Rows rows = make_rows(60, 9);
    const Program program = build_program(network({5}, Activation::tanh, Loss::mse), 9);
    const Range steps(row_numbers(20 * 4, 60), 4);
    Never never;
    Tensors expected;
    for (const auto& plans : std::vector<std::vector<const char*>>{
             {"layers", "layers", "layers", "layers"}, {"two_kernels", "layers", "one_block", "two_kernels"}}) {
        Tensors found;
        found.params = initial_weights(program, 7);
        for (const char* plan : plans) {
            const Variable forced("ISTHMUS_CUDA_PLAN", plan);
            const auto model = gpu().compile(program, {});
            model->write(found);
            model->train(rows.source(), steps.range, {}, nullptr, never);
            model->train(rows.source(), steps.range, {}, nullptr, never);
            model->read(found);
        }
        if (expected.params.empty()) expected = found;
        CHECK(same_tensors(found, expected));
    }
}

TEST(a_model_says_how_it_was_run) {
    const Rows rows = make_rows(60, 9);
    const Program program = build_program(network({5}, Activation::tanh, Loss::mse), 9);
    Never never;
    const auto plan = [&](const Device& device, const UpdateRule& rule = {}) {
        const auto model = device.compile(program, {});
        CHECK(model->last_plan().empty());
        model->write({initial_weights(program, 7), {}, {}});
        model->train(rows.source(), Range(row_numbers(60, 60), 4).range, rule, nullptr, never);
        return model->last_plan();
    };
    UpdateRule clipped;
    clipped.clip_norm = 1.0;
    CHECK(plan(cpu::device()) == "fused, 1 thread");
    CHECK(plan(cpu::device(), clipped) == "split, 1 thread");
    CHECK(plan(gpu()).starts_with("one block: "));
    CHECK(plan(gpu(), clipped) == "layer by layer, 8 steps a graph: clip_norm wants the whole gradient first");
    const Variable forced("ISTHMUS_CUDA_PLAN", "two_kernels");
    CHECK(plan(gpu()).starts_with("two kernels, 8 steps a graph: 4 blocks of 1 row, "));
}

TEST(a_stop_ends_after_exactly_that_step) {
    const Rows rows = make_rows(90, 5);
    const Program program = build_program(small_configuration(), 5);
    const Variable forced("ISTHMUS_CUDA_PLAN", "two_kernels");
    for (const std::int64_t call : {1, 2, 8, 9, 13, 33, 89}) {
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
    for (const std::int64_t step : {0, 1, 9, 40, 199}) {
        for (const float value : {1e38F, 1e19F}) {  // the loss is infinite; the second moment alone
            Rows spoilt = rows;
            spoilt.values[static_cast<std::size_t>(step * 5)] = value;
            const Range all(order, 1);
            const Result found = train_by("two_kernels", program, spoilt.source(), all.range);
            const Result expected = train_by("layers", program, spoilt.source(), all.range);
            CHECK(found.totals.status == Status::diverged && found.totals.steps_done == step);
            CHECK(expected.totals.status == Status::diverged && expected.totals.steps_done == step);
            CHECK(found.totals.loss_sum == expected.totals.loss_sum);
            CHECK(found.totals.weight_sum == expected.totals.weight_sum);
        }
    }
}
