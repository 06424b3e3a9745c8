// SPDX-License-Identifier: Apache-2.0
// Sparse rows on the CUDA device: their zeros are made there, a batch at a time, and change no bit.
#include <span>

#include "check.hpp"
#include "cuda_plans.hpp"

using namespace isthmus;
using namespace fixture;

namespace {

constexpr std::int64_t kCols = 37;  // no multiple of 4

// Rows 0 to n - 1, ever fuller to the last: the buffer of a batch's entries has to grow while another is computed on.
// Every fifth row is empty, whole batches at first.
struct SparseRows {
    std::vector<std::int64_t> offsets{0};
    std::vector<std::int32_t> columns;
    std::vector<float> values;
    Rows dense;

    explicit SparseRows(std::int64_t n) : dense{std::vector<float>(static_cast<std::size_t>(n * kCols)), kCols} {
        const std::vector<float> all = uniform(n * kCols, 5);
        for (std::int64_t r = 0; r < n; ++r) {
            const std::int64_t count = r < n / 4 || r % 5 == 0 ? 0 : 1 + r * (kCols - 1) / n;
            for (std::int64_t i = 0; i < count; ++i) {
                const std::int64_t col = i * kCols / count;
                const float value = all[static_cast<std::size_t>(r * kCols + col)];
                columns.push_back(static_cast<std::int32_t>(col));
                values.push_back(value);
                dense.values[static_cast<std::size_t>(r * kCols + col)] = value;
            }
            offsets.push_back(static_cast<std::int64_t>(columns.size()));
        }
    }

    RowSource source(const float* weights) const {
        RowSource source{{nullptr, dense.rows(), kCols, 0}, {}, weights};
        source.sparse = CsrView{offsets.data(), columns.data(), values.data()};
        return source;
    }
    RowSource dense_source(const float* weights) const { return {dense.view(), {}, weights}; }
};

std::vector<std::int64_t> ascending(std::int64_t n) {
    std::vector<std::int64_t> numbers;
    for (std::int64_t i = 0; i < n; ++i) numbers.push_back(i);
    return numbers;
}

}  // namespace

TEST(sparse_rows_have_the_bits_of_dense_ones) {
    constexpr std::int64_t kRows = 210;
    const SparseRows rows(kRows);
    const std::vector<float> some = uniform(kRows, 3, 0.5, 1.5);
    const Program program = build_program(network({7, 3}, Activation::tanh, Loss::mse), kCols);
    for (const float* weights : {static_cast<const float*>(nullptr), some.data()}) {
        for (const float noise : {0.0F, 0.2F}) {
            for (const std::int64_t batch : {1, 16}) {
                Range steps(batch == 1 ? row_numbers(40, kRows) : ascending(kRows), batch);
                steps.range.noise = {NoiseKind::mask, noise, 3, 1};
                const Result dense = train(gpu(), program, rows.dense_source(weights), steps.range);
                // Whichever of the copies and the kernels are ahead.
                for (const char* streams : {"early", "late", "1", "2"}) {
                    const Variable ahead("ISTHMUS_EMULATOR_STREAMS", streams);
                    CHECK(same(train(gpu(), program, rows.source(weights), steps.range), dense));
                }
            }
        }
    }
}

TEST(the_order_of_threads_changes_nothing) {
    const SparseRows rows(64);
    const Program program = build_program(network({7, 3}, Activation::tanh, Loss::mse), kCols);
    const Range steps(ascending(64), 16);
    const Result expected = train(gpu(), program, rows.source(nullptr), steps.range);
    for (const char* order : {"reverse", "1", "2", "3"}) {
        const Variable threads("ISTHMUS_EMULATOR_ORDER", order);
        CHECK(same(train(gpu(), program, rows.source(nullptr), steps.range), expected));
    }
}

TEST(every_plan_declines_sparse_rows_but_the_one_for_all) {
    const SparseRows rows(64);
    const Program program = build_program(network({7, 3}, Activation::tanh, Loss::mse), kCols);
    const Range steps(ascending(64), 16);
    for (const char* const plan : {"one_block", "two_kernels"}) {
        const Variable forced("ISTHMUS_CUDA_PLAN", plan);
        CHECK_THROWS(train(gpu(), program, rows.source(nullptr), steps.range), ErrorKind::runtime);
    }
}

TEST(the_gradient_of_sparse_rows) {
    const SparseRows rows(50);
    const Program program = build_program(network({7, 3}, Activation::tanh, Loss::mse), kCols);
    const auto gradient = [&](const RowSource& source) {
        const auto model = gpu().compile(program, {});
        model->write({initial_weights(program, 7), {}, {}});
        std::vector<float> flat(static_cast<std::size_t>(program.flat_size));
        model->gradient(source, flat);
        return flat;
    };
    CHECK(same_bits(gradient(rows.source(nullptr)), gradient(rows.dense_source(nullptr))));
}
