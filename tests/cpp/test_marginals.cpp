// SPDX-License-Identifier: Apache-2.0
// Marginals and weighted quantiles against their definitions, counted the slow way.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "core/marginals.hpp"
#include "training_fixture.hpp"

using namespace isthmus;
using namespace fixture;

namespace {

double slow_tail(const std::vector<float>& values, const std::vector<float>& weights, std::int64_t cols,
                 std::int64_t row) {
    double sum = 0.0;
    const auto n = static_cast<std::int64_t>(weights.size());
    for (std::int64_t c = 0; c < cols; ++c) {
        double below = 0.0;
        double above = 0.0;
        double total = 0.0;
        const float value = values[static_cast<std::size_t>(row * cols + c)];
        for (std::int64_t r = 0; r < n; ++r) {
            const double weight = weights[static_cast<std::size_t>(r)];
            const float other = values[static_cast<std::size_t>(r * cols + c)];
            total += weight;
            if (other <= value) below += weight;
            if (other >= value) above += weight;
        }
        sum -= std::log(std::min(1.0, 2.0 * std::min(below, above) / total));
    }
    return sum / static_cast<double>(cols);
}

}  // namespace

TEST(tails_are_shares_of_the_weight_on_either_side) {
    Rows rows = make_rows(60, 4);
    for (std::size_t i = 0; i < rows.values.size(); i += 3) rows.values[i] = std::round(rows.values[i] * 2.0F);  // ties
    const std::vector<float> weights = uniform(60, 3, 0.5, 2.0);
    RowSource source = rows.source();
    source.weights = weights.data();
    const std::vector<double> tails = Marginals(source).tails(source.inputs);
    for (std::int64_t r = 0; r < 60; ++r) {
        const double expected = slow_tail(rows.values, weights, 4, r);
        CHECK(std::abs(tails[static_cast<std::size_t>(r)] - expected) < 1e-12);
    }
    rows.values[7] = std::nanf("");
    CHECK_THROWS(Marginals(rows.source()), ErrorKind::value);
}

// What is missing has no tail and no say in that of others: each column is that of the rows that have it.
TEST(missing_values_are_left_out) {
    constexpr std::int64_t kRows = 50;
    constexpr std::int64_t kCols = 4;
    Rows rows = make_rows(kRows, kCols);
    for (std::size_t i = 0; i < rows.values.size(); i += 3) rows.values[i] = std::nanf("");
    std::fill(rows.values.begin(), rows.values.begin() + kCols, std::nanf(""));  // all of the first
    CHECK_THROWS(Marginals(rows.source()), ErrorKind::value);
    const std::vector<double> tails = Marginals(rows.source(), Missing::mask).tails(rows.view());
    CHECK(tails[0] == 0.0);
    for (std::int64_t r = 1; r < kRows; ++r) {
        double sum = 0.0;
        int count = 0;
        for (std::int64_t c = 0; c < kCols; ++c) {
            const float value = rows.view().row(r)[c];
            if (std::isnan(value)) continue;
            std::vector<float> column{value};  // then those of the other rows
            for (std::int64_t other = 0; other < kRows; ++other) {
                const float found = rows.view().row(other)[c];
                if (other != r && !std::isnan(found)) column.push_back(found);
            }
            sum += slow_tail(column, std::vector<float>(column.size(), 1.0F), 1, 0);
            ++count;
        }
        CHECK(std::abs(tails[static_cast<std::size_t>(r)] - sum / count) < 1e-12);
    }
}

TEST(a_row_without_weight_has_no_say) {
    const Rows rows = make_rows(40, 3);
    std::vector<float> weights(40, 1.0F);
    std::fill(weights.begin() + 30, weights.end(), 0.0F);
    RowSource some = rows.source();
    some.weights = weights.data();
    const Rows fewer{{rows.values.begin(), rows.values.begin() + 90}, 3};
    CHECK(Marginals(some).tails(rows.view()) == Marginals(fewer.source()).tails(rows.view()));
}

TEST(quantiles_take_weights_as_repeated_rows) {
    const std::vector<double> values{5.0, 1.0, 4.0, 2.0};
    const std::vector<float> weights{2.0F, 0.0F, 1.0F, 3.0F};
    const std::vector<double> repeated{5.0, 5.0, 4.0, 2.0, 2.0, 2.0};
    for (const double q : {0.0, 0.1, 0.3, 0.5, 0.6, 2.0 / 3.0, 0.9, 1.0}) {
        CHECK(weighted_quantile(values, weights, q) == weighted_quantile(repeated, {}, q));
    }
    CHECK(weighted_quantile(repeated, {}, 0.5) == 3.0);  // numpy.quantile(..., method="averaged_inverted_cdf")
    CHECK(weighted_quantile(repeated, {}, 0.4) == 2.0);
    CHECK(weighted_quantile(repeated, {}, 1.0) == 5.0);
}
