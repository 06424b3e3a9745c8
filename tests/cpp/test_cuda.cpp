// SPDX-License-Identifier: Apache-2.0
// The CUDA device below the trainer, on the emulator or on a GPU (ISTHMUS_CUDA_LIBRARY), layer by layer: products on
// integers compared exactly, single kernels and 50 steps of every network against the CPU, the same bits wherever they
// are promised, and what happens when memory is short. The emulated device is given 16 MB, so that little is much.
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "core/evaluation.hpp"
#include "cuda/plan.hpp"
#include "cuda_products.hpp"
#include "math/names.hpp"

using namespace fixture;

namespace {

const int kLayerByLayer = setenv("ISTHMUS_CUDA_PLAN", "layers", 1);

}  // namespace

TEST(tiles_fill_the_device) {
    using cuda::TileSize;
    const cuda::Limits h200{132, std::int64_t{140} << 30, {}};
    CHECK(cuda::tile_for(4096, 4096, h200) == TileSize::large);  // 1,024 tiles
    CHECK(cuda::tile_for(4096, 512, h200) == TileSize::medium);  // 128 large ones are too few
    CHECK(cuda::tile_for(256, 784, h200) == TileSize::small);    // 52 medium ones
    CHECK(cuda::tile_for(1, 1, h200) == TileSize::small);
    cuda::Limits forced = h200;
    forced.tile = TileSize::large;
    CHECK(cuda::tile_for(1, 1, forced) == TileSize::large);
    const auto parts = [](std::int64_t rows, std::int64_t out, std::int64_t in) {
        const cuda::RowParts found = cuda::row_parts(rows, out, in);
        CHECK((found.count - 1) * found.rows < rows && rows <= found.count * found.rows);
        CHECK(found.count * out * in <= cuda::kPartFloats || found.count == 1);
        return found.count;
    };
    CHECK(parts(256, 32, 784) == 4);  // 25 tiles, 64 rows each
    CHECK(parts(127, 1, 1) == 1);     // too few rows
    CHECK(parts(1 << 20, 33, 65) == 21);
    CHECK(parts(4096, 512, 512) == 1);  // 256 tiles
    CHECK(cuda::piece_rows(1 << 10, h200) == 1 << 18);
    CHECK(cuda::piece_rows(1 << 10, {1, 1 << 24, {}}) == 256);
    CHECK(cuda::piece_rows(INT64_MAX, h200) == 32);
    CHECK(cuda::block_rows(4) == 65536 && cuda::block_rows(1 << 10) == 1 << 10 && cuda::block_rows(1 << 30) == 32);
    CHECK(cuda::steps_a_look(1.0) == 32 && cuda::steps_a_look(1e10) == 5 && cuda::steps_a_look(1e15) == 1);
}

TEST(products_are_exact_on_integers) {
    for_each_tile([] {
        for (const ProductShape& shape : kProductShapes) CHECK(exact_on_integers(gpu().kernels(), shape, {}));
    });
}

TEST(single_kernels_are_those_of_the_cpu) {
    const Kernels& expected = cpu::device().kernels();
    const Kernels& found = gpu().kernels();
    const std::int64_t n = 9;
    for (const std::int64_t width : {1, 5, 64, 300}) {
        Matrix z = uniform_matrix(n, width, 1);
        Matrix dy = uniform_matrix(n, width, 2);
        Matrix weight = uniform_matrix(width + 2, width, 3);
        for (std::size_t a = 0; a < math::names<Activation>().size(); ++a) {
            const auto activation = static_cast<Activation>(a);
            const auto agree = [&](std::int64_t cols, auto&& compute) {
                Matrix from_cpu(n, cols), from_cuda(n, cols);
                compute(expected, from_cpu.view());
                compute(found, from_cuda.view());
                CHECK(relative_error(values_of(from_cuda), values_of(from_cpu)) < 1e-6 && from_cuda.gaps_untouched());
            };
            agree(width, [&](const Kernels& kernels, MutableMatrixView y) {
                kernels.activation_forward(z.view(), activation, y, {});
            });
            agree(width, [&](const Kernels& kernels, MutableMatrixView dz) {
                kernels.activation_backward(z.view(), dy.view(), activation, dz, {});
            });
            agree(width + 2, [&](const Kernels& kernels, MutableMatrixView y) {
                kernels.dense_forward(z.view(), weight.view(), nullptr, activation, y, {});
            });
        }
        Matrix target(n, width);
        for (std::int64_t i = 0; i < n * width; ++i) target.at(i / width, i % width) = static_cast<float>(i % 7) / 6.0F;
        for (std::size_t l = 0; l < math::names<Loss>().size(); ++l) {
            Matrix from_cpu(n, width), from_cuda(n, width);
            const auto loss = static_cast<Loss>(l);
            const double a = expected.loss(loss, z.view(), target.view(), from_cpu.view(), {});
            const double b = found.loss(loss, z.view(), target.view(), from_cuda.view(), {});
            CHECK(std::abs(b / a - 1.0) < 1e-6);
            CHECK(relative_error(values_of(from_cuda), values_of(from_cpu)) < 1e-6 && from_cuda.gaps_untouched());
        }
    }
    for (std::size_t o = 0; o < math::names<Optimizer>().size(); ++o) {
        UpdateRule rule;
        rule.optimizer = static_cast<Optimizer>(o);
        rule.momentum = 0.9;
        rule.weight_decay = 0.01;
        const auto updated = [&](const Kernels& kernels) {
            std::vector<float> flat = uniform(11, 1), m = uniform(11, 2), v = uniform(11, 3, 0.0, 1.0);
            kernels.update(rule, 0.1, 3, flat.data(), uniform(11, 4).data(), m.data(), v.data(), 11, {});
            flat.insert(flat.end(), m.begin(), m.end());
            flat.insert(flat.end(), v.begin(), v.end());
            return flat;
        };
        CHECK(relative_error(updated(found), updated(expected)) < 1e-6);
    }
}

TEST(fifty_steps_are_those_of_the_cpu) {
    const Rows inputs = make_rows(40, 9);
    const Rows targets{uniform(40 * 9, 5, 0.0, 1.0), 9};
    const std::vector<float> weights = uniform(40, 6, 0.5, 2.0);
    const RowSource source{inputs.view(), targets.view(), weights.data()};
    const Range steps(row_numbers(50 * 8 - 3, 40), 8);
    for (std::size_t a = 0; a < math::names<Activation>().size(); ++a) {
        for (std::size_t l = 0; l < math::names<Loss>().size(); ++l) {
            const Program program = build_program(network({7, 3}, static_cast<Activation>(a), static_cast<Loss>(l)), 9);
            for (std::size_t o = 0; o < math::names<Optimizer>().size(); ++o) {
                UpdateRule rule;
                rule.optimizer = static_cast<Optimizer>(o);
                rule.momentum = 0.9;
                rule.weight_decay = 0.01;
                const Result expected = train(cpu::device(), program, source, steps.range, rule);
                const Result found = train(gpu(), program, source, steps.range, rule);
                const double error = relative_error(found.tensors.params, expected.tensors.params);
                CHECK(found.totals.status == Status::complete && found.totals.steps_done == 50);
                CHECK(std::abs(found.totals.loss_sum / expected.totals.loss_sum - 1.0) < 1e-6);
                CHECK(found.totals.weight_sum == expected.totals.weight_sum);
                CHECK(error < 1e-5);
                if (error >= 1e-5) std::printf("activation %zu, loss %zu, optimizer %zu: %g\n", a, l, o, error);
            }
        }
    }
}

TEST(wide_layers_and_every_tile_give_the_same_bits) {
    // Wider than a tile, no multiple of four; a loss whose rows are a block's; clipping.
    const Rows data = make_rows(70, 261);
    const Program program = build_program(network({131, 33}, Activation::gelu, Loss::mse), 261);
    UpdateRule rule;
    rule.clip_norm = 0.01;
    const Range steps(row_numbers(3 * 32, 70), 32);
    const Result expected = train(cpu::device(), program, data.source(), steps.range, rule);
    const Result first = train(gpu(), program, data.source(), steps.range, rule);
    CHECK(relative_error(first.tensors.params, expected.tensors.params) < 1e-5);
    for_each_tile([&] {
        const Result found = train(gpu(), program, data.source(), steps.range, rule);
        CHECK(same_tensors(found.tensors, first.tensors) && found.totals.loss_sum == first.totals.loss_sum);
    });
}

TEST(a_rows_output_does_not_depend_on_the_others) {
    const std::int64_t n = 100;
    const Rows data = make_rows(n, 37);
    const Program program = build_program(network({21, 5}, Activation::silu, Loss::mse), 37);
    const auto model = gpu().compile(program, {});
    model->write({initial_weights(program, 7), {}, {}});
    const auto outputs = [&](std::int64_t chunk) {
        std::vector<float> out(data.values.size());
        for (std::int64_t r = 0; r < n; r += chunk) {
            const std::int64_t rows = std::min(chunk, n - r);
            CHECK(model->run(0, program.ops.size(), {data.view().row(r), rows, 37, 37},
                             {out.data() + r * 37, rows, 37, 37}));
        }
        return out;
    };
    const auto errors = [&](const RowSource& source, std::int64_t chunk) {
        std::vector<double> all(static_cast<std::size_t>(n));
        for (std::int64_t r = 0; r < n; r += chunk) {
            const std::int64_t rows = std::min(chunk, n - r);
            model->row_errors(slice(source, r, rows),
                              std::span(all).subspan(static_cast<std::size_t>(r), static_cast<std::size_t>(rows)), {});
        }
        return all;
    };
    const std::vector<float> whole = outputs(n);
    const std::vector<double> whole_errors = errors(data.source(), n);
    RowSource held = data.source();
    held.resident = model->hold(held);
    CHECK(held.resident != nullptr);
    for (const std::int64_t chunk : {1, 5, 33, 64}) {
        CHECK(same_bits(outputs(chunk), whole));
        CHECK(errors(data.source(), chunk) == whole_errors);
        CHECK(errors(held, chunk) == whole_errors);
    }
    // Any range of ops, and each element's loss.
    std::vector<float> code(static_cast<std::size_t>(n * 5)), out(data.values.size()), losses(data.values.size());
    CHECK(model->run(0, program.code_op + 1, data.view(), {code.data(), n, 5, 5}));
    CHECK(model->run(program.code_op + 1, program.ops.size(), {code.data(), n, 5, 5}, {out.data(), n, 37, 37}));
    CHECK(same_bits(out, whole));
    std::vector<double> again(static_cast<std::size_t>(n));
    model->row_errors(data.source(), again, MutableMatrixView{losses.data(), n, 37, 37});
    CHECK(again == whole_errors);
    bool right = true;
    for (std::size_t i = 0; i < losses.size(); ++i) {
        const float difference = whole[i] - data.values[i];
        right &= losses[i] == difference * difference;
    }
    CHECK(right);
}

TEST(blocks_of_rows_go_through_two_lanes) {
    // 4 columns: 65,536 rows a block. Views with any stride; a value that is not finite in the last block.
    const std::int64_t n = 2 * 65536 + 5;
    const Program program = build_program(network({2}, Activation::linear, Loss::mse), 3);
    const auto model = gpu().compile(program, {});
    model->write({initial_weights(program, 7), {}, {}});
    Rows data = make_rows(n, 3);
    std::vector<float> out(data.values.size());
    CHECK(model->run(0, 2, data.view(), {out.data(), n, 3, 3}));
    for (const std::int64_t row : {std::int64_t{0}, std::int64_t{65536}, n - 1}) {
        std::vector<float> single(3);
        CHECK(model->run(0, 2, {data.view().row(row), 1, 3, 3}, {single.data(), 1, 3, 3}));
        CHECK(std::equal(single.begin(), single.end(), out.begin() + row * 3));
    }
    std::vector<float> reversed(data.values.size());
    CHECK(model->run(0, 2, {data.view().row(n - 1), n, 3, -3}, {reversed.data() + (n - 1) * 3, n, 3, -3}));
    CHECK(same_bits(reversed, out));
    data.values.back() = kNaN;
    CHECK(!model->run(0, 2, data.view(), {out.data(), n, 3, 3}));
}

TEST(two_runs_give_the_same_bits) {
    const Rows rows = make_rows(60, 6);
    Configuration configuration = small_configuration();
    configuration.input_noise = 0.2;
    configuration.clip_norm = 0.05;
    Trained first(gpu(), configuration, 6);
    Trained second(gpu(), configuration, 6);
    first.fit(rows.source());
    second.fit(rows.source());
    CHECK(same_tensors(first.state.tensors, second.state.tensors) && same_progress(first.state, second.state));
}

TEST(the_bits_do_not_depend_on_what_runs_first) {
    if (!emulated()) return;
    const Rows rows = make_rows(60, 261);
    Configuration configuration = network({70, 3}, Activation::tanh, Loss::mse);
    configuration.input_noise = 0.2;
    configuration.clip_norm = 0.05;
    configuration.batch_size = 16;
    configuration.epochs = 2;
    const auto trained = [&] {
        Trained result(gpu(), configuration, 261);
        result.fit(rows.source());
        return result;
    };
    const Trained expected = trained();
    for (const char* order : {"forward", "reverse", "1", "2", "3"}) {
        for (const char* streams : {"early", "late", "1"}) {
            const Variable first("ISTHMUS_EMULATOR_ORDER", order);
            const Variable second("ISTHMUS_EMULATOR_STREAMS", streams);
            const Trained found = trained();
            CHECK(same_tensors(found.state.tensors, expected.state.tensors));
            CHECK(same_progress(found.state, expected.state));
        }
    }
}

TEST(a_stop_ends_after_exactly_the_steps_that_were_queued) {
    const Rows rows = make_rows(90, 5);
    const Program program = build_program(small_configuration(), 5);
    for (const std::int64_t call : {1, 31, 32, 33, 64, 70, 89}) {
        const auto model = gpu().compile(program, {});
        model->write({initial_weights(program, 7), {}, {}});
        const Range all(row_numbers(90, 90), 1);
        StopAtCall stop(call);
        const Totals totals = model->train(rows.source(), all.range, {}, nullptr, stop);
        CHECK(totals.status == Status::stopped && totals.steps_done == call && stop.calls() == call);
        Tensors tensors;
        model->read(tensors);
        const Range some(row_numbers(call, 90), 1);
        const Result expected = train(gpu(), program, rows.source(), some.range);
        CHECK(same_tensors(tensors, expected.tensors) && totals.loss_sum == expected.totals.loss_sum);
        CHECK(totals.weight_sum == static_cast<double>(call));
    }
}

TEST(the_first_step_that_diverges_is_named) {
    Rows rows = make_rows(200, 5);
    const Program program = build_program(network({3}, Activation::linear, Loss::mse), 5);
    for (const std::int64_t step : {0, 1, 40, 100, 199}) {
        Rows spoilt = rows;
        spoilt.values[static_cast<std::size_t>(step * 5)] = 1e38F;
        std::vector<std::int64_t> order(200);
        std::iota(order.begin(), order.end(), std::int64_t{0});
        const Range all(order, 1);
        const Result found = train(gpu(), program, spoilt.source(), all.range);
        CHECK(found.totals.status == Status::diverged && found.totals.steps_done == step);
        const Result expected = train(cpu::device(), program, spoilt.source(), all.range);
        CHECK(expected.totals.steps_done == step);
        CHECK(std::abs(found.totals.loss_sum - expected.totals.loss_sum) <= 1e-6 * expected.totals.loss_sum);
        CHECK(found.totals.weight_sum == expected.totals.weight_sum);
    }
}

TEST(batches_larger_than_a_piece_are_those_of_the_cpu) {
    if (!emulated()) return;      // a GPU takes them whole
    const std::int64_t n = 7000;  // 64 floats a row: pieces of 4,096
    const Rows data = make_rows(n, 5);
    const std::vector<float> weights = uniform(n, 3, 0.5, 1.5);
    RowSource source = data.source();
    source.weights = weights.data();
    const Program program = build_program(network({7, 3}, Activation::tanh, Loss::mse), 5);
    const Range steps(row_numbers(2 * n, n), n, 1e-2);
    const Result expected = train(cpu::device(), program, source, steps.range);
    const Result found = train(gpu(), program, source, steps.range);
    CHECK(relative_error(found.tensors.params, expected.tensors.params) < 1e-5);
    CHECK(std::abs(found.totals.loss_sum / expected.totals.loss_sum - 1.0) < 1e-6);
    const auto gradient = [&](const Device& device) {
        const auto model = device.compile(program, {});
        model->write({initial_weights(program, 7), {}, {}});
        std::vector<float> flat(static_cast<std::size_t>(program.flat_size));
        model->gradient(source, flat);
        return flat;
    };
    CHECK(relative_error(gradient(gpu()), gradient(cpu::device())) < 1e-5);
}

TEST(rows_that_do_not_fit_are_streamed_to_the_same_bits) {
    if (!emulated()) return;
    const std::int64_t n = 120000;  // 13 MB with their targets: more than half of 16
    const Rows data = make_rows(n, 13);
    const Rows targets = make_rows(n, 13, 2);
    const std::vector<float> weights = uniform(n, 3, 0.5, 1.5);
    const RowSource all{data.view(), targets.view(), weights.data()};
    const Program program = build_program(network({7, 3}, Activation::tanh, Loss::mse), 13);
    CHECK(gpu().compile(program, {})->hold(all) == nullptr);
    const RowSource some = slice(all, 0, 500);
    CHECK(gpu().compile(program, {})->hold(some) != nullptr);
    Range steps(row_numbers(40 * 16 - 5, 500), 16);
    for (const float noise : {0.0F, 0.2F}) {
        steps.range.noise = {NoiseKind::gaussian, noise, 3, 1};
        const Result expected = train(cpu::device(), program, some, steps.range);
        const Result held = train(gpu(), program, some, steps.range);
        CHECK(relative_error(held.tensors.params, expected.tensors.params) < 1e-5);
        // Whichever of the two streams is ahead.
        for (const char* streams : {"early", "late", "1", "2", "3", "4", "5", "6"}) {
            const Variable ahead("ISTHMUS_EMULATOR_STREAMS", streams);
            const Result streamed = train(gpu(), program, all, steps.range);
            CHECK(same_tensors(streamed.tensors, held.tensors) && streamed.totals.loss_sum == held.totals.loss_sum);
        }
    }
}

TEST(out_of_memory_is_an_error_that_leaves_the_model_usable) {
    if (!emulated()) return;
    const Rows rows = make_rows(40, 6);
    Trained expected(gpu(), small_configuration(), 6);
    expected.fit(rows.source());
    Trained trained(gpu(), small_configuration(), 6);
    const Program large = build_program(network({1000}, Activation::relu, Loss::mse), 1000);  // 24 MB with moments
    try {
        gpu().compile(large, {});
        CHECK(!"thrown");
    } catch (const Error& error) {
        const std::string text = error.what();
        CHECK(error.kind() == ErrorKind::memory);
        CHECK(text.find("out of memory") != std::string::npos && text.find("bytes asked") != std::string::npos);
    }
    // Nothing is left for a range's buffers, then something is: the same model goes on as if nothing had been.
    std::vector<float> out(rows.values.size());
    const MutableMatrixView view{out.data(), rows.rows(), 6, 6};
    {
        const Variable memory("ISTHMUS_EMULATOR_MEMORY", "4096");
        CHECK_THROWS(trained.fit(rows.source()), ErrorKind::memory);
        CHECK_THROWS(trained.model->run(0, trained.program.ops.size(), rows.view(), view), ErrorKind::memory);
    }
    trained.fit(rows.source());
    CHECK(same_tensors(trained.state.tensors, expected.state.tensors));
    CHECK(trained.model->run(0, trained.program.ops.size(), rows.view(), view));
}

TEST(threads_may_share_a_model) {
    const Rows data = make_rows(64, 6);
    Trained trained(gpu(), small_configuration(), 6);
    const auto output = [&] {
        std::vector<float> out(data.values.size());
        trained.model->run(0, trained.program.ops.size(), data.view(), {out.data(), 64, 6, 6});
        return out;
    };
    const std::vector<float> alone = output();
    std::vector<std::vector<float>> found(4);
    std::vector<std::thread> threads;
    for (auto& out : found) threads.emplace_back([&] { out = output(); });
    for (std::thread& thread : threads) thread.join();
    for (const auto& out : found) CHECK(same_bits(out, alone));
}
