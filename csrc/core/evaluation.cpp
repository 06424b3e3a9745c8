// SPDX-License-Identifier: Apache-2.0
#include "core/evaluation.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "core/checks.hpp"

namespace isthmus {

std::optional<double> evaluate_until(const Model& model, RowFeed& rows, Stop& stop) {
    const std::int64_t most = rows.block_rows(kEvaluatedRows);
    std::vector<double> errors(static_cast<std::size_t>(std::min(most, rows.rows())));
    double loss_sum = 0.0;
    double weight_sum = 0.0;
    for (std::int64_t first = 0; first < rows.rows(); first += most) {
        if (stop.requested()) return std::nullopt;
        const std::int64_t count = std::min(most, rows.rows() - first);
        const RowSource part = rows.block(first, count);
        model.row_errors(part, std::span(errors).first(static_cast<std::size_t>(count)), std::nullopt);
        for (std::int64_t i = 0; i < count; ++i) {
            const double weight = part.weight(i);
            loss_sum += weight * errors[static_cast<std::size_t>(i)];
            weight_sum += weight;
        }
    }
    if (weight_sum == 0.0) refuse_unobserved(rows.name());
    return loss_sum / weight_sum;
}

}  // namespace isthmus
