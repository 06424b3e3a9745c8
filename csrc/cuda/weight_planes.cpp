// SPDX-License-Identifier: Apache-2.0
#include "cuda/weight_planes.hpp"

#include "cuda/elementwise.hpp"

namespace isthmus::cuda {

WeightPlanes::WeightPlanes(const Network& network) : network_(network), layers_(network.layers().size()) {
    const int count = plane_count(network.arithmetic());
    if (count == 0) return;
    std::int64_t size = network.flat_size();
    for (const Layer& layer : network.layers())
        size += layer.weight_is_aligned() ? 0 : layer.out * plane_stride(layer.in);
    memory_ = DeviceArray<Bfloat16>(count * size);
    Bfloat16* next = memory_.data();
    const auto take = [&](std::int64_t rows, std::int64_t stride) {
        const Planes planes{next, stride, rows * stride, count};
        next += count * rows * stride;
        return planes;
    };
    flat_ = take(1, network.flat_size());
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        const Layer& layer = network.layers()[i];
        layers_[i] = layer.weight_is_aligned() ? Planes{flat_.data + layer.weight, layer.in, flat_.plane, count}
                                               : take(layer.out, plane_stride(layer.in));
    }
}

void WeightPlanes::refresh(const float* params, cudaStream_t stream) const {
    if (flat_.data == nullptr) return;
    split({params, 1, network_.flat_size(), network_.flat_size(), flat_}, stream);
    refresh_copies(params, stream);
}

void WeightPlanes::refresh_copies(const float* params, cudaStream_t stream) const {
    if (flat_.data == nullptr) return;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        const Layer& layer = network_.layers()[i];
        if (!layer.weight_is_aligned())
            split({params + layer.weight, layer.out, layer.in, layer.in, layers_[i]}, stream);
    }
}

}  // namespace isthmus::cuda
