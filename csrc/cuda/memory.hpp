// SPDX-License-Identifier: Apache-2.0
// Callers' arrays in the memory of a CUDA device.
#pragma once

#include <memory>
#include <mutex>

#include "cuda/buffer.hpp"
#include "cuda/elements.hpp"
#include "cuda/elementwise.hpp"
#include "cuda/network.hpp"
#include "cuda/stream.hpp"
#include "device/memory.hpp"

namespace isthmus::cuda {

class CudaMemory final : public DeviceMemory {
public:
    explicit CudaMemory(int ordinal) : ordinal_(ordinal) {}

    std::shared_ptr<void> allocate(std::int64_t bytes) const override;
    int ordinal() const override { return ordinal_; }
    int ordinal_of(const void* data) const override;
    void while_current(const std::function<void()>& body) const override;
    std::uintptr_t stream() const override;
    void follow(std::uintptr_t other) const override;
    std::optional<Position> convert(const Elements& from, MutableMatrixView to) const override;
    void widen(const Elements& from, double* to) const override;
    void negate(const double* from, double* to, std::int64_t n) const override;
    std::optional<Position> find_outside(MatrixView rows, float low, float high) const override;
    void gather(MatrixView from, std::span<const std::int64_t> numbers, MutableMatrixView to) const override;
    void copy(void* to, const void* from, std::int64_t bytes) const override;

    // What comes into `stream` from now on waits for what is in stream() now. The device must be current.
    void hold_back(cudaStream_t stream) const;

private:
    // Made on first use: a stream makes a context, which takes time and memory that few callers want.
    struct Work {
        Stream stream;
        DeviceArray<FoundAt> found{1};
        PinnedArray<FoundAt> answer{1};
    };
    Work& work() const;
    // Calls queue(stream, where a search leaves its answer) and waits.
    template <class Queue>
    std::optional<Position> found(std::int64_t cols, Queue&& queue) const;

    int ordinal_;
    mutable std::mutex making_;
    mutable std::mutex working_;  // one at a time uses what a search needs
    mutable std::unique_ptr<Work> work_;
};

// *found = kNowhere
inline void forget(FoundAt* found, cudaStream_t stream) {
    check(cudaMemsetAsync(found, 0xff, sizeof(FoundAt), stream), "cudaMemsetAsync");
}

// rows x cols floats between matrices of any stride, from and to wherever they are.
inline void copy_rows_async(float* to, std::int64_t to_stride, const float* from, std::int64_t from_stride,
                            std::int64_t rows, std::int64_t cols, cudaStream_t stream) {
    if (to_stride == from_stride && cols == to_stride) return copy_async(to, from, rows * cols, stream);
    const auto bytes = [](std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); };
    check(cudaMemcpy2DAsync(to, bytes(to_stride), from, bytes(from_stride), bytes(cols), static_cast<std::size_t>(rows),
                            cudaMemcpyDefault, stream),
          "cudaMemcpy2DAsync");
}

}  // namespace isthmus::cuda
