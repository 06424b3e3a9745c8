// SPDX-License-Identifier: Apache-2.0
// The operations that gpu_kernels.cpp times, each with operands on the device, of the sizes asked for, and compared
// with double before it is timed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda/elementwise.hpp"
#include "cuda/products.hpp"
#include "cuda/stream.hpp"

namespace isthmus::bench {

using namespace isthmus::cuda;

// A matrix on the device and the same on the host, uniform in [-1, 1).
struct Matrix {
    Matrix(std::int64_t n_rows, std::int64_t n_cols, std::minstd_rand& random, const Stream& stream)
        : rows(n_rows), cols(n_cols), host(static_cast<std::size_t>(n_rows * n_cols)), array(n_rows * n_cols) {
        for (float& value : host) value = static_cast<float>(static_cast<double>(random()) * 0x1p-30 - 1.0);
        copy_async(array.data(), host.data(), rows * cols, stream);
        stream.synchronize();
    }
    float* device() const { return array.data(); }
    double at(std::int64_t row, std::int64_t col) const { return host[static_cast<std::size_t>(row * cols + col)]; }

    std::int64_t rows, cols;
    std::vector<float> host;
    DeviceArray<float> array;
};
using MatrixPointer = std::shared_ptr<Matrix>;

struct Operation {
    std::function<void()> call;  // queues it once
    std::int64_t flops = 0;
    std::int64_t bytes = 0;  // read and written at least
    double error = 0.0;      // of what was looked at, relative to the largest of it
    std::vector<std::shared_ptr<void>> operands = {};
};

class Operations {
public:
    Operations(const Limits& limits, const Stream& stream)
        : limits_(limits), stream_(stream), parts_(stream, limits.wgmma) {}

    // A product is called forward, input or weight, and may say what it is computed in: forward.tf32. Throws
    // std::invalid_argument for a name or a number of sizes that is none.
    Operation make(const std::string& words, const std::vector<std::int64_t>& sizes) {
        const std::size_t point = words.find('.');
        const std::string name = words.substr(0, point);
        arithmetic_ = point == std::string::npos ? Arithmetic::simt : arithmetic_named(words.substr(point + 1));
        const std::size_t wanted = name == "update" || name == "copy" ? 1 : name == "loss" || name == "gather" ? 2 : 3;
        if (sizes.size() != wanted) throw std::invalid_argument(name + " takes " + std::to_string(wanted) + " sizes");
        if (name == "forward") return forward(sizes[0], sizes[1], sizes[2]);
        if (name == "input") return input_gradient(sizes[0], sizes[1], sizes[2]);
        if (name == "weight") return weight_gradient(sizes[0], sizes[1], sizes[2]);
        if (name == "update") return parameter_update(sizes[0]);
        if (name == "loss") return loss_of_rows(sizes[0], sizes[1]);
        if (name == "gather") return gather_rows(sizes[0], sizes[1]);
        if (name == "copy") return copy(sizes[0]);
        throw std::invalid_argument("no operation " + name);
    }

private:
    static Arithmetic arithmetic_named(const std::string& name) {
        if (name == "tf32") return Arithmetic::tf32;
        if (name == "bfloat16") return Arithmetic::bfloat16;
        if (name == "bf16x6") return Arithmetic::bf16x6;
        throw std::invalid_argument("no arithmetic " + name);
    }

    // The planes of an operand, where products read planes; its owner is among the operands, too.
    struct PlanesOf {
        Planes planes;
        std::shared_ptr<DeviceArray<Bfloat16>> memory;
    };
    PlanesOf planes_of(const Matrix& matrix) {
        const int count = plane_count(arithmetic_);
        if (count == 0) return {};
        const std::int64_t stride = (matrix.cols + 7) / 8 * 8;
        const auto memory = std::make_shared<DeviceArray<Bfloat16>>(count * matrix.rows * stride);
        const Planes planes{memory->data(), stride, matrix.rows * stride, count};
        split({matrix.device(), matrix.rows, matrix.cols, matrix.cols, planes}, stream_);
        return {planes, memory};
    }

    MatrixPointer matrix(std::int64_t rows, std::int64_t cols) {
        return std::make_shared<Matrix>(rows, cols, random_, stream_);
    }

    // Runs the operation once and compares the last element that it wrote, and a hundred others, with
    // expected(row, col).
    template <class Expected>
    Operation checked(Operation operation, const Matrix& written, Expected expected) {
        operation.call();
        std::vector<float> found(written.host.size());
        copy_async(found.data(), written.device(), written.array.size(), stream_);
        stream_.synchronize();
        double largest = 0.0;
        double difference = 0.0;
        const auto look = [&](std::int64_t row, std::int64_t col) {
            const double right = expected(row, col);
            const double off = std::abs(found[static_cast<std::size_t>(row * written.cols + col)] - right);
            largest = std::max(largest, std::abs(right));
            difference = off <= difference ? difference : off;  // a NaN stays
        };
        look(written.rows - 1, written.cols - 1);
        for (int i = 0; i < 100; ++i) {
            const auto row = static_cast<std::int64_t>(random_()) % written.rows;
            look(row, static_cast<std::int64_t>(random_()) % written.cols);
        }
        operation.error = difference / largest;
        return operation;
    }

    // The sum over k < n of term(k).
    template <class Term>
    static double sum(std::int64_t n, Term term) {
        double total = 0.0;
        for (std::int64_t k = 0; k < n; ++k) total += term(k);
        return total;
    }

    // A product of a layer (in -> out) on so many rows.
    static Operation product(std::int64_t rows, std::int64_t in, std::int64_t out, std::function<void()> call,
                             std::vector<std::shared_ptr<void>> operands) {
        return {std::move(call), 2 * rows * in * out, 4 * (rows * in + rows * out + in * out), 0.0,
                std::move(operands)};
    }

    Operation forward(std::int64_t rows, std::int64_t in, std::int64_t out) {
        const auto x = matrix(rows, in), weight = matrix(out, in), y = matrix(rows, out);
        const PlanesOf x_planes = planes_of(*x), weight_planes = planes_of(*weight);
        const ForwardArgs args{rows,
                               in,
                               out,
                               x->device(),
                               in,
                               weight->device(),
                               nullptr,
                               Activation::linear,
                               y->device(),
                               nullptr,
                               out,
                               x_planes.planes,
                               weight_planes.planes};
        const ProductPlan plan = product_plan(arithmetic_, rows, out, in, out, limits_);
        return checked(product(rows, in, out, [this, args, plan] { dense_forward(args, plan, stream_); },
                               {x, weight, y, x_planes.memory, weight_planes.memory}),
                       *y, [&](std::int64_t r, std::int64_t c) {
                           return sum(in, [&](std::int64_t k) { return x->at(r, k) * weight->at(c, k); });
                       });
    }

    Operation input_gradient(std::int64_t rows, std::int64_t in, std::int64_t out) {
        const auto dz = matrix(rows, out), weight = matrix(out, in), dx = matrix(rows, in);
        const PlanesOf dz_planes = planes_of(*dz), weight_planes = planes_of(*weight);
        const InputGradientArgs args{rows,
                                     in,
                                     out,
                                     dz->device(),
                                     out,
                                     weight->device(),
                                     Activation::linear,
                                     nullptr,
                                     dx->device(),
                                     in,
                                     dz_planes.planes,
                                     weight_planes.planes};
        const ProductPlan plan = product_plan(arithmetic_, rows, in, in, out, limits_);
        return checked(product(rows, in, out, [this, args, plan] { dense_backward_input(args, plan, stream_); },
                               {dz, weight, dx, dz_planes.memory, weight_planes.memory}),
                       *dx, [&](std::int64_t r, std::int64_t c) {
                           return sum(out, [&](std::int64_t k) { return dz->at(r, k) * weight->at(k, c); });
                       });
    }

    Operation weight_gradient(std::int64_t rows, std::int64_t in, std::int64_t out) {
        const auto x = matrix(rows, in), dz = matrix(rows, out), dweight = matrix(out, in);
        const PlanesOf x_planes = planes_of(*x), dz_planes = planes_of(*dz);
        const WeightGradientArgs args{rows,
                                      in,
                                      out,
                                      x->device(),
                                      in,
                                      dz->device(),
                                      out,
                                      false,
                                      dweight->device(),
                                      nullptr,
                                      x_planes.planes,
                                      dz_planes.planes};
        const ProductPlan plan = product_plan(arithmetic_, out, in, in, out, limits_);
        return checked(
            product(rows, in, out, [this, args, plan] { dense_backward_weight(args, plan, parts_, stream_); },
                    {x, dz, dweight, x_planes.memory, dz_planes.memory}),
            *dweight, [&](std::int64_t r, std::int64_t c) {
                return sum(rows, [&](std::int64_t k) { return dz->at(k, r) * x->at(k, c); });
            });
    }

    // Adam, in place. Each call changes what the next finds, so that nothing is compared here; the tests do.
    Operation parameter_update(std::int64_t n) {
        const auto param = matrix(1, n), gradient = matrix(1, n), m = matrix(1, n), v = matrix(1, n);
        zero_async(m->device(), n, stream_);
        zero_async(v->device(), n, stream_);
        const StepConstants constants{math::make_constants(Optimizer::adam, 1e-3, 0.9, 0.999, 1e-8, 0.0, 0.0, 10), 1.0F,
                                      1.0F};
        const auto table = std::make_shared<DeviceArray<StepConstants>>(1);
        copy_async(table->data(), &constants, 1, stream_);
        stream_.synchronize();
        const UpdateArgs args{Optimizer::adam,
                              false,
                              param->device(),
                              gradient->device(),
                              m->device(),
                              v->device(),
                              n,
                              {nullptr, 1, table->data()}};
        return {[this, args] { update(args, stream_); }, 0, 7 * 4 * n, 0.0, {param, gradient, m, v, table}};
    }

    // Squared error and its gradient.
    Operation loss_of_rows(std::int64_t rows, std::int64_t cols) {
        const auto y = matrix(rows, cols), target = matrix(rows, cols), dz = matrix(rows, cols);
        const auto errors = std::make_shared<DeviceArray<double>>(rows);
        LossArgs args{};
        args.loss = Loss::mse;
        args.activation = Activation::linear;
        args.rows = rows;
        args.cols = cols;
        args.y = args.kept = y->device();
        args.y_stride = cols;
        args.batch.targets = target->device();
        args.batch.stride = cols;
        args.divisor = static_cast<float>(cols);
        args.dz = dz->device();
        args.errors = errors->data();
        return checked({[this, args] { loss(args, stream_); }, 0, 3 * 4 * rows * cols, 0.0, {y, target, dz, errors}},
                       *dz, [&](std::int64_t r, std::int64_t c) {
                           return 2.0 * (y->at(r, c) - target->at(r, c)) / static_cast<double>(cols);
                       });
    }

    // Rows in a random order, without noise.
    Operation gather_rows(std::int64_t rows, std::int64_t cols) {
        const auto from = matrix(rows, cols), to = matrix(rows, cols);
        std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
        std::iota(order.begin(), order.end(), 0);
        std::shuffle(order.begin(), order.end(), random_);
        const auto positions = std::make_shared<DeviceArray<std::int64_t>>(rows);
        copy_async(positions->data(), order.data(), rows, stream_);
        stream_.synchronize();
        GatherArgs args{};
        args.rows.inputs = from->device();
        args.rows.stride = cols;
        args.rows.positions = positions->data();
        args.count = rows;
        args.cols = args.x_stride = cols;
        args.x = to->device();
        return checked(
            {[this, args] { gather(args, stream_); }, 0, 2 * 4 * rows * cols + 8 * rows, 0.0, {from, to, positions}},
            *to, [&](std::int64_t r, std::int64_t c) { return from->at(order[static_cast<std::size_t>(r)], c); });
    }

    // The runtime's own copy: the bandwidth that the others are measured by.
    Operation copy(std::int64_t n) {
        const auto from = matrix(1, n), to = matrix(1, n);
        return checked(
            {[this, n, source = from->device(), target = to->device()] { copy_async(target, source, n, stream_); },
             0,
             2 * 4 * n,
             0.0,
             {from, to}},
            *to, [&](std::int64_t, std::int64_t c) { return from->at(0, c); });
    }

    Limits limits_;
    Arithmetic arithmetic_ = Arithmetic::simt;  // of the product that is made
    const Stream& stream_;
    PartBuffers parts_;
    std::minstd_rand random_{1};
};

}  // namespace isthmus::bench
