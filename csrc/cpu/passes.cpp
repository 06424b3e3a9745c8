// SPDX-License-Identifier: Apache-2.0
#include "cpu/passes.hpp"

#include <algorithm>
#include <vector>

#include "cpu/code.hpp"

namespace isthmus::cpu {

namespace {

void gather(const Network& network, const RowSource& source, std::span<const std::int64_t> rows, const Noise& noise,
            std::int64_t begin, std::int64_t end, float* clean, Workspace& work) {
    const std::int64_t n_features = network.n_features();
    const std::int64_t stride = network.layers().front().in_stride;
    const MatrixView inputs = source.inputs;
    const MatrixView targets = source.targets ? *source.targets : inputs;
    const auto width = static_cast<float>(n_features);
    if (source.sparse) {
        // What is compared with has to stay as it is when the input is corrupted.
        float* const dense = noise.amount != 0.0F ? clean : work.x + begin * stride;
        for (std::int64_t r = begin; r < end; ++r) {
            const auto i = static_cast<std::size_t>(r);
            float* const row = dense + (r - begin) * stride;
            source.sparse->write_row(rows[i], n_features, row);
            work.inputs[i] = work.targets[i] = row;
        }
    }
    for (std::int64_t r = begin; r < end && !source.sparse; ++r) {
        const auto i = static_cast<std::size_t>(r);
        work.inputs[i] = inputs.row(rows[i]);
        work.targets[i] = targets.row(rows[i]);
    }
    if (source.weights == nullptr) {
        std::fill(work.scales.begin() + begin, work.scales.begin() + end, 1.0F / width);
    } else {
        for (std::int64_t r = begin; r < end; ++r) {
            const auto i = static_cast<std::size_t>(r);
            work.scales[i] = source.weights[rows[i]] / width;
        }
    }
    const bool in_place = source.sparse && noise.amount == 0.0F;
    if (!in_place)
        network.isa().gather({end - begin, n_features, work.inputs.data() + begin, work.x + begin * stride, stride});
    if (noise.amount != 0.0F) {
        for (std::int64_t r = begin; r < end; ++r) {
            const std::int64_t key = source.key(rows[static_cast<std::size_t>(r)]);
            network.isa().corrupt({math::Purpose::noise, noise, key, n_features, work.x + r * stride});
        }
    }
    if (work.x_pairs != nullptr) {
        network.products().round(end - begin, n_features, work.x + begin * stride, stride,
                                 work.x_pairs + begin * pair_stride(n_features));
    }
}

// Row `row` of a rounded matrix that may not be kept.
Pair* pairs_at(Pair* matrix, std::int64_t row, std::int64_t width) {
    return matrix != nullptr ? matrix + row * pair_stride(width) : nullptr;
}

void forward(const Network& network, Weights weights, const RowSource& source, std::span<const std::int64_t> rows,
             const Noise& noise, std::int64_t row, std::int64_t count, Workspace& work, Ahead* ahead) {
    const float* input = work.x + row * network.layers().front().in_stride;
    const Pair* input_pairs = pairs_at(work.x_pairs, row, network.n_features());
    const CodeStage* const code = network.code();
    for (std::size_t i = 0; i < network.layers().size(); ++i) {
        const Layer& layer = network.layers()[i];
        float* y = work.y[i] + row * layer.out_stride;
        float* z = layer.needs_z ? work.dz[i] + row * layer.out_stride : nullptr;
        Pair* y_pairs = pairs_at(work.y_pairs[i], row, layer.out);
        network.products().dense_forward({count, layer.in, layer.out, input, layer.in_stride,
                                          weights.params + layer.weight, 0, layer.forward.count(),
                                          network.training_activation(i), y, layer.out_stride, z, ahead, input_pairs,
                                          weights.copies + layer.copies, y_pairs});
        input = y;
        input_pairs = y_pairs;
        if (code != nullptr && code->layer == i) {
            forward_code(network, source, rows, noise, row, count, work);
            if (code->sampled) {
                input = work.drawn + row * activation_stride(code->width);
                input_pairs = pairs_at(work.drawn_pairs, row, code->width);
            }
        }
    }
}

// dz of the last layer: the loss's gradient times the activation's. z is kept in dz, so then dy takes y's place.
void loss_gradient(const Network& network, bool masked, std::int64_t row, std::int64_t count, Workspace& work) {
    const std::size_t last = network.layers().size() - 1;
    const Layer& layer = network.layers()[last];
    const Activation activation = network.training_activation(last);
    float* y = work.y[last] + row * layer.out_stride;
    float* dz = work.dz[last] + row * layer.out_stride;
    float* dy = layer.needs_z ? y : dz;
    const auto r = static_cast<std::size_t>(row);
    network.isa().loss({network.loss(), count, layer.out, y, layer.out_stride, work.targets.data() + r,
                        work.scales.data() + r, static_cast<double>(layer.out), work.errors.data() + r, dy,
                        layer.out_stride, nullptr, 0, masked});
    if (activation != Activation::linear) {
        for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t offset = i * layer.out_stride;
            network.isa().activation_backward(activation, layer.forward.padded_width(),
                                              (layer.needs_z ? dz : y) + offset, dy + offset, dz + offset);
        }
    }
    if (Pair* pairs = pairs_at(work.dz_pairs[last], row, layer.out)) {
        network.products().round(count, layer.out, dz, layer.out_stride, pairs);
    }
}

void backward(const Network& network, const float* copies, const RowSource& source, std::span<const std::int64_t> rows,
              std::int64_t row, std::int64_t count, Workspace& work) {
    const CodeStage* const code = network.code();
    for (std::size_t i = network.layers().size() - 1; i > 0; --i) {
        const Layer& layer = network.layers()[i];
        const Layer& below = network.layers()[i - 1];
        if (code != nullptr && code->layer == i - 1) {
            network.products().dense_backward_input({count, layer.in, layer.out, work.dz[i] + row * layer.out_stride,
                                                     layer.out_stride, copies + layer.copies, Activation::linear,
                                                     nullptr, 0, work.dcode + row * layer.in_stride, layer.in_stride,
                                                     pairs_at(work.dz_pairs[i], row, layer.out), nullptr});
            backward_code(network, source, rows, row, count, work);
            continue;
        }
        const std::int64_t offset = row * below.out_stride;
        float* dx = work.dz[i - 1] + offset;
        network.products().dense_backward_input(
            {count, layer.in, layer.out, work.dz[i] + row * layer.out_stride, layer.out_stride, copies + layer.copies,
             below.activation, below.needs_z ? dx : work.y[i - 1] + offset, below.out_stride, dx, below.out_stride,
             pairs_at(work.dz_pairs[i], row, layer.out), pairs_at(work.dz_pairs[i - 1], row, below.out)});
    }
}

// Data that does not fit L2 comes from L3 or memory, a row here and a row there.
bool rows_are_far(const RowSource& source) {
    return !source.sparse && source.inputs.rows * source.inputs.cols > kWordsInL2;
}

}  // namespace

void forward_backward(const Network& network, Weights weights, const RowSource& source,
                      std::span<const std::int64_t> rows, std::span<const std::int64_t> next_rows, const Noise& noise,
                      const Member& me, Workspace& work) {
    const auto n = static_cast<std::int64_t>(rows.size());
    const std::int64_t end = me.end(n);
    std::vector<Stretch>& stretches = work.scratch[static_cast<std::size_t>(me.id)].ahead;
    const bool far = rows_are_far(source);
    for_each_row_block(network, me.begin(n), end, [&](std::int64_t first, std::int64_t last) {
        gather(network, source, rows, noise, first, last, work.scratch[static_cast<std::size_t>(me.id)].clean, work);
        Ahead ahead{};
        if (far) {
            // The block after this one; after the last, the first of the next batch.
            const auto n_next = static_cast<std::int64_t>(next_rows.size());
            const auto wanted =
                last < end ? rows.subspan(static_cast<std::size_t>(last),
                                          static_cast<std::size_t>(std::min(end - last, last - first)))
                           : next_rows.subspan(
                                 static_cast<std::size_t>(me.begin(n_next)),
                                 static_cast<std::size_t>(std::min(me.end(n_next) - me.begin(n_next), last - first)));
            stretches.clear();
            for (const std::int64_t number : wanted) {
                stretches.push_back({source.inputs.row(number), (network.n_features() + 15) / 16});
            }
            ahead = {stretches.data(), static_cast<std::int64_t>(stretches.size())};
        }
        forward(network, weights, source, rows, noise, first, last - first, work, far ? &ahead : nullptr);
        loss_gradient(network, source.masked, first, last - first, work);
        backward(network, weights.copies, source, rows, first, last - first, work);
    });
}

}  // namespace isthmus::cpu
