// SPDX-License-Identifier: Apache-2.0
// Layers that are wide enough for the tensor cores of compute capability 9.0, beside narrow ones, in models and single
// kernels: on wgmma and, where ISTHMUS_CUDA_WGMMA is off, on mma.sync. Exact on integers, within the precision of
// float32 on networks, graphs of steps with the bits of single ones, rows that do not depend on the others.
#include <string>
#include <vector>

#include "check.hpp"
#include "cuda/product_plan.hpp"
#include "cuda_plans.hpp"
#include "cuda_products.hpp"

using namespace fixture;
using cuda::Arithmetic;

namespace {

const int kLayerByLayer = setenv("ISTHMUS_CUDA_PLAN", "layers", 1);
const int kRoomForParts = setenv("ISTHMUS_EMULATOR_MEMORY", "67108864", 1);  // 8 MB for a model

// f(options, tolerance) for each arithmetic on tensor cores, with wgmma and without.
template <class F>
void for_each_way(F&& f) {
    for (const char* wgmma : {"on", "off"}) {
        const Variable chosen("ISTHMUS_CUDA_WGMMA", wgmma);
        for (const auto& [precision, float32, tolerance] :
             {std::tuple{Precision::bfloat16, "simt", 2e-2}, {Precision::float32, "bf16x6", 1e-5}}) {
            const Variable planes("ISTHMUS_CUDA_FLOAT32", float32);
            CompileOptions options;
            options.precision = precision;
            f(options, tolerance);
        }
    }
}

// Of two wide layers the first reads 130 columns, whose planes are a copy with wider rows, the last 136, whose planes
// lie among those of all parameters. Two are narrow.
Program mixed(Activation activation = Activation::tanh) {
    return build_program(network({136, 9}, activation, Loss::mse), 130);
}

}  // namespace

TEST(widths_alone_decide) {
    cuda::Limits limits = kH200;
    limits.wgmma = true;
    const auto taken = [&](Arithmetic arithmetic, std::int64_t rows, std::int64_t in, std::int64_t out) {
        return cuda::product_plan(arithmetic, rows, out, in, out, limits).wgmma.columns > 0;
    };
    for (const std::int64_t rows : {1, 7, 128, 100000}) {
        for (const Arithmetic arithmetic : {Arithmetic::bfloat16, Arithmetic::bf16x6}) {
            CHECK(taken(arithmetic, rows, 128, 128) && taken(arithmetic, rows, 2048, 4096));
            CHECK(!taken(arithmetic, rows, 127, 4096) && !taken(arithmetic, rows, 4096, 127));
        }
        CHECK(!taken(Arithmetic::tf32, rows, 4096, 4096) && !taken(Arithmetic::simt, rows, 4096, 4096));
    }
    limits.wgmma = false;
    CHECK(!taken(Arithmetic::bfloat16, 128, 4096, 4096));
}

TEST(an_unknown_word_is_named) {
    const Variable other("ISTHMUS_CUDA_WGMMA", "maybe");
    try {
        gpu().compile(mixed(), {});
        CHECK(false);
    } catch (const isthmus::Error& error) {
        CHECK(error.kind() == ErrorKind::value);
        CHECK(std::string(error.what()) == "ISTHMUS_CUDA_WGMMA is 'maybe'; it must be on or off");
    }
}

TEST(products_of_wide_layers_are_exact_on_integers) {
    // One row; around a tile; a gradient in parts.
    for (const ProductShape& shape :
         std::vector<ProductShape>{{1, 128, 128}, {70, 131, 140}, {40, 257, 130}, {600, 129, 136}}) {
        for_each_way(
            [&](const CompileOptions& options, double) { CHECK(exact_on_integers(gpu().kernels(), shape, options)); });
    }
}

TEST(gradients_of_wide_networks_are_within_the_precision) {
    const Rows data = make_rows(50, 130);
    for (const Activation activation : {Activation::tanh, Activation::gelu}) {  // gelu keeps z
        const Program program = mixed(activation);
        const std::vector<float> params = initial_weights(program, 7);
        const auto gradient = [&](const Device& device, const CompileOptions& options) {
            const auto model = device.compile(program, options);
            model->write({params, {}, {}});
            std::vector<float> flat(static_cast<std::size_t>(program.flat_size));
            model->gradient(data.source(), flat);
            return flat;
        };
        const std::vector<float> expected = gradient(*devices().front(), {});
        for_each_way([&](const CompileOptions& options, double tolerance) {
            CHECK(relative_error(gradient(gpu(), options), expected) < tolerance);
        });
    }
}

TEST(graphs_have_the_bits_of_single_steps_in_every_precision) {
    const Rows data = make_rows(40, 130);
    const Program program = mixed();
    const std::vector<float> weights = uniform(40, 3, 0.5, 2.0);
    UpdateRule rule;
    rule.clip_norm = 0.05;
    Range steps(row_numbers(9 * 4 + 1, 40), 4, 0.01);  // a step, a graph, a smaller batch
    steps.range.noise = {NoiseKind::gaussian, 0.2F, 5, 2};
    const RowSource source{data.view(), {}, weights.data()};
    // What training leaves, and what the products of inference then read.
    const auto trained = [&](const CompileOptions& options, bool in_pieces) {
        Training training(program, source, rule, options);
        std::pair<Result, std::vector<float>> left;
        for (int epoch = 0; epoch < 2; ++epoch) {
            left.first.totals = in_pieces ? training.run_in_pieces(steps.range) : training.run(steps.range);
            CHECK((training.model().last_plan().find("8 steps a graph") != std::string::npos) == !in_pieces);
        }
        left.first.tensors = training.tensors();
        left.second.resize(data.values.size());
        CHECK(training.model().run(0, program.ops.size(), data.view(), {left.second.data(), 40, 130, 130}));
        return left;
    };
    const auto check = [&](const CompileOptions& options) {
        const auto graphs = trained(options, false), single = trained(options, true);
        CHECK(same(graphs.first, single.first) && same_bits(graphs.second, single.second));
        // A model that is given these weights reads the same planes.
        const auto other = gpu().compile(program, options);
        other->write(graphs.first.tensors);
        std::vector<float> out(data.values.size());
        CHECK(other->run(0, program.ops.size(), data.view(), {out.data(), 40, 130, 130}));
        CHECK(same_bits(out, graphs.second));
        return graphs.first;
    };
    const Result exact = check({});
    CompileOptions tf32;
    tf32.precision = Precision::tf32;
    CHECK(!same(check(tf32), exact));
    std::vector<Result> found;
    for_each_way([&](const CompileOptions& options, double) { found.push_back(check(options)); });
    for (const Result& result : found) {
        CHECK(!same_tensors(result.tensors, exact.tensors));  // another arithmetic
        CHECK(result.totals.status == Status::complete);
    }
    if (emulated()) CHECK(!same(found[0], found[2]) && !same(found[1], found[3]));  // wgmma cuts sums elsewhere
}

TEST(the_bits_do_not_depend_on_the_order_of_threads_nor_on_time) {
    if (!emulated()) return;
    const Rows data = make_rows(20, 130);
    const Range steps(row_numbers(10 * 2, 20), 2, 0.01);
    CompileOptions options;
    options.precision = Precision::bfloat16;
    const auto trained = [&] { return train(gpu(), mixed(), data.source(), steps.range, {}, options); };
    const Result first = trained();
    for (const char* order : {"reverse", "1", "2"}) {
        const Variable chosen("ISTHMUS_EMULATOR_ORDER", order);
        const Variable streams("ISTHMUS_EMULATOR_STREAMS", order[0] == 'r' ? "late" : order);
        CHECK(same(trained(), first));
    }
}

TEST(a_rows_output_does_not_depend_on_the_others) {
    const std::int64_t n = 40;
    const Rows data = make_rows(n, 130);
    const Program program = mixed();
    for_each_way([&](const CompileOptions& options, double) {
        const auto model = gpu().compile(program, options);
        model->write({initial_weights(program, 7), {}, {}});
        std::vector<float> whole(data.values.size());
        CHECK(model->run(0, program.ops.size(), data.view(), {whole.data(), n, 130, 130}));
        for (const std::int64_t chunk : {5, 33}) {
            for (std::int64_t r = 0; r < n; r += chunk) {
                const std::int64_t rows = std::min(chunk, n - r);
                std::vector<float> out(static_cast<std::size_t>(rows * 130));
                CHECK(model->run(0, program.ops.size(), {data.view().row(r), rows, 130, 130},
                                 {out.data(), rows, 130, 130}));
                CHECK(std::equal(out.begin(), out.end(), whole.begin() + r * 130));
            }
        }
    });
}
