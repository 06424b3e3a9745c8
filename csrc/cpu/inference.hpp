// SPDX-License-Identifier: Apache-2.0
// A network's layers on rows, without training. Many rows are divided over the threads, each thread taking blocks
// through all layers; a few rows of a large network are not: there each thread takes a share of every layer's panels,
// which then stays in its own L2 from call to call.
#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

#include "cpu/buffer.hpp"
#include "cpu/network.hpp"
#include "device/contract.hpp"

namespace isthmus::cpu {

// Buffers of calls that are over, for the next ones: fresh memory costs a page fault every 4 KB. Any number of threads.
class ScratchPool {
public:
    ScratchPool() = default;
    // With one of that size, for calls one at a time that shall find theirs there.
    explicit ScratchPool(std::int64_t size) { give(Buffer(size)); }

    Buffer take(std::int64_t size);
    void give(Buffer buffer);

private:
    static constexpr std::size_t kMost = 4;  // kept for as many calls at once

    std::mutex mutex_;
    std::vector<Buffer> free_;
};

struct Inference {
    const Network& network;
    Weights weights;
    ScratchPool& pool;
    int thread_limit;

    // As Model::run and Model::row_errors.
    bool run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const;
    void row_errors(const RowSource& source, std::span<double> errors,
                    std::optional<MutableMatrixView> per_feature) const;

    // Floats of scratch that no call with at most so many rows exceeds.
    static std::int64_t most_scratch(const Network& network, std::int64_t rows, int threads);
};

}  // namespace isthmus::cpu
