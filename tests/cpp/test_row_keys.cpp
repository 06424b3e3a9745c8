// SPDX-License-Identifier: Apache-2.0
// Noise and draws know rows by their keys: rows that were put together in the order of an epoch, keyed by the numbers
// that they had, train with the bits of the rows where they were, on every device and by every plan of a GPU.
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "cuda_fixture.hpp"

using namespace fixture;

namespace {

constexpr std::int64_t kRows = 90;
constexpr std::int64_t kCols = 12;

// Everything that keys decide: the noise's two kinds, and what a code is drawn by.
std::vector<Configuration> drawn_by_keys() {
    std::vector<Configuration> all(3, small_configuration());
    all[0].input_noise = all[1].input_noise = 0.3;
    all[1].input_noise_kind = NoiseKind::mask;
    all[2].kind = ModelKind::variational_autoencoder;
    return all;
}

// A range of 10 steps over all rows in some order, as a trainer would ask for it.
struct Ordered {
    Rows rows = make_rows(kRows, kCols);
    std::vector<float> weights = uniform(kRows, 3, 0.5, 2.0);
    Range range{row_numbers(kRows, kRows), 9};
    Rows together{{}, kCols};
    std::vector<float> weights_together;

    explicit Ordered(const Configuration& configuration) {
        range.range.noise = {configuration.input_noise_kind, static_cast<float>(configuration.input_noise), 5, 2};
        for (const std::int64_t row : range.rows) {
            const float* const values = rows.view().row(row);
            together.values.insert(together.values.end(), values, values + kCols);
            weights_together.push_back(weights[static_cast<std::size_t>(row)]);
        }
    }

    bool agree(const Device& device, const Program& program, bool weighted) const {
        RowSource where_they_were = rows.source();
        RowSource gathered = together.source();
        if (weighted) {
            where_they_were.weights = weights.data();
            gathered.weights = weights_together.data();
        }
        gathered.keys = range.rows.data();
        Range in_order(row_numbers(kRows, kRows, 1), 9);
        in_order.range.noise = range.range.noise;
        const Result expected = train(device, program, where_they_were, range.range);
        const Result found = train(device, program, gathered, in_order.range);
        gathered.keys = nullptr;
        const Result unkeyed = train(device, program, gathered, in_order.range);
        return same_tensors(expected.tensors, found.tensors) && expected.totals.loss_sum == found.totals.loss_sum &&
               !same_tensors(expected.tensors, unkeyed.tensors);
    }

    // Sparse rows never stay on a device.
    bool agree_sparse(const Device& device, const Program& program) const {
        std::vector<std::int64_t> offsets(1, 0);
        std::vector<std::int32_t> columns;
        for (std::int64_t r = 0; r < kRows; ++r) {
            for (std::int32_t c = 0; c < kCols; ++c) columns.push_back(c);
            offsets.push_back(static_cast<std::int64_t>(columns.size()));
        }
        const auto sparse = [&](const Rows& dense, const std::int64_t* keys, const StepRange& steps) {
            RowSource source{{nullptr, kRows, kCols, 0}, {}, nullptr};
            source.sparse = CsrView{offsets.data(), columns.data(), dense.values.data()};
            source.keys = keys;
            return train(device, program, source, steps).tensors;
        };
        Range in_order(row_numbers(kRows, kRows, 1), 9);
        in_order.range.noise = range.range.noise;
        return same_tensors(sparse(rows, nullptr, range.range), sparse(together, range.rows.data(), in_order.range));
    }
};

}  // namespace

TEST(rows_are_known_by_their_keys) {
    for (const Configuration& configuration : drawn_by_keys()) {
        const Program program = build_program(configuration, kCols);
        const Ordered ordered(configuration);
        for (const Device* device : devices()) {
            CHECK(ordered.agree(*device, program, false) && ordered.agree(*device, program, true));
            if (device != devices().front()) CHECK(ordered.agree_sparse(*device, program));
        }
        if (cuda_device_to_test() == nullptr || program.penalty) continue;
        for (const char* const plan : {"two_kernels", "layers"}) {
            const Variable forced("ISTHMUS_CUDA_PLAN", plan);
            CHECK(ordered.agree(gpu(), program, true));
        }
    }
}
