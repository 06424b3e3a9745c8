// SPDX-License-Identifier: Apache-2.0
// What an anomaly detector adds to an autoencoder: which rows it learns from, and what its errors are measured with.
//
// An autoencoder that is trained on anomalies learns to reconstruct them, and its plain error is owned by the few
// features that are hard for every row. So rows that lie far out in their columns are not learned from, and each
// feature's error is divided by its root mean square over the rows that are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/passage.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

struct Calibration {
    std::vector<double> spread;     // of each feature's error in scaled space; empty: not calibrated
    std::vector<double> offset;     // one number: rows that score below it are anomalies
    std::vector<double> held_back;  // scores of the rows held back, ascending

    bool empty() const { return spread.empty(); }
};

class DetectorRows {
public:
    // Holds configuration.calibration_fraction of the rows back, by the seed, and of the others leaves out twice the
    // share that is expected to be anomalous, at most half: those furthest out in their columns.
    // Throws Error(value) for NaN and infinity, and as hold_back.
    DetectorRows(const Samples& all, const Configuration& configuration, std::uint64_t seed);

    // One a row: its own weight, or 0 where it is not learned from.
    const std::vector<float>& weights() const { return weights_; }
    std::span<const std::int64_t> held_back() const { return held_back_; }

private:
    std::vector<std::int64_t> held_back_;
    std::vector<float> weights_;
};

// |difference| of a row over the spread of its features, and the mean of these, negative; of those that are observed,
// NaN where none is. A missing feature's own is NaN.
double anomaly_score(std::span<const double> spread, const float* y, const float* target, float* per_feature);

// Collects what spread is made of, row by row.
class SpreadSum {
public:
    explicit SpreadSum(std::int64_t cols)
        : weights_(static_cast<std::size_t>(cols)), squares_(static_cast<std::size_t>(cols)) {}
    void add(const float* y, const float* target, double weight);
    // The root mean square of each feature, and a thousandth more of a scaled unit, so that what is reconstructed
    // perfectly does not count for everything. Of a feature that no row had, as rows of a later partial_fit may be:
    // that of a scaled unit. Empty where it would not be finite.
    std::vector<double> result() const;

private:
    std::vector<double> weights_, squares_;  // one a feature: a row adds what it has
};

// The share of the scores held back that are at least as low, the row itself counted in: (1 + k) / (1 + n). On rows
// like those held back it is at most p with probability p (Vovk et al., Algorithmic Learning in a Random World, 2005).
double p_value(const Calibration& calibration, double score);

}  // namespace isthmus
