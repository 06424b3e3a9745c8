// SPDX-License-Identifier: Apache-2.0
// How far out in its columns a row lies, each column by itself: the mean over its columns of -log p, where p is twice
// the smaller share of rows on either side of its value (the idea of COPOD and ECOD, Li et al. 2020 and 2022). Ranks
// alone: no scale, no assumption about tails, nothing that a few wild values could move. It says which rows a detector
// had better not learn.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/passage.hpp"

namespace isthmus {

class Marginals {
public:
    // Of the rows with a weight above 0. Of very many rows, a sample at equal distances that fits 64 MiB. Throws
    // Error(value) for infinity in it and, but for Missing::mask, for NaN, which is left out then.
    explicit Marginals(const Samples& samples, Missing missing = Missing::error);

    // One number a row of the table: over what it has, 0 where that is nothing.
    std::vector<double> tails(const Table& table) const;

private:
    struct Column {
        std::vector<double> values;  // ascending, each once
        std::vector<double> weight;  // of the rows up to and with that value
        double least = 0.0;          // for a value beyond the sample: less than half a row's share
    };
    std::vector<Column> columns_;
};

// The value that a share q of the weight does not exceed, as half of the two in question where q falls between two
// (averaged_inverted_cdf of numpy.quantile): integer weights count as repeated rows, and the scale of weights does not
// matter. weights may be empty: all equal.
double weighted_quantile(std::span<const double> values, std::span<const float> weights, double q);

}  // namespace isthmus
