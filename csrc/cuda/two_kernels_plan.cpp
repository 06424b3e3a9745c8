// SPDX-License-Identifier: Apache-2.0
#include "cuda/two_kernels_plan.hpp"

#include <algorithm>

#include "cuda/shared_places.hpp"
#include "cuda/weight_passes.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kMostRows = 16;  // of a block

// What follows is on paper, to be measured on a device; it changes no bit.
constexpr double kBytesACycleOfAll = 3000;  // from L2
constexpr double kCyclesAKernel = 3000;     // its launch in a graph, first operands, last results
constexpr double kMultiplyAddsACycle = 64;  // of one multiprocessor, half of what it could

const char* not_asked_of_two_kernels(const Network& network, const RangeFacts& facts, const Limits& limits) {
    if (facts.rows == 0) return "there are no rows";
    if (network.arithmetic() != Arithmetic::simt) return "two kernels multiply in float32 alone";
    if (facts.masked) return "values are missing";
    if (network.code() != nullptr) return "something is done to the code between encoder and decoder";
    if (network.tied_size() > 0) return "tied weights want the whole gradient first";
    if (facts.clipped) return "clip_norm wants the whole gradient first";
    if (facts.reduced) return "a reducer wants the whole gradient first";
    if (!facts.held) return "the rows do not fit the device";
    if (network.layers().size() > kMostRowBlockLayers) return "too many layers for two kernels";
    if (facts.batch() > piece_rows(network.floats_a_row(), limits)) return "a batch is several pieces";
    if (network.widest_stride() > kWidestRow || network.flat_size() > (std::int64_t{1} << 24)) {
        return "too wide for two kernels";
    }
    return nullptr;
}

// Floats of shared memory without the ring, which comes last.
std::int64_t place(RowBlockLayout& to, const std::vector<Layer>& layers, const RangeFacts& facts) {
    Places places;
    const std::int64_t rows = to.rows;
    to.partials = places.take(rows * 8 * 2);
    to.weights = places.take(rows);
    const int stride = odd_stride(layers.front().in);
    to.inputs = to.targets = places.take(rows * stride);
    if (facts.targets || facts.noise) to.targets = places.take(rows * stride);
    to.input_quads = Divisor(quads(layers.front().in));
    int x = to.inputs;
    int x_stride = stride;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        RowBlockLayer& layer = to.layers[i];
        layer.in = static_cast<int>(layers[i].in);
        layer.out = static_cast<int>(layers[i].out);
        layer.flat_weight = static_cast<int>(layers[i].weight);
        layer.flat_bias = static_cast<int>(layers[i].bias);
        layer.activation = layers[i].training_activation;
        layer.x = x;
        layer.x_stride = x_stride;
        layer.y_stride = odd_stride(layers[i].out);
        layer.y = places.take(rows * layer.y_stride);
        layer.dz = places.take(rows * layer.y_stride);
        x = layer.y;
        x_stride = layer.y_stride;
    }
    return places.floats();
}

// For blocks of so many rows; `why_not` where that does not fit.
TwoKernelsPlan with_rows(int rows, const Network& network, const RangeFacts& facts, const Limits& limits) {
    const std::vector<Layer>& layers = network.layers();
    TwoKernelsPlan plan;
    RowBlockLayout& to = plan.layout;
    to.rows = rows;
    to.n_layers = static_cast<int>(layers.size());
    const std::int64_t floats = place(to, layers, facts);
    if (!add_ring(to, floats, limits)) {
        plan.why_not = "too wide for two kernels";
        return plan;
    }
    plan.bytes = std::int64_t{to.floats} * std::int64_t{sizeof(float)};

    double cycles = 0.0;
    double bytes = 0.0;
    double multiply_adds = 0.0;
    const auto add_pass = [&](std::size_t l, bool forward) {
        cycles += add_weight_pass(to, static_cast<int>(l), forward);
        bytes += static_cast<double>(layers[l].in * layers[l].out * 4);
    };
    for (std::size_t l = 0; l < layers.size(); ++l) add_pass(l, true);
    for (std::size_t l = layers.size(); l-- > 1;) add_pass(l, false);
    for (const Layer& layer : layers) multiply_adds += static_cast<double>(layer.in * layer.out * facts.batch());

    plan.blocks = (facts.batch() + rows - 1) / rows;
    const auto blocks = static_cast<double>(plan.blocks);
    const auto multiprocessors = static_cast<double>(std::max(1, limits.multiprocessors));
    const double waves = std::max(1.0, blocks / multiprocessors);
    const double of_rows = std::max({waves * cycles, waves * bytes / kBytesACycle, blocks * bytes / kBytesACycleOfAll});
    const double of_gradients = multiply_adds / multiprocessors / kMultiplyAddsACycle;
    plan.microseconds = (of_rows + of_gradients + 2 * kCyclesAKernel) / kCyclesAMicrosecond;
    return plan;
}

}  // namespace

TwoKernelsPlan plan_two_kernels(const Network& network, const RangeFacts& facts, const Limits& limits) {
    TwoKernelsPlan best;
    best.why_not = not_asked_of_two_kernels(network, facts, limits);
    if (best.why_not != nullptr) return best;
    best = with_rows(1, network, facts, limits);
    for (int rows = 2; rows <= kMostRows; rows *= 2) {
        TwoKernelsPlan plan = with_rows(rows, network, facts, limits);
        if (plan.why_not == nullptr && plan.microseconds < best.microseconds) best = plan;
    }
    return best;
}

}  // namespace isthmus::cuda
