// SPDX-License-Identifier: Apache-2.0
#include "core/imputation.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace isthmus {
namespace {

constexpr std::int64_t kBlock = std::int64_t{1} << 16;  // elements converted at a time: 256 KiB

}  // namespace

void impute(const Autoencoder& model, const Table& x, MutableMatrixView filled) {
    if (model.configuration().missing != Missing::mask) {
        throw Error(ErrorKind::value, "impute needs missing=\"mask\"; this model has missing=\"error\"");
    }
    model.reconstruct(x, filled);  // and x is checked
    const std::int64_t most = std::max<std::int64_t>(1, kBlock / x.cols);
    std::vector<float> block(static_cast<std::size_t>(std::min(most, x.rows) * x.cols));
    for (std::int64_t first = 0; first < x.rows; first += most) {
        const MutableMatrixView given{block.data(), std::min(most, x.rows - first), x.cols, x.cols};
        if (const auto at = convert(x, first, nullptr, given, Missing::mask)) refuse_non_finite(x, *at, "X", 0);
        for (std::int64_t r = 0; r < given.rows; ++r) {
            for (std::int64_t c = 0; c < given.cols; ++c) {
                if (!std::isnan(given.row(r)[c])) filled.row(first + r)[c] = given.row(r)[c];
            }
        }
    }
}

}  // namespace isthmus
