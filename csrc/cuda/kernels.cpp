// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels.hpp"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/elementwise.hpp"
#include "cuda/network.hpp"
#include "cuda/products.hpp"
#include "cuda/stream.hpp"
#include "cuda/transfer.hpp"

namespace isthmus::cuda {

namespace {

// A matrix of the device's own.
struct Matrix {
    Matrix(std::int64_t n_rows, std::int64_t n_cols, std::int64_t row_stride)
        : rows(n_rows), cols(n_cols), stride(row_stride), memory(n_rows * row_stride) {}

    float* data() const { return memory.data(); }

    std::int64_t rows, cols, stride;
    DeviceArray<float> memory;
};

// One call: its device, stream and way up and down.
class Call {
public:
    Call(int ordinal, const Limits& limits, const CompileOptions& options)
        : device_((check_precision(options.precision, limits, "cuda:" + std::to_string(ordinal)), ordinal)),
          limits_(limits),
          arithmetic_(arithmetic_of(options.precision, limits)) {}

    operator cudaStream_t() const { return stream_; }

    // Of a product of a layer with these widths.
    ProductPlan plan(const Matrix& result, std::int64_t in, std::int64_t out) const {
        return product_plan(arithmetic_, result.rows, result.cols, in, out, limits_);
    }
    PartBuffers part_buffers(std::int64_t in, std::int64_t out) const {
        return {stream_, takes_wgmma(arithmetic_, in, out, limits_)};
    }
    // An operand's planes, where products read planes; this call keeps them.
    Planes planes(const Matrix& matrix) {
        const int count = plane_count(arithmetic_);
        if (count == 0) return {};
        const std::int64_t stride = plane_stride(matrix.cols);
        const auto& memory = planes_.emplace_back(count * matrix.rows * stride);
        const Planes planes{memory.data(), stride, matrix.rows * stride, count};
        split({matrix.data(), matrix.rows, matrix.cols, matrix.stride, planes}, stream_);
        return planes;
    }

    // Rows as long as the columns with `tight`, as a weight has them; else those of the device's own matrices.
    Matrix bring(MatrixView host, bool tight = false) {
        Matrix matrix = make(host.rows, host.cols, tight);
        upload(host, matrix.data(), matrix.stride, pinned_, stream_);
        return matrix;
    }
    // n floats, with zeros to a multiple of four.
    Matrix bring(const float* host, std::int64_t n) {
        Matrix matrix(1, n, row_stride(n));
        zero_async(matrix.data(), matrix.stride, stream_);
        upload({host, n, 1, 1}, matrix.data(), 1, pinned_, stream_);
        return matrix;
    }
    static Matrix make(std::int64_t rows, std::int64_t cols, bool tight = false) {
        return {rows, cols, tight ? cols : row_stride(cols)};
    }

    // Waits for the stream.
    void take(const Matrix& matrix, MutableMatrixView host) {
        std::vector<float> values(static_cast<std::size_t>(matrix.rows * matrix.stride));
        const Drain drain(stream_);
        copy_async(values.data(), matrix.data(), matrix.rows * matrix.stride, stream_);
        stream_.synchronize();
        for (std::int64_t r = 0; r < host.rows; ++r) {
            std::memcpy(host.row(r), values.data() + r * matrix.stride,
                        static_cast<std::size_t>(host.cols) * sizeof(float));
        }
    }
    void take(const Matrix& matrix, float* host, std::int64_t n) { take(matrix, {host, 1, n, n}); }

private:
    OnDevice device_;
    Limits limits_;
    Arithmetic arithmetic_;
    std::vector<DeviceArray<Bfloat16>> planes_;
    Stream stream_;
    PinnedPair<float> pinned_;
    Drain drain_{stream_};
};

}  // namespace

void CudaKernels::dense_forward(MatrixView x, MatrixView weight, const float* bias, Activation activation,
                                MutableMatrixView y, const CompileOptions& options) const {
    Call call(ordinal_, limits_(), options);
    const Matrix on_x = call.bring(x);
    const Matrix on_weight = call.bring(weight, true);
    const Matrix on_bias = bias != nullptr ? call.bring(bias, weight.rows) : Matrix(0, 0, 0);
    const Matrix on_y = Call::make(y.rows, y.cols);
    cuda::dense_forward({x.rows, weight.cols, weight.rows, on_x.data(), on_x.stride, on_weight.data(), on_bias.data(),
                         activation, on_y.data(), nullptr, on_y.stride, call.planes(on_x), call.planes(on_weight)},
                        call.plan(on_y, weight.cols, weight.rows), call);
    call.take(on_y, y);
}

void CudaKernels::dense_backward_input(MatrixView dz, MatrixView weight, MutableMatrixView dx,
                                       const CompileOptions& options) const {
    Call call(ordinal_, limits_(), options);
    const Matrix on_dz = call.bring(dz);
    const Matrix on_weight = call.bring(weight, true);
    const Matrix on_dx = Call::make(dx.rows, dx.cols);
    cuda::dense_backward_input(
        {dz.rows, weight.cols, weight.rows, on_dz.data(), on_dz.stride, on_weight.data(), Activation::linear, nullptr,
         on_dx.data(), on_dx.stride, call.planes(on_dz), call.planes(on_weight)},
        call.plan(on_dx, weight.cols, weight.rows), call);
    call.take(on_dx, dx);
}

void CudaKernels::dense_backward_weight(MatrixView x, MatrixView dz, MutableMatrixView dweight, float* dbias,
                                        const CompileOptions& options) const {
    Call call(ordinal_, limits_(), options);
    const Matrix on_x = call.bring(x);
    const Matrix on_dz = call.bring(dz);
    const Matrix on_dweight = Call::make(dweight.rows, dweight.cols, true);
    const Matrix on_dbias = Call::make(1, dz.cols);
    const PartBuffers parts = call.part_buffers(x.cols, dz.cols);
    cuda::dense_backward_weight(
        {x.rows, x.cols, dz.cols, on_x.data(), on_x.stride, on_dz.data(), on_dz.stride, false, on_dweight.data(),
         dbias != nullptr ? on_dbias.data() : nullptr, call.planes(on_x), call.planes(on_dz)},
        call.plan(on_dweight, x.cols, dz.cols), parts, call);
    call.take(on_dweight, dweight);
    if (dbias != nullptr) call.take(on_dbias, dbias, dz.cols);
}

void CudaKernels::activation_forward(MatrixView z, Activation activation, MutableMatrixView y,
                                     const CompileOptions& options) const {
    Call call(ordinal_, limits_(), options);
    const Matrix on_z = call.bring(z);
    const Matrix on_y = Call::make(y.rows, y.cols);
    cuda::activation_forward(activation, z.rows * on_z.stride, on_z.data(), on_y.data(), call);
    call.take(on_y, y);
}

void CudaKernels::activation_backward(MatrixView z, MatrixView dy, Activation activation, MutableMatrixView dz,
                                      const CompileOptions& options) const {
    Call call(ordinal_, limits_(), options);
    const Matrix on_z = call.bring(z);
    const Matrix on_dy = call.bring(dy);
    const Matrix on_dz = Call::make(dz.rows, dz.cols);
    cuda::activation_backward(activation, z.rows * on_z.stride, on_z.data(), on_dy.data(), on_dz.data(), call);
    call.take(on_dz, dz);
}

double CudaKernels::loss(Loss loss, MatrixView y, MatrixView target, MutableMatrixView dy,
                         const CompileOptions& options) const {
    Call call(ordinal_, limits_(), options);
    const Matrix on_y = call.bring(y);
    const Matrix on_target = call.bring(target);
    const Matrix on_dy = Call::make(y.rows, y.cols);
    const DeviceArray<double> on_errors(y.rows);
    const double n = static_cast<double>(y.rows) * static_cast<double>(y.cols);
    LossArgs args{};
    args.loss = loss;
    args.activation = Activation::linear;
    args.rows = y.rows;
    args.cols = y.cols;
    args.y = args.kept = on_y.data();
    args.y_stride = on_y.stride;
    args.batch.targets = on_target.data();
    args.batch.stride = on_target.stride;
    args.divisor = static_cast<float>(n);
    args.dz = on_dy.data();
    args.errors = on_errors.data();
    cuda::loss(args, call);
    call.take(on_dy, dy);
    std::vector<double> errors(static_cast<std::size_t>(y.rows));
    const Drain drain(call);
    copy_async(errors.data(), on_errors.data(), y.rows, call);
    check(cudaStreamSynchronize(call), "cudaStreamSynchronize");
    double total = 0.0;
    for (const double error : errors) total += error;
    return total / static_cast<double>(y.rows);
}

void CudaKernels::update(const UpdateRule& rule, double learning_rate, std::int64_t step, float* param,
                         const float* gradient, float* m, float* v, std::int64_t n,
                         const CompileOptions& options) const {
    Call call(ordinal_, limits_(), options);
    const auto bring = [&](const float* host) { return host != nullptr ? call.bring(host, n) : Matrix(0, 0, 0); };
    const Matrix on_param = bring(param);
    const Matrix on_gradient = bring(gradient);
    const Matrix on_m = bring(m);
    const Matrix on_v = bring(v);
    const auto constants = math::make_constants(rule.optimizer, learning_rate, rule.beta_1, rule.beta_2, rule.epsilon,
                                                rule.momentum, rule.weight_decay, step);
    const StepConstants step_constants{constants, 1.0F, 1.0F};
    const DeviceArray<StepConstants> on_constants(1);
    copy_async(on_constants.data(), &step_constants, 1, call);
    cuda::update({rule.optimizer,
                  false,
                  on_param.data(),
                  on_gradient.data(),
                  on_m.data(),
                  on_v.data(),
                  on_param.stride,
                  {nullptr, 1, on_constants.data()}},
                 call);
    for (const auto& [matrix, host] : {std::pair{&on_param, param}, {&on_m, m}, {&on_v, v}}) {
        if (host != nullptr) call.take(*matrix, host, n);
    }
}

}  // namespace isthmus::cuda
