// SPDX-License-Identifier: Apache-2.0
#include "cuda/range_plan.hpp"

#include <algorithm>

#include "cuda/one_block_plan.hpp"
#include "cuda/thread_tiles.hpp"
#include "cuda/two_kernels_plan.hpp"

namespace isthmus::cuda {

namespace {

// Why the steps of a range are not captured, or null: a graph's kernels read nothing but device memory, and what
// changes from step to step comes from its table.
const char* no_graph(const Network& network, const RangeFacts& facts, const Limits& limits) {
    if (facts.reduced) return "a reducer is on the host";
    if (!facts.held) return "rows come from the host";
    if (facts.batch() > piece_rows(network.floats_a_row(), limits)) return "a batch is several pieces";
    // Of 6 GFLOP of fused multiply-adds: then the device is always behind the host.
    if (steps_a_look(network.step_flops(facts.batch()), network.arithmetic()) < kStepsAGraph) return "a step is long";
    if (steps_a_table(facts.batch_size) < kStepsAGraph) return "a batch is large";
    if (facts.rows / std::max<std::int64_t>(1, facts.batch_size) <= kStepsAGraph) return "there are few steps";
    return nullptr;
}

// Microseconds of a step layer by layer, on paper: a kernel of those 3 L + 2 takes at least 2.5, and a product half of
// what the multiprocessors could do.
double layer_by_layer_microseconds(const Network& network, const RangeFacts& facts, const Limits& limits) {
    const double kernels = 3.0 * static_cast<double>(network.layers().size()) + 2.0;
    const double flops_a_microsecond = 128.0 * kCyclesAMicrosecond * std::max(1, limits.multiprocessors);
    return 2.5 * kernels + network.step_flops(facts.batch()) / flops_a_microsecond;
}

const char* name_of(PlanKind kind) {
    switch (kind) {
        case PlanKind::one_block: return "one_block";
        case PlanKind::two_kernels: return "two_kernels";
        case PlanKind::layer_by_layer: return "layers";
    }
    return "";
}

}  // namespace

Plan plan(const Network& network, const RangeFacts& facts, const Limits& limits) {
    Plan plan;
    plan.one_block = plan_one_block(network, facts, limits);
    plan.two_kernels = plan_two_kernels(network, facts, limits);
    if (limits.plan) {
        plan.kind = *limits.plan;
        plan.why = "ISTHMUS_CUDA_PLAN says so";
        const char* const why_not = plan.kind == PlanKind::one_block     ? plan.one_block.why_not
                                    : plan.kind == PlanKind::two_kernels ? plan.two_kernels.why_not
                                                                         : nullptr;
        if (why_not != nullptr) {
            throw Error(ErrorKind::runtime,
                        std::string("ISTHMUS_CUDA_PLAN is ") + name_of(plan.kind) + ", but " + why_not);
        }
    } else {
        double least = layer_by_layer_microseconds(network, facts, limits);
        plan.why = plan.two_kernels.why_not != nullptr ? plan.two_kernels.why_not : "faster on all multiprocessors";
        if (plan.two_kernels.why_not == nullptr && plan.two_kernels.microseconds < least) {
            plan.kind = PlanKind::two_kernels;
            least = plan.two_kernels.microseconds;
        }
        if (plan.one_block.why_not == nullptr && plan.one_block.microseconds < least) plan.kind = PlanKind::one_block;
    }
    if (plan.kind == PlanKind::one_block) return plan;
    if (const char* const why = no_graph(network, facts, limits)) {
        plan.why_no_graph = why;
    } else {
        plan.steps_a_graph = kStepsAGraph;
    }
    return plan;
}

std::string describe(const Plan& plan) {
    const auto kilobytes = [](std::int64_t bytes) {
        return std::to_string((bytes + 1023) / 1024) + " KB of shared memory";
    };
    if (plan.kind == PlanKind::one_block) {
        return "one block: " + std::to_string(plan.one_block.layout.threads) + " threads, " +
               kilobytes(plan.one_block.bytes);
    }
    const std::string launched = plan.steps_a_graph > 0 ? std::to_string(plan.steps_a_graph) + " steps a graph: "
                                                        : std::string("no graph, for ") + plan.why_no_graph + ": ";
    if (plan.kind == PlanKind::layer_by_layer) return "layer by layer, " + launched + plan.why;
    const int rows = plan.two_kernels.layout.rows;
    return "two kernels, " + launched + std::to_string(plan.two_kernels.blocks) + " blocks of " + std::to_string(rows) +
           (rows == 1 ? " row, " : " rows, ") + kilobytes(plan.two_kernels.bytes) + " each";
}

}  // namespace isthmus::cuda
