// SPDX-License-Identifier: Apache-2.0
// What a batch leaves behind for the weight phase: every layer's input, output and dz, row by row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/buffer.hpp"
#include "cpu/network.hpp"

namespace isthmus::cpu {

// Rows a step works on at a time; a larger batch is summed piece by piece into the flat gradient, in the same order.
// 1,024 rows of the MNIST network's matrices are 10 MB.
inline constexpr std::int64_t kPieceRows = 1024;

// Whether the weight phase packs a layer's columns of x, and its panels of dz: where each is read this often, and where
// operands are rounded.
inline bool packs_columns(const Network& network, const Layer& layer) {
    return network.products().rounds || layer.forward.count() >= 4;
}
inline bool packs_panels(const Network& network, const Layer& layer) {
    return network.products().rounds || layer.in >= 2 * kWeightTileRows;
}

// Floats of a weight tile's packed columns, with room for what pack_columns writes too much, and of a packed panel.
inline std::int64_t packed_tile_size(const Network& network, std::int64_t rows) {
    return kWeightTileRows * (network.products().rounds ? padded_pairs(rows) : rows) + 16;
}
inline std::int64_t packed_panel_size(const Network& network, std::int64_t rows) {
    return network.isa().panel * (network.products().rounds ? padded_pairs(rows) : rows);
}

// The most rows taken through all layers at a time. Weights of up to 1 MB stay in L2 whatever the block, so the block
// is what leaves the rows' matrices there too; larger ones come from memory once a block, so then it is large.
inline constexpr std::int64_t kBlockTiles = 20;
inline std::int64_t most_block_rows(const Network& network) {
    const std::int64_t tile = network.isa().tile_rows;
    if (network.multiply_adds() > kWordsInL2) return kBlockTiles * tile;
    return std::clamp(kWordsInL2 / network.widest_stride(), 2 * tile, 8 * tile);
}

// One buffer for all of it, so that all but the smallest lie on huge pages. What runs in parallel allocates nothing:
// an exception could not leave it.
struct Workspace {
    struct Scratch {  // of one thread
        float* columns = nullptr;
        float* panel = nullptr;
        std::vector<Stretch> ahead;  // with room for a block's
        float* clean = nullptr;      // sparse rows of a block as they were before they were corrupted, if wanted
    };

    Workspace(const Network& network, std::int64_t rows, int threads, bool clean = false)
        : rows(rows),
          clean(clean),
          errors(static_cast<std::size_t>(rows)),
          scales(static_cast<std::size_t>(rows)),
          inputs(static_cast<std::size_t>(rows)),
          targets(static_cast<std::size_t>(rows)),
          y(network.layers().size()),
          layer_inputs(network.layers().size()),
          dz(network.layers().size()),
          y_pairs(network.layers().size()),
          dz_pairs(network.layers().size()),
          scratch(static_cast<std::size_t>(threads)) {
        lay_out(network);
        memory_ = Buffer(size_);
        lay_out(network);
        for (Scratch& thread : scratch) thread.ahead.reserve(static_cast<std::size_t>(most_block_rows(network)));
    }

    bool has_room(std::int64_t wanted_rows, int threads, bool wants_clean = false) const {
        return rows >= wanted_rows && scratch.size() >= static_cast<std::size_t>(threads) && clean >= wants_clean;
    }

    std::int64_t rows;
    bool clean;
    float* x = nullptr;  // gathered input, corrupted when there is noise
    std::vector<double> errors;
    std::vector<float> scales;
    std::vector<const float*> inputs;
    std::vector<const float*> targets;
    std::vector<float*> y;                   // output of each layer
    std::vector<const float*> layer_inputs;  // x, what the layer below gives, or the code that was drawn from that
    // Of the code, where the network does something to it: what was drawn and of which eps; the gradient by what the
    // decoder sees, and which units are kept; each row's penalty.
    float* drawn = nullptr;
    Pair* drawn_pairs = nullptr;
    float* eps = nullptr;
    float* dcode = nullptr;
    float* kept = nullptr;
    std::vector<double> penalties;
    std::vector<float*> dz;  // holds z between forward and backward where the activation needs it
    // Rounded copies of x, y and dz where the products want them, else null.
    Pair* x_pairs = nullptr;
    std::vector<Pair*> y_pairs;
    std::vector<Pair*> dz_pairs;
    std::vector<Scratch> scratch;

private:
    // Once for the size, once for the places.
    void lay_out(const Network& network) {
        size_ = 0;
        const auto take = [this](std::int64_t size) {
            float* place = memory_.data() ? memory_.data() + size_ : nullptr;
            size_ += round_up(size, 16);
            return place;
        };
        bool columns = false;
        bool panels = false;
        x = take(rows * network.layers().front().in_stride);
        for (std::size_t i = 0; i < network.layers().size(); ++i) {
            const Layer& layer = network.layers()[i];
            y[i] = take(rows * layer.out_stride);
            // Nobody asks for the output once the loss has its gradient, so that may take its place. In the MNIST
            // network that keeps all of a batch in an L2 of 2 MB.
            const bool last = i + 1 == network.layers().size();
            const bool replaced = last && network.training_activation(i) == Activation::linear;
            dz[i] = replaced ? y[i] : take(rows * layer.out_stride);
            columns |= packs_columns(network, layer);
            panels |= packs_panels(network, layer);
        }
        if (const CodeStage* const code = network.code()) {
            dcode = take(rows * activation_stride(code->width));
            if (code->keep > 0) kept = take(rows * activation_stride(code->width));
            if (code->sampled) {
                drawn = take(rows * activation_stride(code->width));
                eps = take(rows * activation_stride(code->width));
            }
            if (code->penalty) penalties.resize(static_cast<std::size_t>(rows));
        }
        if (network.products().rounds) {
            const auto take_pairs = [&](std::int64_t width) {
                return reinterpret_cast<Pair*>(take(rows * pair_stride(width)));
            };
            x_pairs = take_pairs(network.n_features());
            for (std::size_t i = 0; i < network.layers().size(); ++i) {
                const Layer& layer = network.layers()[i];
                const CodeStage* const code = network.code();
                if (code != nullptr && code->sampled && code->layer == i) {
                    drawn_pairs = take_pairs(code->width);
                } else if (i + 1 < network.layers().size()) {
                    y_pairs[i] = take_pairs(layer.out);
                }
                if (layer.input_gradient) dz_pairs[i] = take_pairs(layer.out);
            }
        }
        for (std::size_t i = 0; i < layer_inputs.size(); ++i) layer_inputs[i] = i == 0 ? x : y[i - 1];
        if (drawn != nullptr) layer_inputs[network.code()->layer + 1] = drawn;
        for (Scratch& thread : scratch) {
            if (columns) thread.columns = take(kWeightGroupRows / kWeightTileRows * packed_tile_size(network, rows));
            if (panels) thread.panel = take(packed_panel_size(network, rows));
            if (clean)
                thread.clean = take(std::min(rows, most_block_rows(network)) * network.layers().front().in_stride);
        }
    }

    Buffer memory_;
    std::int64_t size_ = 0;
};

// Calls block(begin, end) for as few blocks as that allows, all of nearly the same height.
template <class F>
void for_each_row_block(const Network& network, std::int64_t begin, std::int64_t end, F&& block) {
    const std::int64_t rows = end - begin;
    const std::int64_t most = most_block_rows(network);
    const std::int64_t blocks = (rows + most - 1) / most;
    for (std::int64_t i = 0; i < blocks; ++i) block(begin + rows * i / blocks, begin + rows * (i + 1) / blocks);
}

}  // namespace isthmus::cpu
