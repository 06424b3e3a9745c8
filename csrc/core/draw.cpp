// SPDX-License-Identifier: Apache-2.0
#include "core/draw.hpp"

#include <algorithm>

#include "math/gaussian_code.hpp"
#include "math/philox.hpp"

namespace isthmus {

void draw_gaussian_codes(MatrixView parameters, std::uint64_t seed, std::int64_t first_row, MutableMatrixView code) {
    for (std::int64_t r = 0; r < code.rows; ++r) {
        const float* const mean = parameters.rows > 0 ? parameters.row(r) : nullptr;
        for (std::int64_t j = 0; j < code.cols; j += 4) {
            const auto counter = math::row_counter(math::Purpose::draw, static_cast<std::uint32_t>(j / 4),
                                                   static_cast<std::uint64_t>(first_row + r), 0);
            const math::Quad<float> eps = math::gaussians<float>(math::philox(counter, seed));
            for (std::int64_t i = j; i < std::min(j + 4, code.cols); ++i) {
                const float z = eps.value[i - j];
                code.row(r)[i] = mean != nullptr ? math::GaussianCode::draw(mean[i], mean[code.cols + i], z) : z;
            }
        }
    }
}

}  // namespace isthmus
