// SPDX-License-Identifier: Apache-2.0
// The rows that validation_fraction holds back. They are copied together, since they are read in order every epoch;
// the rows to train on, by far the more, stay where they are and are named by number.
#pragma once

#include <cstdint>
#include <span>

#include "core/permutation.hpp"
#include "core/row_feed.hpp"
#include "device/contract.hpp"

namespace isthmus {

class HeldBack {
public:
    HeldBack(const RowFeed& all, Split split);
    HeldBack(const HeldBack&) = delete;
    HeldBack& operator=(const HeldBack&) = delete;

    const RowSource& validation() const { return source_; }
    std::span<const std::int64_t> training_rows() const { return split_.training; }

private:
    Split split_;
    Converted rows_;
    RowSource source_;
};

// The split of the samples' rows; `name` is what the fraction is called. Throws Error(value) when there are fewer than
// two, or when all weight is on one side.
Split hold_back(const Samples& all, std::uint64_t seed, double fraction,
                const std::string& name = "validation_fraction");

}  // namespace isthmus
