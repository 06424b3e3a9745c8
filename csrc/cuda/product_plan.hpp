// SPDX-License-Identifier: Apache-2.0
// The kernel of a product: the one place that decides. A pure function of shapes and of what the device has.
#pragma once

#include <cstdint>

#include "cuda/plan.hpp"
#include "cuda/wgmma_plan.hpp"

namespace isthmus::cuda {

// What changes bits, all but the tile, must not depend on the rows. By wgmma where its grid has columns.
struct ProductPlan {
    Arithmetic arithmetic = Arithmetic::simt;
    TileSize tile = TileSize::small;
    WgmmaGrid wgmma = {0, 0};
};

inline bool takes_wgmma(Arithmetic arithmetic, std::int64_t in, std::int64_t out, const Limits& limits) {
    return plane_count(arithmetic) > 0 && limits.wgmma && wgmma_suits(in, out);
}

// (m, n) are the product's outputs, (in, out) its layer's widths.
inline ProductPlan product_plan(Arithmetic arithmetic, std::int64_t m, std::int64_t n, std::int64_t in,
                                std::int64_t out, const Limits& limits) {
    ProductPlan plan{arithmetic,
                     arithmetic == Arithmetic::simt ? tile_for(m, n, limits) : tensor_core_tile(m, n, limits)};
    if (takes_wgmma(arithmetic, in, out, limits)) {
        plan.wgmma = wgmma_grid(m, n, plane_count(arithmetic), limits.multiprocessors);
    }
    return plan;
}

}  // namespace isthmus::cuda
