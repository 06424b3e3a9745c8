// SPDX-License-Identifier: Apache-2.0
#include "cuda/transfer.hpp"

namespace isthmus::cuda {

void upload(MatrixView rows, float* to, std::int64_t stride, PinnedPair<float>& pinned, cudaStream_t stream) {
    constexpr std::int64_t kFloats = std::int64_t{1} << 20;  // 4 MB: copied at full speed, and soon
    const std::int64_t most = std::max<std::int64_t>(1, kFloats / stride);
    for (std::int64_t row = 0; row < rows.rows; row += most) {
        const std::int64_t count = std::min(most, rows.rows - row);
        float* const packed = pinned.take(count * stride);
        for (std::int64_t r = 0; r < count; ++r) pack_row(rows.row(row + r), rows.cols, stride, packed + r * stride);
        pinned.copy(to + row * stride, count * stride, stream);
    }
}

}  // namespace isthmus::cuda
