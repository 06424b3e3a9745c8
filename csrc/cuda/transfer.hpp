// SPDX-License-Identifier: Apache-2.0
// Rows of the host on their way to the device, through two pinned buffers: while one is copied the next is filled.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cuda/buffer.hpp"
#include "cuda/stream.hpp"
#include "isthmus/types.hpp"

namespace isthmus::cuda {

// Two pinned buffers in turn. take() waits until what was copied from the buffer is under way no more.
template <class T>
class PinnedPair {
public:
    T* take(std::int64_t size) {
        Slot& slot = slots_[next_];
        slot.copied.wait();
        slot.memory.grow(size);
        return slot.memory.data();
    }
    // Copies n elements of what was taken last.
    void copy(T* to, std::int64_t n, cudaStream_t stream) {
        Slot& slot = slots_[next_];
        copy_async(to, slot.memory.data(), n, stream);
        slot.copied.record(stream);
        next_ ^= 1U;
    }

private:
    struct Slot {
        PinnedArray<T> memory;
        Event copied;
    };
    Slot slots_[2];
    unsigned next_ = 0;
};

// Writes a row and zeros up to the stride.
inline void pack_row(const float* row, std::int64_t cols, std::int64_t stride, float* to) {
    std::memcpy(to, row, static_cast<std::size_t>(cols) * sizeof(float));
    std::fill(to + cols, to + stride, 0.0F);
}

// Queues the rows for `to`, a matrix of the device with that stride. Returns when the host's rows are read.
void upload(MatrixView rows, float* to, std::int64_t stride, PinnedPair<float>& pinned, cudaStream_t stream);

}  // namespace isthmus::cuda
