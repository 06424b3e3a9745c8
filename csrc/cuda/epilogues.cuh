// SPDX-License-Identifier: Apache-2.0
// What becomes of the sums of a product: see gemm.cuh for when start and finish are called. Planes is NoPlanes, or
// IntoPlanes where the next product reads what this one writes as planes: then the floats may be wanted by nobody, and
// null.
#pragma once

#include <cstdint>

#include "cuda/gemm_tile.cuh"
#include "cuda/planes.cuh"
#include "cuda/visit.cuh"
#include "math/registry.hpp"

namespace isthmus::cuda {

// Where a run of outputs lies in a row-major matrix.
struct Output {
    ISTHMUS_HD Output(float* matrix, std::int64_t row_stride)
        : data(matrix),
          stride(row_stride),
          aligned(reinterpret_cast<std::uintptr_t>(matrix) % 16 == 0 && row_stride % 4 == 0) {}

    // The first `valid` of the values that stand at (m, n); 0 for the rest.
    template <int kRun>
    __device__ __forceinline__ void load(int m, int n, int valid, float (&values)[kRun]) const {
        const float* from = data + m * stride + n;
        if constexpr (kRun == 4) {
            load_four(from, valid, aligned, values);
        } else {
#pragma unroll
            for (int j = 0; j < kRun; ++j) values[j] = j < valid ? from[j] : 0.0F;
        }
    }

    template <int kRun>
    __device__ __forceinline__ void store(int m, int n, int valid, const float (&values)[kRun]) const {
        float* to = data + m * stride + n;
        if constexpr (kRun == 4) {
            if (aligned && valid >= 4) {
                *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1], values[2], values[3]);
                return;
            }
        }
#pragma unroll
        for (int j = 0; j < kRun; ++j) {
            if (j < valid) to[j] = values[j];
        }
    }

    float* data;
    std::int64_t stride;
    bool aligned;
};

template <class Planes, int kRun>
__device__ __forceinline__ void store_result(const Output& floats, const Planes& planes, int m, int n, int valid,
                                             const float (&values)[kRun]) {
    if constexpr (Planes::kGiven) {
        planes.store(m, n, valid, values);
        if (floats.data == nullptr) return;
    }
    floats.store(m, n, valid, values);
}

// Sums that begin at 0 and have no sum of a beside them.
struct PlainSums {
    static constexpr bool kOverRows = false;
    template <int kRun>
    __device__ __forceinline__ void start(int, int, int, float (&)[kRun]) const {}
};

// y = act(sum + bias); z = sum + bias is kept where the derivative will want it.
template <class Act, class Planes>
struct BiasActivation : PlainSums {
    BiasActivation(const float* b, Output out, float* kept, Planes planes_of_y)
        : bias(b), y(out), z(kept, out.stride), planes(planes_of_y) {}
    template <class Other>
    ISTHMUS_HD explicit BiasActivation(const BiasActivation<Other, Planes>& other)
        : bias(other.bias), y(other.y), z(other.z), planes(other.planes) {}

    template <int kRun>
    __device__ __forceinline__ void finish(int m, int n, int valid, float (&values)[kRun]) const {
        if (valid <= 0) return;
#pragma unroll
        for (int j = 0; j < kRun; ++j) {
            if (bias != nullptr && j < valid) values[j] += bias[n + j];
        }
        if (Act::needs_z && z.data != nullptr) z.store(m, n, valid, values);
#pragma unroll
        for (int j = 0; j < kRun; ++j) values[j] = Act::forward(values[j]);
        store_result(y, planes, m, n, valid, values);
    }

    const float* bias;
    Output y;
    Output z;
    Planes planes;
};

// dz = sum * act'(y or z of the layer below), which may stand where dz goes.
template <class Act, class Planes>
struct TimesDerivative : PlainSums {
    TimesDerivative(Output y_or_z, Output out, Planes planes_of_dz) : kept(y_or_z), dz(out), planes(planes_of_dz) {}
    template <class Other>
    ISTHMUS_HD explicit TimesDerivative(const TimesDerivative<Other, Planes>& other)
        : kept(other.kept), dz(other.dz), planes(other.planes) {}

    template <int kRun>
    __device__ __forceinline__ void finish(int m, int n, int valid, float (&values)[kRun]) const {
        if (valid <= 0) return;
        if constexpr (Act::id != Activation::linear) {
            float y[kRun];
            kept.load(m, n, valid, y);
#pragma unroll
            for (int j = 0; j < kRun; ++j) values[j] *= Act::derivative(y[j]);
        }
        store_result(dz, planes, m, n, valid, values);
    }

    Output kept;
    Output dz;
    Planes planes;
};

// An epilogue whose activation is known at run time. The host makes it a type, for kernels that are templates over it;
// a kernel that ends in a short loop decides there.
template <template <class Act, class Planes> class Typed, class Planes>
struct WithActivation {
    static constexpr bool kOverRows = Typed<math::Linear, Planes>::kOverRows;

    template <class F>
    void typed(F&& f) const {
        math::visit(activation, [&](auto act) { f(Typed<decltype(act), Planes>(linear)); });
    }
    template <class F>
    __device__ __forceinline__ void typed_on_device(F&& f) const {
        visit_on_device(math::Activations{}, activation, [&](auto act) { f(Typed<decltype(act), Planes>(linear)); });
    }

    Activation activation;
    Typed<math::Linear, Planes> linear;
};

// The parts of a weight gradient, and of the sum of dz over the rows, on their way to the block that adds them up. They
// stand one after another, each (out, in) and of the stride of the weight.
struct GradientParts {
    static constexpr bool kOverRows = true;

    template <int kRun>
    __device__ __forceinline__ void put_part(int part, int m, int n, int valid, const float (&values)[kRun]) const {
        if (valid > 0) parts.store(part * out + m, n, valid, values);
    }
    template <int kRun>
    __device__ __forceinline__ void add_part(int part, int m, int n, int valid, float (&values)[kRun]) const {
        const volatile float* const from = parts.data + (part * out + m) * parts.stride + n;
#pragma unroll
        for (int j = 0; j < kRun; ++j) {
            if (j < valid) values[j] += from[j];
        }
    }
    __device__ __forceinline__ void put_bias_part(int part, int m, float sum) const {
        bias_parts[part * out + m] = sum;
    }
    // The parts after what the sum begins with.
    __device__ __forceinline__ float sum_of_parts(int count, int m, float sum) const {
        const volatile float* const from = bias_parts + m;
        for (int part = 0; part < count; ++part) sum += from[part * out];
        return sum;
    }

    int part_k;
    int out;
    Output parts;
    float* bias_parts;
    unsigned* arrived;
};

// dw = sum, or dw + sum as the chain that dw began; db likewise the sum of dz over the rows.
struct WeightGradient : GradientParts {
    template <class F>
    void typed(F&& f) const {
        f(*this);
    }
    template <class F>
    __device__ __forceinline__ void typed_on_device(F&& f) const {
        f(*this);
    }

    template <int kRun>
    __device__ __forceinline__ void start(int m, int n, int valid, float (&values)[kRun]) const {
        if (accumulate && valid > 0) dw.load(m, n, valid, values);
    }
    template <int kRun>
    __device__ __forceinline__ void finish(int m, int n, int valid, const float (&values)[kRun]) const {
        if (valid > 0) dw.store(m, n, valid, values);
    }
    __device__ __forceinline__ float* sum_of_a(int m) const { return db != nullptr ? db + m : nullptr; }
    __device__ __forceinline__ void finish_sum(float* to, float sum) const { *to = sum; }
    __device__ __forceinline__ float first_sum(const float* sum) const { return accumulate ? *sum : 0.0F; }

    Output dw;
    float* db;
    bool accumulate;
};

}  // namespace isthmus::cuda
