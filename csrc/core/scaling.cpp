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

// Of each column, over the values that are there.
class Statistics {
public:
    explicit Statistics(std::int64_t cols)
        : weight_(size(cols)),
          first_(size(cols), kNan),
          mean_(size(cols)),
          squares_(size(cols)),
          low_(size(cols), kInfinity),
          high_(size(cols), -kInfinity),
          unseen_(size(cols)) {}

    // Rows of `block` (count, cols) with their weights. With kMasked a NaN is left out; where there is none, the bits
    // are the same.
    template <bool kMasked>
    void add(const std::vector<double>& block, const std::vector<double>& weights) {
        find_firsts(block, weights);
        double all = 0.0;
        for (const double weight : weights) all += weight;
        block_weight_.assign(mean_.size(), kMasked ? 0.0 : all);
        block_mean_.assign(mean_.size(), 0.0);
        block_squares_.assign(mean_.size(), 0.0);
        // A missing value differs from the first by nothing, and weighs nothing.
        const auto weigh = [](double& d, double weight) {
            if (!kMasked || !std::isnan(d)) return weight;
            d = 0.0;
            return 0.0;
        };
        for_each_row(block, weights, [&](const double* row, double weight) {
            for (std::size_t c = 0; c < mean_.size(); ++c) {
                double d = row[c] - first_[c];
                const double mine = weigh(d, weight);
                if constexpr (kMasked) block_weight_[c] += mine;
                block_mean_[c] += mine * d;
                low_[c] = std::min(low_[c], row[c]);  // which is not the NaN
                high_[c] = std::max(high_[c], row[c]);
            }
        });
        for (std::size_t c = 0; c < mean_.size(); ++c) {
            if (block_weight_[c] > 0.0) block_mean_[c] /= block_weight_[c];
        }
        for_each_row(block, weights, [&](const double* row, double weight) {
            for (std::size_t c = 0; c < mean_.size(); ++c) {
                double d = row[c] - first_[c];
                const double mine = weigh(d, weight);
                d -= block_mean_[c];
                block_squares_[c] += mine * d * d;
            }
        });
        for (std::size_t c = 0; c < mean_.size(); ++c) {
            const double sum = block_weight_[c];
            if (sum <= 0.0) continue;
            const double before = weight_[c];
            weight_[c] += sum;
            const double d = block_mean_[c] - mean_[c];
            mean_[c] += d * (sum / weight_[c]);
            squares_[c] += block_squares_[c] + d * d * (before * sum / weight_[c]);
        }
    }

    // Throws Error(value) for a column without any value.
    std::vector<double> means(const std::string& name) const {
        std::vector<double> means(mean_.size());
        for (std::size_t c = 0; c < mean_.size(); ++c) {
            if (!(weight_[c] > 0.0)) {
                throw Error(ErrorKind::value, name + "[:, " + std::to_string(c) +
                                                  "] has no value in the rows that are trained on: all are missing, "
                                                  "held back or without weight; leave the column out");
            }
            means[c] = first_[c] + mean_[c];
        }
        return means;
    }

    Scaling scaling(ScalingKind kind, const std::string& name) const {
        Scaling scaling{means(name), std::vector<double>(mean_.size(), 1.0)};
        for (std::size_t c = 0; c < mean_.size(); ++c) {
            const double range = high_[c] - low_[c];
            const bool constant = range <= kRounding * std::max(std::abs(low_[c]), std::abs(high_[c]));
            if (kind == ScalingKind::minmax || constant) scaling.shift[c] = low_[c];
            if (constant) continue;
            scaling.scale[c] = kind == ScalingKind::minmax ? range : std::sqrt(squares_[c] / weight_[c]);
            if (!std::isfinite(scaling.scale[c]) || !(scaling.scale[c] > 0.0)) {
                throw Error(ErrorKind::value, name + "[:, " + std::to_string(c) +
                                                  "] spreads beyond what float64 can square; it cannot be scaled");
            }
        }
        return scaling;
    }

private:
    static constexpr double kInfinity = std::numeric_limits<double>::infinity();
    static constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

    static std::size_t size(std::int64_t cols) { return static_cast<std::size_t>(cols); }

    template <class Body>
    void for_each_row(const std::vector<double>& block, const std::vector<double>& weights, Body body) const {
        for (std::size_t r = 0; r < weights.size(); ++r) {
            if (weights[r] > 0.0) body(block.data() + r * mean_.size(), weights[r]);
        }
    }

    void find_firsts(const std::vector<double>& block, const std::vector<double>& weights) {
        for_each_row(block, weights, [&](const double* row, double) {
            if (unseen_ == 0) return;
            unseen_ = 0;
            for (std::size_t c = 0; c < first_.size(); ++c) {
                if (std::isnan(first_[c])) first_[c] = row[c];
                unseen_ += std::isnan(first_[c]) ? 1 : 0;
            }
        });
    }

    std::vector<double> weight_;
    std::vector<double> first_;           // the first value in a row that has a weight, NaN before there is one
    std::vector<double> mean_, squares_;  // of the differences from it
    std::vector<double> low_, high_;
    std::size_t unseen_;  // columns without a first value
    std::vector<double> block_weight_, block_mean_, block_squares_;
};

// Rows of a sparse table are only divided by `standard`, so that they stay sparse.
Scaling kept_sparse(bool sparse, ScalingKind kind, Scaling scaling) {
    if (sparse && kind == ScalingKind::standard) std::ranges::fill(scaling.shift, 0.0);
    return scaling;
}

Columns columns_of(std::optional<ScalingKind> kind, Missing missing, const Table& table,
                   std::span<const std::int64_t> row_numbers, const float* weights, const std::string& name) {
    ColumnFit fit(table.cols, missing);
    fit.add(table, row_numbers, weights, name);
    return fit.result(kind, table.csr.has_value(), name);
}

}  // namespace

// Statistics take blocks of always the same number of rows: rows are collected until there is one.
class ColumnFit::Blocks {
public:
    Blocks(std::int64_t cols, Missing missing)
        : cols_(cols),
          missing_(missing),
          most_(static_cast<std::size_t>(std::clamp<std::int64_t>(kBlockElements / cols, 1, kBlockRows))),
          statistics_(cols) {
        rows_.reserve(most_ * static_cast<std::size_t>(cols));
        weights_.reserve(most_);
    }

    void add(const Table& table, std::int64_t row, double weight, const std::string& name, std::int64_t first_row) {
        rows_.resize(rows_.size() + static_cast<std::size_t>(cols_));
        double* const values = rows_.data() + rows_.size() - cols_;
        read_row(table, row, values);
        for (std::int64_t c = 0; c < cols_; ++c) {
            if (std::isfinite(values[c]) || (missing_ == Missing::mask && std::isnan(values[c]))) continue;
            refuse_non_finite(table, {row, c}, name, first_row);
        }
        weights_.push_back(weight);
        if (weights_.size() == most_) flush();
    }

    const Statistics& statistics() {
        if (!weights_.empty()) flush();
        return statistics_;
    }
    Missing missing() const { return missing_; }

private:
    void flush() {
        missing_ == Missing::mask ? statistics_.add<true>(rows_, weights_) : statistics_.add<false>(rows_, weights_);
        rows_.clear();
        weights_.clear();
    }

    std::int64_t cols_;
    Missing missing_;
    std::size_t most_;
    Statistics statistics_;
    std::vector<double> rows_, weights_;
};

ColumnFit::ColumnFit(std::int64_t cols, Missing missing) : blocks_(std::make_unique<Blocks>(cols, missing)) {}
ColumnFit::~ColumnFit() = default;

void ColumnFit::add(const Table& table, std::span<const std::int64_t> row_numbers, const float* weights,
                    const std::string& name, std::int64_t first_row) {
    const std::int64_t n = row_numbers.empty() ? table.rows : static_cast<std::int64_t>(row_numbers.size());
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t row = row_numbers.empty() ? i : row_numbers[static_cast<std::size_t>(i)];
        blocks_->add(table, row, weights != nullptr ? double{weights[row]} : 1.0, name, first_row);
    }
}

Columns ColumnFit::result(std::optional<ScalingKind> kind, bool sparse, const std::string& name) {
    const Statistics& found = blocks_->statistics();
    Columns columns;
    if (kind) columns.scaling = kept_sparse(sparse, *kind, found.scaling(*kind, name));
    if (blocks_->missing() == Missing::mask) columns.means = found.means(name);
    return columns;
}

Scaling fit_scaling(ScalingKind kind, const Table& table, std::span<const std::int64_t> row_numbers,
                    const float* weights, const std::string& name) {
    return columns_of(kind, Missing::error, table, row_numbers, weights, name).scaling;
}

Columns fit_columns(std::optional<ScalingKind> kind, const Table& table, std::span<const std::int64_t> row_numbers,
                    const float* weights, const std::string& name) {
    return columns_of(kind, Missing::mask, table, row_numbers, weights, name);
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
