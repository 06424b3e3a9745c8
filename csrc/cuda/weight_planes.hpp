// SPDX-License-Identifier: Apache-2.0
// The weights as products on tensor cores read them, beside the float32 ones, which stay the parameters.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/network.hpp"
#include "cuda/planes.hpp"

namespace isthmus::cuda {

// An update writes planes in the flat layout of the parameters, four at a time, and knows of no matrix. Where a layer's
// input is a multiple of 8 wide those are the planes of its weight; the others have a copy with wider rows.
class WeightPlanes {
public:
    // Empty where the network's arithmetic has no planes.
    explicit WeightPlanes(const Network& network);

    const Planes& of(std::size_t layer) const { return layers_[layer]; }
    // Of all parameters as one row.
    const Planes& flat() const { return flat_; }

    // After `params` have changed: all of it, or what an update that wrote flat() leaves.
    void refresh(const float* params, cudaStream_t stream) const;
    void refresh_copies(const float* params, cudaStream_t stream) const;

private:
    const Network& network_;
    DeviceArray<Bfloat16> memory_;
    Planes flat_;
    std::vector<Planes> layers_;
};

// What a product takes weights from.
struct Weights {
    const float* params = nullptr;
    const WeightPlanes* planes = nullptr;
};

}  // namespace isthmus::cuda
