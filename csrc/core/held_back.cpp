// SPDX-License-Identifier: Apache-2.0
#include "core/held_back.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace isthmus {
namespace {

void check_weight(const Samples& all, std::span<const std::int64_t> rows, const std::string& what) {
    if (all.weights == nullptr) return;
    if (std::any_of(rows.begin(), rows.end(), [&](std::int64_t row) { return all.weights[row] > 0.0F; })) return;
    throw Error(ErrorKind::value, "sample_weight is 0 for every row that " + what);
}

}  // namespace

HeldBack::HeldBack(const RowFeed& all, Split split)
    : split_(std::move(split)), source_(all.gather(split_.validation, rows_)) {}

Split hold_back(const Samples& all, std::uint64_t seed, double fraction, const std::string& name) {
    Split split = split_rows(seed, fraction, all.rows(), name);
    check_weight(all, split.training, name + " leaves to train on");
    check_weight(all, split.validation, name + " holds back");
    return split;
}

}  // namespace isthmus
