// SPDX-License-Identifier: Apache-2.0
// Queues a product on wgmma.
#pragma once

#include <cstdint>

#include "cuda/planes.hpp"
#include "cuda/tensor_map.hpp"
#include "cuda/wgmma_gemm.cuh"

namespace isthmus::cuda {

// The operand of `others` x k, in boxes of a whole slice of the tile, or of a panel.
template <Contiguous kContiguous>
PlaneMaps plane_maps(const Planes& planes, std::int64_t others, std::int64_t k, int tile_others) {
    PlaneMaps maps{};
    for (int plane = 0; plane < planes.count; ++plane) {
        maps.plane[plane] = kContiguous == Contiguous::k ? tensor_map(planes, plane, others, k, tile_others)
                                                         : tensor_map(planes, plane, k, others, kWgmmaSlice);
    }
    return maps;
}

// c(m, n) = sum over k of a(m, k) b(n, k), with an epilogue of epilogues.cuh: typed_on_device(f) calls f with it. m, n
// and k are at least 1; a and b have as many planes.
template <Contiguous kA, Contiguous kB, class Epilogue>
void launch_wgmma(const WgmmaGrid& grid, const Planes& a, const Planes& b, std::int64_t m, std::int64_t n,
                  std::int64_t k, const Epilogue& epilogue, cudaStream_t stream, const RowParts& parts) {
    const auto with = [&]<int kColumns, int kPlanes>() {
        const WgmmaPieces pieces = wgmma_pieces(m, n, k, kColumns, parts);
        const dim3 blocks(static_cast<unsigned>(std::min(pieces.total(), grid.blocks)));
        launch(wgmma_product<kColumns, kPlanes, kA, kB, Epilogue>, blocks, dim3(kWgmmaThreads),
               WgmmaTile<kColumns>::kBytes, stream, plane_maps<kA>(a, m, k, kWgmmaRows),
               plane_maps<kB>(b, n, k, kColumns), pieces, epilogue);
    };
    if (a.count == 3)
        return grid.columns == 64 ? with.template operator()<64, 3>() : with.template operator()<128, 3>();
    switch (grid.columns) {
        case 64: return with.template operator()<64, 1>();
        case 128: return with.template operator()<128, 1>();
        default: return with.template operator()<256, 1>();
    }
}
template <Contiguous kA, Contiguous kB, class Epilogue>
void launch_wgmma(const WgmmaGrid& grid, const Planes& a, const Planes& b, std::int64_t m, std::int64_t n,
                  std::int64_t k, const Epilogue& epilogue, cudaStream_t stream) {
    launch_wgmma<kA, kB>(grid, a, b, m, n, k, epilogue, stream, {1, k});
}

}  // namespace isthmus::cuda
