// SPDX-License-Identifier: Apache-2.0
#include "core/scaling.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/table.hpp"

namespace isthmus {
namespace {

// Rows of a block: its sums are taken twice, so it has to stay in a cache. 2^15 doubles are 256 KiB.
constexpr std::int64_t kBlockRows = 256;
constexpr std::int64_t kBlockElements = std::int64_t{1} << 15;

// A column whose values are the same but for the rounding of what made them, such as 0.1 + 0.2 and 0.3, is constant.
constexpr double kRounding = 8 * std::numeric_limits<double>::epsilon();

class Statistics {
public:
    explicit Statistics(std::int64_t cols)
        : mean_(size(cols)), squares_(size(cols)), low_(size(cols), kInfinity), high_(size(cols), -kInfinity) {}

    // Rows of `block` (count, cols) with their weights.
    void add(const std::vector<double>& block, const std::vector<double>& weights) {
        double sum = 0.0;
        for (const double weight : weights) sum += weight;
        if (sum <= 0.0) return;
        const double before = weight_;
        weight_ += sum;
        if (first_.empty()) {
            for_each_row(block, weights, [&](const double* row, double) {
                if (first_.empty()) first_.assign(row, row + mean_.size());
            });
        }
        block_mean_.assign(mean_.size(), 0.0);
        block_squares_.assign(mean_.size(), 0.0);
        for_each_row(block, weights, [&](const double* row, double weight) {
            for (std::size_t c = 0; c < mean_.size(); ++c) {
                block_mean_[c] += weight * (row[c] - first_[c]);
                low_[c] = std::min(low_[c], row[c]);
                high_[c] = std::max(high_[c], row[c]);
            }
        });
        for (double& mean : block_mean_) mean /= sum;
        for_each_row(block, weights, [&](const double* row, double weight) {
            for (std::size_t c = 0; c < mean_.size(); ++c) {
                const double d = row[c] - first_[c] - block_mean_[c];
                block_squares_[c] += weight * d * d;
            }
        });
        for (std::size_t c = 0; c < mean_.size(); ++c) {
            const double d = block_mean_[c] - mean_[c];
            mean_[c] += d * (sum / weight_);
            squares_[c] += block_squares_[c] + d * d * (before * sum / weight_);
        }
    }

    Scaling result(ScalingKind kind, const std::string& name) const {
        Scaling scaling{mean_, std::vector<double>(mean_.size(), 1.0)};
        for (std::size_t c = 0; c < mean_.size(); ++c) {
            scaling.shift[c] += first_[c];
            const double range = high_[c] - low_[c];
            const bool constant = range <= kRounding * std::max(std::abs(low_[c]), std::abs(high_[c]));
            if (kind == ScalingKind::minmax || constant) scaling.shift[c] = low_[c];
            if (constant) continue;
            scaling.scale[c] = kind == ScalingKind::minmax ? range : std::sqrt(squares_[c] / weight_);
            if (!std::isfinite(scaling.scale[c]) || !(scaling.scale[c] > 0.0)) {
                throw Error(ErrorKind::value, name + "[:, " + std::to_string(c) +
                                                  "] spreads beyond what float64 can square; it cannot be scaled");
            }
        }
        return scaling;
    }

private:
    static constexpr double kInfinity = std::numeric_limits<double>::infinity();

    static std::size_t size(std::int64_t cols) { return static_cast<std::size_t>(cols); }

    template <class Body>
    void for_each_row(const std::vector<double>& block, const std::vector<double>& weights, Body body) const {
        for (std::size_t r = 0; r < weights.size(); ++r) {
            if (weights[r] > 0.0) body(block.data() + r * mean_.size(), weights[r]);
        }
    }

    double weight_ = 0.0;
    std::vector<double> first_;           // the first row that has a weight
    std::vector<double> mean_, squares_;  // of the differences from it
    std::vector<double> low_, high_;
    std::vector<double> block_mean_, block_squares_;
};

}  // namespace

Scaling fit_scaling(ScalingKind kind, const Table& table, std::span<const std::int64_t> row_numbers,
                    const float* weights, const std::string& name) {
    const std::int64_t n = row_numbers.empty() ? table.rows : static_cast<std::int64_t>(row_numbers.size());
    const std::int64_t most = std::clamp<std::int64_t>(kBlockElements / table.cols, 1, kBlockRows);
    Statistics statistics(table.cols);
    std::vector<double> block;
    std::vector<double> block_weights;
    for (std::int64_t first = 0; first < n; first += most) {
        const std::int64_t count = std::min(most, n - first);
        block.resize(static_cast<std::size_t>(count * table.cols));
        block_weights.resize(static_cast<std::size_t>(count));
        for (std::int64_t i = 0; i < count; ++i) {
            const auto at = static_cast<std::size_t>(first + i);
            const std::int64_t row = row_numbers.empty() ? first + i : row_numbers[at];
            double* const values = block.data() + i * table.cols;
            read_row(table, row, values);
            for (std::int64_t c = 0; c < table.cols; ++c) {
                if (!std::isfinite(values[c])) refuse_non_finite(table, {row, c}, name, 0);
            }
            block_weights[static_cast<std::size_t>(i)] = weights != nullptr ? double{weights[row]} : 1.0;
        }
        statistics.add(block, block_weights);
    }
    Scaling scaling = statistics.result(kind, name);
    // Sparse rows stay sparse: they are only divided.
    if (table.csr && kind == ScalingKind::standard) std::ranges::fill(scaling.shift, 0.0);
    return scaling;
}

void unscale(const Scaling& scaling, MutableMatrixView rows) {
    for (std::int64_t r = 0; r < rows.rows; ++r) {
        float* const row = rows.row(r);
        for (std::int64_t c = 0; c < rows.cols; ++c) {
            const auto at = static_cast<std::size_t>(c);
            row[c] = static_cast<float>(static_cast<double>(row[c]) * scaling.scale[at] + scaling.shift[at]);
        }
    }
}

}  // namespace isthmus
