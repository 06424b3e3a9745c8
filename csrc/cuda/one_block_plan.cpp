// SPDX-License-Identifier: Apache-2.0
#include "cuda/one_block_plan.hpp"

#include <algorithm>
#include <array>

#include "cuda/shared_places.hpp"
#include "math/registry.hpp"

namespace isthmus::cuda {

namespace {

constexpr int kMostThreads = 512;  // 128 registers each
constexpr std::int64_t kMostBatch = 1024;

// ---- how work is divided -------------------------------------------------------------------------------------------

struct Division {
    BlockProduct product;
    int items = 0;  // threads that have work
    int cycles = 0;
};

Division divide(int rows, int cols, int k_quads) {
    Division best;
    for (const TileShape& t : kThreadTiles) {
        const int items = rounded_up(rows, t.rows) * (cols / t.cols);
        const int cycles = cycles_a_quad(t, items) * k_quads + 150;
        if (best.items == 0 || cycles < best.cycles) best = {{t.tile, Divisor(cols / t.cols)}, items, cycles};
    }
    return best;
}

struct UpdateDivision {
    int rows = 4;  // of a weight's tile
    int items = 0;
    int cycles = 0;
};

UpdateDivision divide_update(const std::vector<Layer>& layers, int batch) {
    UpdateDivision best;
    for (const int rows : {4, 2, 1}) {
        int items = 0;
        for (const Layer& layer : layers) items += quads(layer.out) * 4 / rows * quads(layer.in) + quads(layer.out);
        const int warps_each = rounded_up(rounded_up(items, 32), 4);
        constexpr int kUpdate = 20;  // instructions of Adam, read from the machine code for sm_90a
        const int cycles = warps_each * (batch * (2 + 4 * rows) + 4 * rows * kUpdate + 60);
        if (best.items == 0 || cycles < best.cycles) best = {rows, items, cycles};
    }
    return best;
}

// ---- where things lie ----------------------------------------------------------------------------------------------

std::int64_t place(BlockLayout& to, const std::vector<Layer>& layers, const RangeFacts& facts) {
    Places places;
    const std::int64_t batch = facts.batch();
    const std::int64_t rows = batch + kRowsBeyond;
    to.numbers = places.take(2 * 2 * batch);
    to.constants = places.take(2 * sizeof(StepConstants) / sizeof(float));
    to.diverged = places.take(1);

    to.params = places.take(0);
    for (std::size_t i = 0; i < layers.size(); ++i) {
        to.layers[i].weight_stride = odd_stride(layers[i].in);
        to.layers[i].weight = places.take(std::int64_t{4} * quads(layers[i].out) * to.layers[i].weight_stride);
        to.layers[i].bias = places.take(layers[i].out);
    }
    to.params_size = places.take(0) - to.params;
    bool uses_v = false;
    math::visit(facts.optimizer, [&](auto opt) { uses_v = decltype(opt)::uses_v; });
    places.take(std::int64_t{to.params_size} * (uses_v ? 2 : 1));

    // Two slots; in the one the rows of a step, in the other those of the next on their way.
    const auto two_slots = [&](std::int64_t n, int& toggle) {
        const int at = places.take(n);
        toggle = places.take(n) - at;
        return at;
    };
    const std::int64_t width = layers.front().in;
    to.rows_stride = odd_stride(width);
    to.rows_quads = Divisor(quads(width));
    to.rows = two_slots(rows * to.rows_stride, to.rows_toggle);
    to.targets = to.rows;
    to.targets_toggle = to.rows_toggle;
    if (facts.targets) to.targets = two_slots(rows * to.rows_stride, to.targets_toggle);
    if (facts.weights) to.weights = two_slots(rows, to.weights_toggle);
    if (facts.noise) to.corrupted = places.take(rows * to.rows_stride);

    int x = facts.noise ? to.corrupted : to.rows;
    int x_stride = to.rows_stride;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        BlockLayer& layer = to.layers[i];
        layer.x = x;
        layer.x_stride = x_stride;
        layer.x_toggle = i == 0 && !facts.noise ? to.rows_toggle : 0;
        layer.y_stride = odd_stride(layers[i].out);
        layer.y = places.take(rows * layer.y_stride);
        layer.dz = places.take(rows * layer.y_stride);
        x = layer.y;
        x_stride = layer.y_stride;
    }
    return places.floats();
}

// Threads and microseconds of a step.
double divide_work(BlockLayout& to, const std::vector<Layer>& layers) {
    int cycles = 300;
    int most_items = 2 * to.batch;
    const auto divided = [&](const Division& division) {
        cycles += division.cycles;
        most_items = std::max(most_items, division.items);
        return division.product;
    };
    const UpdateDivision update = divide_update(layers, to.batch);
    cycles += update.cycles;
    to.update_rows = update.rows;
    int items = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        BlockLayer& layer = to.layers[i];
        layer.forward = divided(divide(to.batch, 4 * layer.out_quads, layer.in_quads));
        if (i > 0) layer.backward = divided(divide(to.batch, 4 * layer.in_quads, layer.out_quads));
        items += 4 * layer.out_quads / update.rows * layer.in_quads;
        layer.weight_items = items;
        items += layer.out_quads;
        layer.bias_items = items;
    }
    to.update_items = items;
    most_items = std::max(most_items, items);
    to.threads = most_items <= 128 ? 128 : most_items <= 256 ? 256 : kMostThreads;
    return cycles / kCyclesAMicrosecond;
}

const char* not_asked_of_one_block(const Network& network, const RangeFacts& facts, const Limits& limits) {
    const std::vector<Layer>& layers = network.layers();
    if (facts.rows == 0) return "there are no rows";
    if (network.arithmetic() != Arithmetic::simt) return "one block multiplies in float32 alone";
    if (facts.masked) return "values are missing";
    if (facts.keyed) return "noise is keyed by other numbers than the rows'";
    if (network.code() != nullptr) return "something is done to the code between encoder and decoder";
    if (network.tied_size() > 0) return "tied weights want the whole gradient first";
    if (facts.clipped) return "clip_norm wants the whole gradient first";
    if (facts.reduced) return "a reducer wants the whole gradient first";
    if (!facts.held) return "the rows do not fit the device";
    if (layers.size() < 2 || layers.size() > kMostBlockLayers) return "too many layers for one block";
    if (facts.batch() > kMostBatch || facts.batch() > piece_rows(network.floats_a_row(), limits)) {
        return "the batch is too large for one block";
    }
    if (network.flat_size() > (1 << 16)) return "too large for one block";
    return nullptr;
}

}  // namespace

OneBlockPlan plan_one_block(const Network& network, const RangeFacts& facts, const Limits& limits) {
    OneBlockPlan plan;
    plan.why_not = not_asked_of_one_block(network, facts, limits);
    if (plan.why_not != nullptr) return plan;
    const std::vector<Layer>& layers = network.layers();
    BlockLayout& to = plan.layout;
    to.n_layers = static_cast<int>(layers.size());
    to.batch = static_cast<int>(facts.batch());
    to.last_batch = static_cast<int>(facts.rows - (facts.rows - 1) / facts.batch() * facts.batch());
    to.loss_groups = std::min(8, rounded_up(to.batch, 32));
    for (std::size_t i = 0; i < layers.size(); ++i) {
        BlockLayer& layer = to.layers[i];
        layer.in = static_cast<int>(layers[i].in);
        layer.out = static_cast<int>(layers[i].out);
        layer.in_quads = quads(layers[i].in);
        layer.out_quads = quads(layers[i].out);
        layer.in_quads_divisor = Divisor(layer.in_quads);
        layer.activation = layers[i].training_activation;
        layer.flat_weight = static_cast<int>(layers[i].weight);
        layer.flat_bias = static_cast<int>(layers[i].bias);
        layer.part_rows[0] = static_cast<int>(row_parts(to.batch, layer.out, layer.in).rows);
        layer.part_rows[1] = static_cast<int>(row_parts(to.last_batch, layer.out, layer.in).rows);
    }
    const std::int64_t floats = place(to, layers, facts);
    plan.bytes = floats * std::int64_t{sizeof(float)};
    to.floats = static_cast<int>(std::min<std::int64_t>(floats, INT32_MAX));
    plan.microseconds = divide_work(to, layers);
    if (plan.bytes > limits.shared_memory) plan.why_not = "too large for one block";
    return plan;
}

std::int64_t steps_a_launch(const OneBlockPlan& plan) {
    const std::int64_t bytes_a_step = 8 * plan.layout.batch + 128;
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(20e3 / plan.microseconds), 1, (1 << 20) / bytes_a_step);
}

}  // namespace isthmus::cuda
