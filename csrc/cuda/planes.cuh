// SPDX-License-Identifier: Apache-2.0
// How floats become planes, on the device.
#pragma once

#include "cuda/planes.hpp"
#include "cuda/ptx/mma.hpp"

namespace isthmus::cuda {

// Writes a run of kRun (1, 2 or 4) columns from (row, column), a multiple of kRun, whole: what lies beyond the last
// column stands before the stride, where nobody reads. The values become what the planes leave.
template <int kRun>
__device__ __forceinline__ void store_planes(const Planes& to, std::int64_t row, std::int64_t column,
                                             float (&values)[kRun]) {
    static_assert(kRun == 1 || kRun == 2 || kRun == 4);
    Bfloat16* at = to.data + row * to.stride + column;
    for (int p = 0; p < to.count; ++p, at += to.plane) {
        unsigned pairs[(kRun + 1) / 2];
#pragma unroll
        for (int i = 0; i < kRun; i += 2) {
            const unsigned pair = cvt_rn_bf16x2(values[i], i + 1 < kRun ? values[i + 1] : 0.0F);
            values[i] -= __uint_as_float(pair << 16);
            if (i + 1 < kRun) values[i + 1] -= __uint_as_float(pair & 0xffff0000U);
            pairs[i / 2] = pair;
        }
        if constexpr (kRun == 4) {
            *reinterpret_cast<uint2*>(at) = make_uint2(pairs[0], pairs[1]);
        } else if constexpr (kRun == 2) {
            *reinterpret_cast<unsigned*>(at) = pairs[0];
        } else {
            *at = static_cast<Bfloat16>(pairs[0]);
        }
    }
}

// What an epilogue writes besides its floats: planes, where they are given, or nothing.
struct NoPlanes {
    static constexpr bool kGiven = false;
};
struct IntoPlanes {
    static constexpr bool kGiven = true;

    template <int kRun>
    __device__ __forceinline__ void store(int m, int n, int valid, const float (&values)[kRun]) const {
        if (to.data == nullptr || valid <= 0) return;
        float left[kRun];
#pragma unroll
        for (int j = 0; j < kRun; ++j) left[j] = values[j];
        store_planes(to, m, n, left);
    }
    Planes to;
};

}  // namespace isthmus::cuda
