// SPDX-License-Identifier: Apache-2.0
#include "core/marginals.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace isthmus {
namespace {

constexpr std::int64_t kSample = std::int64_t{1} << 22;  // elements
constexpr std::int64_t kFewest = 1024;                   // rows of a sample, however wide
// Rounding of a share times a sum of weights.
constexpr double kSlack = 1e-12;

}  // namespace

Marginals::Marginals(const Samples& samples, Missing missing)
    : columns_(static_cast<std::size_t>(samples.inputs.cols)) {
    const Table& table = samples.inputs;
    const std::int64_t most = std::max(kFewest, kSample / table.cols);
    const std::int64_t distance = (table.rows + most - 1) / most;
    std::vector<std::int64_t> rows;
    for (std::int64_t row = 0; row < table.rows; row += distance) {
        if (samples.weights == nullptr || samples.weights[row] > 0.0F) rows.push_back(row);
    }
    std::vector<double> sample(rows.size() * columns_.size());
    for (std::size_t i = 0; i < rows.size(); ++i) read_row(table, rows[i], sample.data() + i * columns_.size());
    for (std::size_t i = 0; i < sample.size(); ++i) {
        if (std::isfinite(sample[i]) || (missing == Missing::mask && std::isnan(sample[i]))) continue;
        refuse_non_finite(table, {rows[i / columns_.size()], static_cast<std::int64_t>(i % columns_.size())},
                          kRowNames.inputs, 0);
    }
    std::vector<std::size_t> order;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
        const auto value = [&](std::size_t i) { return sample[i * columns_.size() + c]; };
        order.clear();
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (!std::isnan(value(i))) order.push_back(i);
        }
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return value(a) < value(b); });
        Column& column = columns_[c];
        column.least = 0.5 / static_cast<double>(std::max<std::size_t>(1, order.size()));
        double sum = 0.0;
        for (const std::size_t i : order) {
            sum += samples.weights != nullptr ? double{samples.weights[rows[i]]} : 1.0;
            if (column.values.empty() || column.values.back() != value(i)) {
                column.values.push_back(value(i));
                column.weight.push_back(sum);
            } else {
                column.weight.back() = sum;
            }
        }
    }
}

std::vector<double> Marginals::tails(const Table& table) const {
    std::vector<double> result(static_cast<std::size_t>(table.rows));
    std::vector<double> row(columns_.size());
    for (std::int64_t r = 0; r < table.rows; ++r) {
        read_row(table, r, row.data());
        double sum = 0.0;
        std::size_t observed = 0;
        for (std::size_t c = 0; c < columns_.size(); ++c) {
            const Column& column = columns_[c];
            if (std::isnan(row[c])) continue;
            ++observed;
            if (column.values.empty()) continue;
            const auto first = column.values.begin();
            const double total = column.weight.back();
            const auto above = std::upper_bound(first, column.values.end(), row[c]) - first;
            const bool found = above > 0 && column.values[static_cast<std::size_t>(above - 1)] == row[c];
            const auto weight_of = [&](std::ptrdiff_t count) {
                return count > 0 ? column.weight[static_cast<std::size_t>(count - 1)] : 0.0;
            };
            const double share = std::min(weight_of(above), total - weight_of(found ? above - 1 : above)) / total;
            sum -= std::log(std::clamp(2.0 * share, column.least, 1.0));
        }
        result[static_cast<std::size_t>(r)] = sum / static_cast<double>(std::max<std::size_t>(1, observed));
    }
    return result;
}

double weighted_quantile(std::span<const double> values, std::span<const float> weights, double q) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
    const auto weight = [&](std::size_t i) { return weights.empty() ? 1.0 : double{weights[i]}; };
    double total = 0.0;
    for (const std::size_t i : order) total += weight(i);
    const double wanted = q * total;
    double sum = 0.0;
    const double* before = nullptr;  // the value that reached the share exactly
    for (const std::size_t i : order) {
        if (weight(i) <= 0.0) continue;
        if (before != nullptr) return 0.5 * (*before + values[i]);
        sum += weight(i);
        if (std::abs(sum - wanted) <= kSlack * total) {
            before = &values[i];
        } else if (sum > wanted) {
            return values[i];
        }
    }
    return before != nullptr ? *before : values[order.back()];
}

}  // namespace isthmus
