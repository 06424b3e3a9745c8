// SPDX-License-Identifier: Apache-2.0
#include "cpu/inference.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

#include "cpu/code.hpp"
#include "cpu/team.hpp"
#include "cpu/workspace.hpp"

namespace isthmus::cpu {

Buffer ScratchPool::take(std::int64_t size) {
    {
        const std::lock_guard lock(mutex_);
        for (Buffer& buffer : free_) {
            if (buffer.size() < size) continue;
            Buffer taken = std::move(buffer);
            buffer = std::move(free_.back());
            free_.pop_back();
            return taken;
        }
    }
    return Buffer(size);
}

void ScratchPool::give(Buffer buffer) {
    const std::lock_guard lock(mutex_);
    if (free_.size() < kMost) {
        free_.push_back(std::move(buffer));
        return;
    }
    const auto smallest = std::min_element(free_.begin(), free_.end(),
                                           [](const Buffer& a, const Buffer& b) { return a.size() < b.size(); });
    if (smallest->size() < buffer.size()) *smallest = std::move(buffer);
}

namespace {

class Lease {
public:
    Lease(ScratchPool& pool, std::int64_t size) : pool_(pool), buffer_(pool.take(size)) {}
    ~Lease() {
        try {
            pool_.give(std::move(buffer_));
        } catch (...) {  // no memory for the list: then the buffer is freed
        }
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    float* data() { return buffer_.data(); }

private:
    ScratchPool& pool_;
    Buffer buffer_;
};

struct Matrix {
    float* data;
    std::int64_t stride;
    Pair* pairs;  // the rounded copy, where the products want one
};

// Two matrices of `rows` rows, as wide as the widest of the network: a layer's input and its output, in turn; and a row
// for what happens to the code.
class TwoMatrices {
public:
    TwoMatrices(const Network& network, std::int64_t rows) : network_(network), rows_(rows) {}

    std::int64_t size() const { return 2 * (values() + pairs()) + code_row(); }
    float* code_row_at(float* memory) const { return memory + 2 * (values() + pairs()); }
    // Number `which` of those at `memory`, for rows of `stride`.
    Matrix at(float* memory, std::size_t which, std::int64_t stride) const {
        float* const mine = memory + static_cast<std::int64_t>(which % 2) * (values() + pairs());
        return {mine, stride, pairs() != 0 ? reinterpret_cast<Pair*>(mine + values()) : nullptr};
    }

private:
    std::int64_t values() const { return rows_ * network_.widest_stride(); }
    std::int64_t code_row() const { return network_.code() != nullptr ? activation_stride(network_.code()->width) : 0; }
    std::int64_t pairs() const {
        return network_.products().rounds ? rows_ * pair_stride(network_.widest_stride()) : 0;
    }

    const Network& network_;
    std::int64_t rows_;
};

// One layer of some rows: panels [first_panel, last_panel) of y = act(x @ w.T + bias).
struct LayerRun {
    const Network& network;
    Weights weights;
    bool logits;          // the last layer gives z when the loss works on logits
    std::size_t last_op;  // of the program, where the run ends

    void operator()(std::size_t i, std::int64_t count, MatrixView x, const Pair* x_pairs, Matrix y,
                    std::int64_t first_panel, std::int64_t last_panel, Ahead* ahead) const {
        const Layer& layer = network.layers()[i];
        const Activation activation = logits ? network.training_activation(i) : layer.activation;
        network.products().dense_forward({count, layer.in, layer.out, x.data, x.stride, weights.params + layer.weight,
                                          first_panel, last_panel, activation, y.data, y.stride, nullptr, ahead,
                                          x_pairs, weights.copies + layer.copies, y.pairs});
    }

    // Is the code changed behind layer i?
    bool changes_code(std::size_t i) const {
        return network.code() != nullptr && network.code()->changes() && network.code()->follows(i, last_op);
    }
};

// The rounded copy of x at `pairs`, or null where there is none.
const Pair* round(const Network& network, MatrixView x, Pair* pairs) {
    if (pairs != nullptr) network.products().round(x.rows, x.cols, x.data, x.stride, pairs);
    return pairs;
}

// Layers [first, last) on the rows of x through two matrices, the last one into `y` when that is given. Returns where
// the result is.
Matrix forward(const LayerRun& layer_run, std::size_t first, std::size_t last, MatrixView x, const TwoMatrices& two,
               float* memory, Matrix y, Ahead* ahead) {
    const Pair* x_pairs = round(layer_run.network, x, two.at(memory, first + 1, 0).pairs);
    Matrix result{};
    for (std::size_t i = first; i < last; ++i) {
        const Layer& layer = layer_run.network.layers()[i];
        result = i + 1 == last && y.data != nullptr ? y : two.at(memory, i, layer.out_stride);
        layer_run(i, x.rows, x, x_pairs, result, 0, layer.forward.count(), ahead);
        x = {result.data, x.rows, layer.out, result.stride};
        if (layer_run.changes_code(i)) {
            change_code(layer_run.network, result.data, result.stride, x.rows, result.pairs, two.code_row_at(memory));
        }
        x_pairs = result.pairs;
    }
    return result;
}

void copy_rows(Matrix from, std::int64_t count, MutableMatrixView out, std::int64_t row) {
    for (std::int64_t r = 0; r < count; ++r) std::copy_n(from.data + r * from.stride, out.cols, out.row(row + r));
}

// Rows [begin, end) where they are one stretch of memory; else, or without rows, one line that is in a cache.
Stretch stretch(MatrixView matrix, std::int64_t begin, std::int64_t end) {
    if (begin >= end || matrix.stride != matrix.cols) return {matrix.data, 1};
    return {matrix.row(begin), std::max<std::int64_t>(1, (end - begin) * matrix.cols / 16)};
}

// Rows that the threads together take through the layers, each a share of the panels, at most; beyond that each takes
// rows of its own.
std::int64_t rows_by_panels(const Network& network, int threads) {
    const bool large = network.multiply_adds() > kWordsInL2;
    return threads > 1 ? (large ? 4 : 1) * threads * std::int64_t{network.isa().tile_rows} - 1 : 0;
}

// As many as a block can have.
constexpr std::int64_t kMostBlockRows = kBlockTiles * kMostTileRows;

double forward_flops(const Network& network, std::int64_t rows) {
    return 2.0 * static_cast<double>(network.multiply_adds()) * static_cast<double>(rows);
}

}  // namespace

bool Inference::run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const {
    const int threads = threads_for(forward_flops(network, rows.rows), thread_limit);
    const InstructionSet& isa = network.isa();
    const LayerRun layer_run{network, weights, false, last_op};
    const std::size_t first_layer = network.layers_before(first_op);
    const std::size_t last_layer = network.layers_before(last_op);
    // Kernels write whole vectors: where a row of `out` is not, a buffer stands between.
    const bool direct = out.cols % isa.lanes == 0 && out.cols == network.layers()[last_layer - 1].out;
    const bool far = rows.rows * rows.cols > kWordsInL2;
    const bool by_panels = rows.rows <= rows_by_panels(network, threads);
    const std::int64_t block = by_panels ? rows.rows : std::min(most_block_rows(network), rows.rows);
    const TwoMatrices two(network, block);
    Lease scratch(pool, two.size() * (by_panels ? 1 : threads));
    std::atomic<bool> finite{true};
    run_team(threads, [&](const Member& me) {
        if (by_panels) {
            MatrixView x = rows;
            const Pair* x_pairs = nullptr;
            if (Pair* pairs = two.at(scratch.data(), first_layer + 1, 0).pairs) {
                const std::int64_t begin = me.begin(rows.rows);
                round(network, {rows.row(begin), me.end(rows.rows) - begin, rows.cols, rows.stride},
                      pairs + begin * pair_stride(rows.cols));
                x_pairs = pairs;
                me.wait();
            }
            if (me.id == 0) finite = isa.all_finite(rows.rows, rows.cols, rows.data, rows.stride);
            for (std::size_t i = first_layer; i < last_layer; ++i) {
                const Layer& layer = network.layers()[i];
                const bool last = i + 1 == last_layer;
                const Matrix y = last && direct ? Matrix{out.data, out.stride, nullptr}
                                                : two.at(scratch.data(), i, layer.out_stride);
                const std::int64_t panels = layer.forward.count();
                layer_run(i, rows.rows, x, x_pairs, y, me.begin(panels), me.end(panels), nullptr);
                me.wait();
                x = {y.data, rows.rows, layer.out, y.stride};
                if (layer_run.changes_code(i)) {  // a few rows: one thread's
                    if (me.id == 0)
                        change_code(network, y.data, y.stride, x.rows, y.pairs, two.code_row_at(scratch.data()));
                    me.wait();
                }
                x_pairs = y.pairs;
                if (last && !direct && me.id == 0) copy_rows(y, rows.rows, out, 0);
            }
            return;
        }
        float* const mine = scratch.data() + me.id * two.size();
        for_each_row_block(network, me.begin(rows.rows), me.end(rows.rows), [&](std::int64_t row, std::int64_t end) {
            if (!isa.all_finite(end - row, rows.cols, rows.row(row), rows.stride)) finite = false;
            const Matrix target = direct ? Matrix{out.row(row), out.stride, nullptr} : Matrix{};
            // What this block writes, and what the next one reads.
            const std::int64_t next_end = std::min(end + end - row, me.end(rows.rows));
            const Stretch stretches[2] = {stretch(out, row, direct ? end : row), stretch(rows, end, next_end)};
            Ahead ahead{stretches, 2};
            const Matrix y =
                forward(layer_run, first_layer, last_layer, {rows.row(row), end - row, rows.cols, rows.stride}, two,
                        mine, target, far ? &ahead : nullptr);
            if (!direct) copy_rows(y, end - row, out, row);
        });
    });
    return finite;
}

void Inference::row_errors(const RowSource& source, std::span<double> errors,
                           std::optional<MutableMatrixView> per_feature) const {
    const std::int64_t n = source.rows();
    const std::int64_t d = network.n_features();
    const int threads = threads_for(forward_flops(network, n), thread_limit);
    const LayerRun layer_run{network, weights, true, SIZE_MAX};
    const std::int64_t block = std::min(most_block_rows(network), n);
    const TwoMatrices two(network, block);
    Lease scratch(pool, two.size() * threads);
    const MatrixView& target_rows = source.targets ? *source.targets : source.inputs;
    run_team(threads, [&](const Member& me) {
        float* const mine = scratch.data() + me.id * two.size();
        const float* target[kMostBlockRows];
        for_each_row_block(network, me.begin(n), me.end(n), [&](std::int64_t row, std::int64_t end) {
            const MatrixView x{source.inputs.row(row), end - row, source.inputs.cols, source.inputs.stride};
            const Matrix y = forward(layer_run, 0, network.layers().size(), x, two, mine, {}, nullptr);
            for (std::int64_t r = row; r < end; ++r) target[r - row] = target_rows.row(r);
            network.isa().loss({network.loss(), end - row, d, y.data, y.stride, target, nullptr, static_cast<double>(d),
                                errors.data() + row, nullptr, 0, per_feature ? per_feature->row(row) : nullptr,
                                per_feature ? per_feature->stride : 0, source.masked});
        });
    });
}

std::int64_t Inference::most_scratch(const Network& network, std::int64_t rows, int threads) {
    const std::int64_t by_panels = std::min(rows, rows_by_panels(network, threads));
    const std::int64_t by_rows = std::min(rows, most_block_rows(network));
    return std::max(TwoMatrices(network, by_panels).size(), TwoMatrices(network, by_rows).size() * threads);
}

}  // namespace isthmus::cpu
