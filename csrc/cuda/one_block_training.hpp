// SPDX-License-Identifier: Apache-2.0
// A range of steps in one block: launches of many steps each, two of them under way at a time.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/feed.hpp"
#include "cuda/one_block.hpp"
#include "cuda/one_block_plan.hpp"
#include "cuda/step_tables.hpp"
#include "cuda/stream.hpp"
#include "cuda/training.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

// What a launch reads and writes, in pinned memory; kept from one range to the next.
struct OneBlockBuffers {
    struct Slot {
        PinnedArray<std::int64_t> numbers;
        PinnedArray<StepConstants> constants;
        PinnedArray<double> losses;
        PinnedArray<int> diverged{1};
        std::vector<double> weights;  // sum of each step
        Event done;
    };
    Slot slots[2];
};

class OneBlockLoop {
public:
    OneBlockLoop(const Network& network, const OneBlockPlan& plan, Parameters parameters, const RowSource& source,
                 const HeldRows& held, std::int64_t first, const StepRange& range, const UpdateRule& rule, Stop& stop,
                 OneBlockBuffers& buffers, const Stream& stream);

    Totals run();

private:
    // Queues as many steps from next_ on as a launch takes, fewer where Stop says so.
    void queue(OneBlockBuffers::Slot& slot);
    void add_step(OneBlockBuffers::Slot& slot, std::int64_t step);
    bool stop_requested(std::int64_t step);
    // Waits for a launch and counts its steps. False after one that diverged.
    bool collect(OneBlockBuffers::Slot& slot);

    const OneBlockPlan& plan_;
    const RowSource& source_;
    const StepRange& range_;
    const UpdateRule& rule_;
    Stop& stop_;
    OneBlockBuffers& buffers_;
    const Stream& stream_;
    OneBlockArgs args_;
    std::int64_t most_steps_;
    std::int64_t next_ = 0;
    bool stopped_ = false;
    Totals totals_;
    std::exception_ptr exception_;  // from Stop, for the caller
};

}  // namespace isthmus::cuda
