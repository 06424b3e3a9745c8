// SPDX-License-Identifier: Apache-2.0
#include "core/detector.hpp"

#include <algorithm>
#include <cmath>

#include "core/held_back.hpp"
#include "core/marginals.hpp"

namespace isthmus {
namespace {

constexpr double kLeastSpread = 1e-3;

double difference(float y, float target) { return std::abs(static_cast<double>(y) - static_cast<double>(target)); }

}  // namespace

DetectorRows::DetectorRows(const Samples& all, const Configuration& configuration, std::uint64_t seed) {
    weights_.assign(static_cast<std::size_t>(all.rows()), 1.0F);
    if (all.weights) std::copy_n(all.weights, weights_.size(), weights_.begin());
    if (configuration.calibration_fraction > 0.0) {
        held_back_ = hold_back(all, seed, configuration.calibration_fraction, "calibration_fraction").validation;
        for (const std::int64_t row : held_back_) weights_[static_cast<std::size_t>(row)] = 0.0F;
    }
    const Samples learned(all.inputs, std::nullopt, weights_.data());
    const std::vector<double> tails = Marginals(learned, configuration.missing).tails(all.inputs);
    const double left_out = std::min(0.5, 2.0 * configuration.contamination);
    const double limit = weighted_quantile(tails, weights_, 1.0 - left_out);
    for (std::size_t row = 0; row < weights_.size(); ++row) {
        if (tails[row] > limit) weights_[row] = 0.0F;
    }
}

double anomaly_score(std::span<const double> spread, const float* y, const float* target, float* per_feature) {
    double sum = 0.0;
    std::size_t observed = 0;
    for (std::size_t c = 0; c < spread.size(); ++c) {
        const double error = difference(y[c], target[c]) / spread[c];
        if (per_feature != nullptr) per_feature[c] = static_cast<float>(error);
        if (std::isnan(target[c])) continue;
        sum += error;
        ++observed;
    }
    return -sum / static_cast<double>(observed);
}

void SpreadSum::add(const float* y, const float* target, double weight) {
    for (std::size_t c = 0; c < squares_.size(); ++c) {
        if (std::isnan(target[c])) continue;
        const double error = difference(y[c], target[c]);
        weights_[c] += weight;
        squares_[c] += weight * error * error;
    }
}

std::vector<double> SpreadSum::result() const {
    std::vector<double> spread;
    for (std::size_t c = 0; c < squares_.size(); ++c) {
        const double square = weights_[c] > 0.0 ? squares_[c] / weights_[c] : 1.0;
        spread.push_back(std::sqrt(square) + kLeastSpread);
        if (!std::isfinite(spread.back())) return {};
    }
    return spread;
}

double p_value(const Calibration& calibration, double score) {
    const auto& scores = calibration.held_back;
    const auto as_low = std::upper_bound(scores.begin(), scores.end(), score) - scores.begin();
    return (1.0 + static_cast<double>(as_low)) / (1.0 + static_cast<double>(scores.size()));
}

}  // namespace isthmus
