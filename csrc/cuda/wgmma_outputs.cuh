// SPDX-License-Identifier: Apache-2.0
// The way of a piece's sums out of wgmma_gemm.cuh, warp by warp: 16 x 32 at a time through shared memory, so that runs
// of four outputs are stored, 128 bytes of a row together, and the code of an epilogue is there once for each
// activation, not once for each of a thread's 128 sums.
#pragma once

#include "cuda/reduction.cuh"
#include "cuda/wgmma_tile.cuh"

namespace isthmus::cuda {

// f(first column) for each chunk of 32 columns of the warp's outputs, which begin at first_n, when it is in `staging`.
template <int kColumns, class F>
__device__ __forceinline__ void for_each_chunk(const float (&sums)[kColumns / 2], float* staging, int first_n, int n,
                                               F&& f) {
    using Shape = WgmmaTile<kColumns>;
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
    for (int chunk = 0; chunk < kColumns / Shape::kChunk && first_n + chunk * Shape::kChunk < n; ++chunk) {
        // A register is never indexed by what is not a constant.
#pragma unroll
        for (int c = 0; c < kColumns / Shape::kChunk; ++c) {
            if (c != chunk) continue;
#pragma unroll
            for (int i = 0; i < Shape::kChunk / 4; ++i) {
                const int row = lane / 4 + i % 2 * 8;
                const int column = i / 2 * 8 + lane % 4 * 2;
                const float* pair = sums + c * (Shape::kChunk / 2) + 2 * i;
                *reinterpret_cast<float2*>(staging + row * Shape::kChunkStride + column) =
                    make_float2(pair[0], pair[1]);
            }
        }
        __syncwarp();
        f(first_n + chunk * Shape::kChunk);
        __syncwarp();
    }
}

// f(m, n, valid, offset) for the 16 x 32 outputs of a chunk that begins at (first_m, first_n), in runs of four that
// begin in `staging` at the offset; eight lanes have 128 bytes of a row.
template <int kColumns, class F>
__device__ __forceinline__ void for_each_place(int first_m, int first_n, int m, int n, F&& f) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int column = lane % 8 * 4;
#pragma unroll 1
    for (int row = lane / 8; row < 16; row += 4) {
        f(first_m + row, first_n + column, first_m + row < m ? n - (first_n + column) : 0,
          row * WgmmaTile<kColumns>::kChunkStride + column);
    }
}
// f(m, n, valid, values), with what stands there.
template <int kColumns, class F>
__device__ __forceinline__ void for_each_run(const float* staging, int first_m, int first_n, int m, int n, F&& f) {
    for_each_place<kColumns>(first_m, first_n, m, n, [&](int row, int column, int valid, int offset) {
        const float4 four = *reinterpret_cast<const float4*>(staging + offset);
        float values[4] = {four.x, four.y, four.z, four.w};
        f(row, column, valid, values);
    });
}

// What a warp does with its sums of a piece.
template <int kColumns, class Epilogue>
__device__ __forceinline__ void write_outputs(const float (&sums)[kColumns / 2], float* staging, int first_m,
                                              int first_n, int m, int n, const Epilogue& epilogue) {
    for_each_chunk<kColumns>(sums, staging, first_n, n, [&](int chunk_n) {
        epilogue.typed_on_device([&](const auto& typed) {
            for_each_run<kColumns>(staging, first_m, chunk_n, m, n, [&](int row, int column, int valid, auto& values) {
                float before[4] = {0.0F, 0.0F, 0.0F, 0.0F};
                typed.start(row, column, valid, before);
#pragma unroll
                for (int i = 0; i < 4; ++i) values[i] = before[i] + values[i];
                typed.finish(row, column, valid, values);
            });
        });
    });
}

// The same where the sums are one part of several: they are put down, and the block that comes last of the tile adds
// all parts in their order.
template <int kColumns, class Epilogue>
__device__ __forceinline__ void write_part(const WgmmaTile<kColumns>& tile, const float (&sums)[kColumns / 2],
                                           float* staging, int first_m, int first_n, const WgmmaPieces& pieces,
                                           const WgmmaPiece& piece, const Epilogue& epilogue) {
    const int m = pieces.m;
    const int n = pieces.n;
    for_each_chunk<kColumns>(sums, staging, first_n, n, [&](int chunk_n) {
        for_each_run<kColumns>(staging, first_m, chunk_n, m, n, [&](int row, int column, int valid, auto& values) {
            epilogue.put_part(piece.part, row, column, valid, values);
        });
    });
    const int thread = static_cast<int>(threadIdx.x) - kWgmmaProducerThreads;
    if (!is_last_block(epilogue.arrived + piece.tile_m + pieces.tiles_m * piece.tile_n,
                       static_cast<unsigned>(pieces.parts), tile.last(), thread == 0,
                       [] { named_barrier<1, kWgmmaConsumerThreads>(); })) {
        return;
    }
    for (int chunk_n = first_n; chunk_n < first_n + kColumns && chunk_n < n; chunk_n += WgmmaTile<kColumns>::kChunk) {
        for_each_place<kColumns>(first_m, chunk_n, m, n, [&](int row, int column, int valid, int) {
            float values[4] = {0.0F, 0.0F, 0.0F, 0.0F};
            epilogue.start(row, column, valid, values);
            for (int part = 0; part < pieces.parts; ++part) epilogue.add_part(part, row, column, valid, values);
            epilogue.finish(row, column, valid, values);
        });
    }
    const int row = piece.tile_m * kWgmmaRows + thread;
    if (piece.tile_n == 0 && thread < kWgmmaRows && row < m) {
        float* const to = epilogue.sum_of_a(row);
        if (to != nullptr) epilogue.finish_sum(to, epilogue.sum_of_parts(pieces.parts, row, epilogue.first_sum(to)));
    }
}

// The sums of a over k, in the same way as the sums: four threads have each row, all columns being equal.
template <class Epilogue>
__device__ __forceinline__ void write_sums_of_a(const float (&sums)[4], int first_m, const WgmmaPieces& pieces,
                                                const WgmmaPiece& piece, const Epilogue& epilogue) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (lane % 4 != 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = first_m + lane / 4 + 8 * half;
        if (row >= pieces.m) continue;
        if (pieces.parts > 1) {
            epilogue.put_bias_part(piece.part, row, sums[2 * half]);
        } else {
            float* const to = epilogue.sum_of_a(row);
            epilogue.finish_sum(to, epilogue.first_sum(to) + sums[2 * half]);
        }
    }
}

}  // namespace isthmus::cuda
