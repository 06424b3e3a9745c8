// SPDX-License-Identifier: Apache-2.0
// Single kernels, for isthmus.kernels: what is ready to be used is, at once.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/in_core.hpp"
#include "bindings/json.hpp"
#include "bindings/operands.hpp"
#include "bindings/topics.hpp"
#include "core/configuration.hpp"
#include "device/contract.hpp"
#include "math/names.hpp"
#include "serving/devices.hpp"

namespace isthmus::bindings {
namespace {

template <class E>
E parse(const char* parameter, const std::string& text) {
    if (const std::optional<E> value = math::parse<E>(text)) return *value;
    std::string allowed;
    for (const std::string_view name : math::names<E>()) {
        allowed += (allowed.empty() ? "\"" : ", \"") + std::string(name) + '"';
    }
    throw Error(ErrorKind::value, std::string(parameter) + " must be one of " + allowed + "; got \"" + text + '"');
}

// Runs one kernel without the GIL, if its operands are ready.
template <class Kernel>
bool compute(Operands& operands, py::handle device, const std::string& precision, py::handle n_threads,
             Kernel&& kernel) {
    const std::string name = operands.device(device);
    CompileOptions options;
    options.n_threads = operands.threads(n_threads);
    if (!operands.ready()) return false;
    options.precision = parse<Precision>("precision", precision);
    const InCore in_core;
    kernel(device_named(name).kernels(), options);
    return true;
}

std::optional<FloatArray> dense_forward(py::handle x, py::handle weight, py::handle bias, const std::string& activation,
                                        py::handle out, py::handle device, const std::string& precision,
                                        py::handle n_threads) {
    Operands given;
    const MatrixView in = given.matrix(x), w = given.matrix(weight);
    given.require(w.cols == in.cols);
    const float* b = bias.is_none() ? nullptr : given.vector(bias, w.rows);
    std::optional<FloatArray> y = given.result(out, {in.rows, w.rows});
    if (!given.ready()) return std::nullopt;
    const auto act = parse<Activation>("activation", activation);
    const MutableMatrixView to = mutable_matrix(*y);
    const bool done = compute(given, device, precision, n_threads, [&](const Kernels& kernels, const auto& how) {
        kernels.dense_forward(in, w, b, act, to, how);
    });
    return done ? y : std::nullopt;
}

std::optional<FloatArray> dense_backward_input(py::handle dz, py::handle weight, py::handle out, py::handle device,
                                               const std::string& precision, py::handle n_threads) {
    Operands given;
    const MatrixView gradient = given.matrix(dz), w = given.matrix(weight);
    given.require(w.rows == gradient.cols);
    std::optional<FloatArray> dx = given.result(out, {gradient.rows, w.cols});
    if (!given.ready()) return std::nullopt;
    const MutableMatrixView to = mutable_matrix(*dx);
    const bool done = compute(given, device, precision, n_threads, [&](const Kernels& kernels, const auto& how) {
        kernels.dense_backward_input(gradient, w, to, how);
    });
    return done ? dx : std::nullopt;
}

std::optional<std::pair<FloatArray, FloatArray>> dense_backward_weight(py::handle x, py::handle dz, py::handle out,
                                                                       py::handle device, const std::string& precision,
                                                                       py::handle n_threads) {
    Operands given;
    const MatrixView in = given.matrix(x), gradient = given.matrix(dz);
    given.require(in.rows == gradient.rows);
    py::handle first = out, second = out;
    if (!out.is_none()) {
        if (!PyTuple_CheckExact(out.ptr()) || PyTuple_GET_SIZE(out.ptr()) != 2) return std::nullopt;
        first = PyTuple_GET_ITEM(out.ptr(), 0);
        second = PyTuple_GET_ITEM(out.ptr(), 1);
    }
    std::optional<FloatArray> dweight = given.result(first, {gradient.cols, in.cols});
    std::optional<FloatArray> dbias = given.result(second, {gradient.cols});
    if (!given.ready()) return std::nullopt;
    const MutableMatrixView dw = mutable_matrix(*dweight);
    float* const db = dbias->mutable_data();
    const bool done = compute(given, device, precision, n_threads, [&](const Kernels& kernels, const auto& how) {
        kernels.dense_backward_weight(in, gradient, dw, db, how);
    });
    if (!done) return std::nullopt;
    return std::pair(*std::move(dweight), *std::move(dbias));
}

std::optional<FloatArray> activation_forward(py::handle z, const std::string& activation, py::handle out,
                                             py::handle device, const std::string& precision, py::handle n_threads) {
    Operands given;
    const MatrixView in = given.matrix(z);
    std::optional<FloatArray> y = given.result(out, {in.rows, in.cols});
    if (!given.ready()) return std::nullopt;
    const auto act = parse<Activation>("activation", activation);
    const MutableMatrixView to = mutable_matrix(*y);
    const bool done = compute(given, device, precision, n_threads, [&](const Kernels& kernels, const auto& how) {
        kernels.activation_forward(in, act, to, how);
    });
    return done ? y : std::nullopt;
}

std::optional<FloatArray> activation_backward(py::handle z, py::handle dy, const std::string& activation,
                                              py::handle out, py::handle device, const std::string& precision,
                                              py::handle n_threads) {
    Operands given;
    const MatrixView in = given.matrix(z), gradient = given.matrix(dy);
    given.require(in.rows == gradient.rows && in.cols == gradient.cols);
    std::optional<FloatArray> dz = given.result(out, {in.rows, in.cols});
    if (!given.ready()) return std::nullopt;
    const auto act = parse<Activation>("activation", activation);
    const MutableMatrixView to = mutable_matrix(*dz);
    const bool done = compute(given, device, precision, n_threads, [&](const Kernels& kernels, const auto& how) {
        kernels.activation_backward(in, gradient, act, to, how);
    });
    return done ? dz : std::nullopt;
}

std::optional<std::pair<double, FloatArray>> loss(const std::string& name, py::handle y, py::handle target,
                                                  py::handle out, py::handle device, const std::string& precision,
                                                  py::handle n_threads) {
    Operands given;
    const MatrixView output = given.matrix(y), wanted = given.matrix(target);
    given.require(output.rows == wanted.rows && output.cols == wanted.cols);
    std::optional<FloatArray> dy = given.result(out, {output.rows, output.cols});
    if (!given.ready()) return std::nullopt;
    const auto kind = parse<Loss>("loss", name);
    const MutableMatrixView to = mutable_matrix(*dy);
    double value = 0.0;
    const bool done = compute(given, device, precision, n_threads, [&](const Kernels& kernels, const auto& how) {
        value = kernels.loss(kind, output, wanted, to, how);
    });
    if (!done) return std::nullopt;
    return std::pair(value, *std::move(dy));
}

// `parameters` are those of the constructor that concern Adam. False when the operands are not ready.
bool adam_step(py::handle param, py::handle gradient, py::handle m, py::handle v, py::handle step,
               const Parameters& parameters, py::handle device, const std::string& precision, py::handle n_threads) {
    Operands given;
    std::optional<FloatArray> p = given.flat(param, true), first = given.flat(m, true), second = given.flat(v, true);
    std::optional<FloatArray> g = given.flat(gradient, false);
    if (!given.ready()) return false;
    for (const FloatArray* other : {&*first, &*second, &*g}) {
        given.require(other->ndim() == p->ndim() && std::equal(p->shape(), p->shape() + p->ndim(), other->shape()));
    }
    if (!given.require(PyLong_CheckExact(step.ptr()) != 0)) return false;
    int overflow = 0;
    const std::int64_t number = PyLong_AsLongLongAndOverflow(step.ptr(), &overflow);
    if (!given.require(overflow == 0 && number >= 1)) return false;
    const Configuration configuration = parse_configuration(to_json(parameters));
    const std::int64_t n = p->size();
    float *const to = p->mutable_data(), *const to_m = first->mutable_data(), *const to_v = second->mutable_data();
    return compute(given, device, precision, n_threads, [&](const Kernels& kernels, const auto& how) {
        kernels.update(update_rule(configuration), configuration.learning_rate, number, to, g->data(), to_m, to_v, n,
                       how);
    });
}

}  // namespace

// Each returns None, or False, without having done anything when an argument is not ready (operands.hpp).
void register_kernels(py::module_& m) {
    const auto x = py::arg("x"), z = py::arg("z"), weight = py::arg("weight"), dz = py::arg("dz"), dy = py::arg("dy"),
               out = py::arg("out"), activation = py::arg("activation"), device = py::arg("device"),
               precision = py::arg("precision"), n_threads = py::arg("n_threads");

    m.def("dense_forward", &dense_forward, x, weight, py::arg("bias"), activation, out, device, precision, n_threads);
    m.def("dense_backward_input", &dense_backward_input, dz, weight, out, device, precision, n_threads);
    m.def("dense_backward_weight", &dense_backward_weight, x, dz, out, device, precision, n_threads);
    m.def("activation_forward", &activation_forward, z, activation, out, device, precision, n_threads);
    m.def("activation_backward", &activation_backward, z, dy, activation, out, device, precision, n_threads);
    m.def("loss", &loss, py::arg("loss"), py::arg("y"), py::arg("target"), out, device, precision, n_threads);
    m.def("adam_step", &adam_step, py::arg("param"), py::arg("gradient"), py::arg("m"), py::arg("v"), py::arg("step"),
          py::arg("parameters"), device, precision, n_threads);
}

}  // namespace isthmus::bindings
