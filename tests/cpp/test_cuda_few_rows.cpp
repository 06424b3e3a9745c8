// SPDX-License-Identifier: Apache-2.0
// A few rows in one launch: which networks do it, and that they have the bits of the layers one by one, which is how
// many rows go; over widths, activations, ranges of layers and threads' orders.
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "cuda/few_rows_plan.hpp"
#include "cuda_plans.hpp"

using namespace fixture;

namespace {

std::optional<cuda::RowBlockLayout> layout_of(const Program& program, const cuda::Limits& limits = kH200,
                                              cuda::Arithmetic arithmetic = cuda::Arithmetic::simt) {
    return cuda::few_rows_layout(cuda::Network(program, arithmetic), 0, program.ops.size(), limits);
}

// Rows one at a time, and some at a time, as they come all together: 40 are too many for one launch.
bool agrees(const Program& program, std::size_t first, std::size_t last) {
    constexpr std::int64_t kRows = 40;
    static_assert(kRows > cuda::kFewRows);
    const auto model = gpu().compile(program, {});
    model->write({initial_weights(program, 7), {}, {}});
    const std::int64_t in = program.width(first), out = program.width(last);
    const Rows rows = make_rows(kRows, in);
    const auto run = [&](std::int64_t chunk) {
        std::vector<float> y(static_cast<std::size_t>(kRows * out), std::numeric_limits<float>::quiet_NaN());
        for (std::int64_t r = 0; r < kRows; r += chunk) {
            const std::int64_t n = std::min(chunk, kRows - r);
            CHECK(model->run(first, last, {rows.view().row(r), n, in, in}, {y.data() + r * out, n, out, out}));
        }
        return y;
    };
    const std::vector<float> expected = run(kRows);
    return same_bits(run(1), expected) && same_bits(run(16), expected) && same_bits(run(7), expected);
}

}  // namespace

TEST(small_layers_go_together) {
    const Program b = build_program(network({32}, Activation::relu, Loss::bce), 784);
    const auto layout = layout_of(b);
    CHECK(layout && layout->n_passes == 2 && layout->rows == 1 && 4 * layout->floats <= kShared);
    for (const cuda::Arithmetic other :
         {cuda::Arithmetic::tf32, cuda::Arithmetic::bfloat16, cuda::Arithmetic::bf16x6}) {
        CHECK(!layout_of(b, kH200, other));
    }
    cuda::Limits limits = kH200;
    limits.shared_memory = 16 * 1024;
    CHECK(!layout_of(b, limits));
    CHECK(!layout_of(build_program(network({4096}, Activation::relu, Loss::mse), 2048)));  // 64 MB for one block
    CHECK(!layout_of(build_program(network({3}, Activation::relu, Loss::mse), 4097)));
    CHECK(!layout_of(build_program(network({9, 8, 7, 6, 5, 4, 3}, Activation::relu, Loss::mse), 10)));  // 14 layers
}

TEST(every_shape_and_activation_has_the_same_bits) {
    for_each<Activation>([&](Activation activation) {
        const Program program = build_program(network({7, 3}, activation, Loss::mse), 9);
        CHECK(layout_of(program).has_value() && agrees(program, 0, program.ops.size()));
    });
    struct Shape {
        std::vector<std::int64_t> layers;
        std::int64_t features;
    };
    for (const Shape& shape : std::vector<Shape>{
             {{1}, 1}, {{3}, 5}, {{32}, 784}, {{33, 7}, 130}, {{301}, 257}, {{5, 4, 3, 2, 3}, 8}, {{2}, 1021}}) {
        const Program program = build_program(network(shape.layers, Activation::gelu, Loss::bce), shape.features);
        CHECK(layout_of(program).has_value());
        CHECK(agrees(program, 0, program.ops.size()));
        CHECK(agrees(program, 0, program.code_op + 1) && agrees(program, program.code_op + 1, program.ops.size()));
    }
}

TEST(the_order_of_threads_and_time_change_nothing) {
    if (!emulated()) return;
    const Program program = build_program(network({21, 5}, Activation::tanh, Loss::mse), 70);
    for (const char* order : {"forward", "reverse", "1", "2", "3"}) {
        for (const char* streams : {"early", "late"}) {
            const Variable first("ISTHMUS_EMULATOR_ORDER", order);
            const Variable second("ISTHMUS_EMULATOR_STREAMS", streams);
            CHECK(agrees(program, 0, program.ops.size()));
        }
    }
}

TEST(a_value_that_is_not_finite_is_seen) {
    const Program program = build_program(network({3}, Activation::relu, Loss::mse), 5);
    const auto model = gpu().compile(program, {});
    model->write({initial_weights(program, 7), {}, {}});
    Rows rows = make_rows(3, 5);
    std::vector<float> out(15);
    const auto run = [&] { return model->run(0, 2, rows.view(), {out.data(), 3, 5, 5}); };
    CHECK(run());
    rows.values[7] = std::numeric_limits<float>::infinity();
    CHECK(!run());
}
