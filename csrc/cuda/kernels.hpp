// SPDX-License-Identifier: Apache-2.0
// The single kernels on matrices of the host: up, through the kernel, and back.
#pragma once

#include <functional>
#include <utility>

#include "cuda/plan.hpp"
#include "device/contract.hpp"

namespace isthmus::cuda {

class CudaKernels final : public Kernels {
public:
    CudaKernels(int ordinal, std::function<Limits()> limits) : ordinal_(ordinal), limits_(std::move(limits)) {}

    void dense_forward(MatrixView x, MatrixView weight, const float* bias, Activation activation, MutableMatrixView y,
                       const CompileOptions& options) const override;
    void dense_backward_input(MatrixView dz, MatrixView weight, MutableMatrixView dx,
                              const CompileOptions& options) const override;
    void dense_backward_weight(MatrixView x, MatrixView dz, MutableMatrixView dweight, float* dbias,
                               const CompileOptions& options) const override;
    void activation_forward(MatrixView z, Activation activation, MutableMatrixView y,
                            const CompileOptions& options) const override;
    void activation_backward(MatrixView z, MatrixView dy, Activation activation, MutableMatrixView dz,
                             const CompileOptions& options) const override;
    double loss(Loss loss, MatrixView y, MatrixView target, MutableMatrixView dy,
                const CompileOptions& options) const override;
    void update(const UpdateRule& rule, double learning_rate, std::int64_t step, float* param, const float* gradient,
                float* m, float* v, std::int64_t n, const CompileOptions& options) const override;

private:
    int ordinal_;
    std::function<Limits()> limits_;
};

}  // namespace isthmus::cuda
