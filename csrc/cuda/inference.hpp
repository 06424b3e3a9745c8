// SPDX-License-Identifier: Apache-2.0
// Rows through a range of layers, block by block on two lanes: while one lane computes, the other copies. Rows of the
// device are read where they are, and results may stay there.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/elementwise.hpp"
#include "cuda/memory.hpp"
#include "cuda/network.hpp"
#include "cuda/plan.hpp"
#include "cuda/stream.hpp"
#include "cuda/weight_planes.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// A stream with the buffers of a block. They keep their size for the next call.
struct Lane {
    Stream stream;
    PinnedArray<float> packed;  // rows to the device, and results back
    PinnedArray<double> row_errors;
    DeviceArray<float> input, target;
    DeviceArray<float> ping, pong;        // a layer's input and output, in turn
    DeviceArray<Bfloat16> planes, other;  // the same as planes
    DeviceArray<float> values;
    DeviceArray<double> errors;
    DeviceArray<FoundAt> found{1};  // the first value of a block that is not finite, for rows of the device
    PinnedArray<FoundAt> first_bad{1};
};

// Lanes for calls that run at the same time, as many as there ever were.
class LanePool {
public:
    std::unique_ptr<Lane> take();
    void give(std::unique_ptr<Lane> lane) noexcept;

private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Lane>> free_;
};

struct Inference {
    const Network& network;
    const Limits& limits;
    Weights weights;
    LanePool& pool;
    const CudaMemory& memory;

    bool run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const;
    void row_errors(const RowSource& source, std::span<double> errors, std::optional<MutableMatrixView> per_feature,
                    Memory memory) const;
};

}  // namespace isthmus::cuda
