// SPDX-License-Identifier: Apache-2.0
// Which plan a range of steps takes: one block of threads that keeps the whole network in its shared memory; two
// kernels a step; or kernel after kernel, layer by layer. Several steps of the latter two go in a CUDA graph. A pure
// function, tested without a device. All plans give the same bits.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/network.hpp"
#include "cuda/one_block_layout.hpp"
#include "cuda/plan.hpp"
#include "cuda/row_blocks_layout.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// What is asked of a range of steps.
struct RangeFacts {
    std::int64_t rows = 0;  // of all steps
    std::int64_t batch_size = 0;
    Optimizer optimizer = Optimizer::adam;
    bool targets = false;
    bool masked = false;
    bool weights = false;
    bool noise = false;
    bool keyed = false;  // the noise knows rows by other numbers than their own
    bool clipped = false;
    bool reduced = false;
    bool held = true;  // are the rows on the device?

    std::int64_t batch() const { return rows < batch_size ? rows : batch_size; }
};

struct OneBlockPlan {
    const char* why_not = nullptr;  // null where one block does it
    BlockLayout layout;
    std::int64_t bytes = 0;   // of shared memory that it takes, or would take; 0 where that was not worked out
    double microseconds = 0;  // a step, estimated on paper
};

struct TwoKernelsPlan {
    const char* why_not = nullptr;  // null where two kernels do it
    RowBlockLayout layout;
    std::int64_t blocks = 0;  // of the first, for a full batch
    std::int64_t bytes = 0;   // of shared memory that each takes; 0 where that was not worked out
    double microseconds = 0;  // a step, estimated on paper
};

struct Plan {
    PlanKind kind = PlanKind::layer_by_layer;
    OneBlockPlan one_block;
    TwoKernelsPlan two_kernels;
    const char* why = "";            // none of the plans before it
    std::int64_t steps_a_graph = 0;  // launched at once; 0: kernels are launched one by one
    const char* why_no_graph = "";
};

// Error(runtime) where limits.plan asks for what cannot be.
Plan plan(const Network& network, const RangeFacts& facts, const Limits& limits);

// "one block: 512 threads, 98 KB of shared memory", "two kernels, 8 steps a graph: 64 blocks of 4 rows, 187 KB of
// shared memory each", "layer by layer, 8 steps a graph: too wide for two kernels".
std::string describe(const Plan& plan);

}  // namespace isthmus::cuda
