// SPDX-License-Identifier: Apache-2.0
// The product of gemm.cuh on the tensor cores of sm_90a: c (m, n) = sum over k of a(m, k) b(n, k), operands in bfloat16
// planes, sums in float32, with the same epilogues. One warpgroup brings slices of the operands, two multiply.
//
// Blocks stay: each takes piece after piece, so that the next one's slices are on their way while the outputs of this
// one are written, and mbarriers are made once. The grid is a parameter and never changes a bit.
#pragma once

#include "cuda/wgmma_consumer.cuh"
#include "cuda/wgmma_outputs.cuh"

namespace isthmus::cuda {

template <int kColumns, int kPlanes, Contiguous kA, Contiguous kB, class Epilogue>
__global__ void __launch_bounds__(kWgmmaThreads, 1)
    wgmma_product([[maybe_unused]] const __grid_constant__ PlaneMaps a,
                  [[maybe_unused]] const __grid_constant__ PlaneMaps b, [[maybe_unused]] WgmmaPieces pieces,
                  [[maybe_unused]] Epilogue epilogue) {
#if defined(ISTHMUS_HOPPER)
    using Shape = WgmmaTile<kColumns>;
    ISTHMUS_DYNAMIC_SHARED(unsigned char, shared);
    const Shape tile(shared);
    const int thread = static_cast<int>(threadIdx.x);
    if (thread == 0) {
        for (int slot = 0; slot < Shape::kSlots; ++slot) {
            mbarrier_init(tile.full(slot), 1);
            mbarrier_init(tile.empty(slot), kWgmmaConsumerThreads / 32);
        }
        mbarrier_init_fence();
        for (int plane = 0; plane < kPlanes; ++plane) {
            prefetch_map(&a.plane[plane]);
            prefetch_map(&b.plane[plane]);
        }
    }
    if constexpr (Epilogue::kOverRows) {
        constexpr unsigned kTwoOnes = 0x3f803f80;  // of bfloat16
        if (thread < kAtomBytes / 4) reinterpret_cast<unsigned*>(tile.ones())[thread] = kTwoOnes;
    }
    proxy_fence();
    __syncthreads();

    if (thread < kWgmmaProducerThreads) {
        fewer_registers<kProducerRegisters>();
        if (thread == 0) produce<kColumns, kPlanes, kA, kB>(tile, a, b, pieces);
    } else {
        more_registers<kConsumerRegisters>();
        const int warp = (thread - kWgmmaProducerThreads) / 32;
        WgmmaConsumer<kColumns, kPlanes, kA, kB> consumer(tile, warp / 4);
        for (int index = static_cast<int>(blockIdx.x); index < pieces.total(); index += static_cast<int>(gridDim.x)) {
            const WgmmaPiece piece = wgmma_piece(pieces, index);
            const int first_m = piece.tile_m * kWgmmaRows + warp * 16;
            const int first_n = piece.tile_n * kColumns;
            float* const staging = tile.staging(warp);
            bool sum_of_a = false;
            if constexpr (Epilogue::kOverRows) sum_of_a = piece.tile_n == 0 && epilogue.db != nullptr;
            if (sum_of_a) {
                if constexpr (Epilogue::kOverRows) {
                    consumer.template multiply<true>(piece.slices);
                    write_sums_of_a(consumer.sums_of_a, first_m, pieces, piece, epilogue);
                }
            } else {
                consumer.template multiply<false>(piece.slices);
            }
            if constexpr (Epilogue::kOverRows) {
                if (pieces.parts > 1) {
                    write_part<kColumns>(tile, consumer.sums, staging, first_m, first_n, pieces, piece, epilogue);
                    continue;
                }
            }
            write_outputs<kColumns>(consumer.sums, staging, first_m, first_n, pieces.m, pieces.n, epilogue);
        }
    }
#elif defined(__CUDA_ARCH__)
    __trap();  // launched where it must not be
#endif
}

}  // namespace isthmus::cuda
