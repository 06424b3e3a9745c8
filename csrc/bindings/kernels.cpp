// SPDX-License-Identifier: Apache-2.0
// Single kernels, for isthmus.kernels, which checks shapes and overlap before it calls.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bindings/arrays.hpp"
#include "bindings/json.hpp"
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

CompileOptions options(const std::string& precision, int n_threads) {
    CompileOptions result;
    result.precision = parse<Precision>("precision", precision);
    result.n_threads = n_threads;
    return result;
}

// Runs one kernel without the GIL.
template <class Kernel>
auto compute(const std::string& device, Kernel&& kernel) {
    const py::gil_scoped_release nogil;
    return kernel(device_named(device).kernels());
}

void dense_forward(const FloatArray& x, const FloatArray& weight, const std::optional<FloatArray>& bias,
                   const std::string& activation, FloatArray out, const std::string& device,
                   const std::string& precision, int n_threads) {
    const MatrixView in = matrix(x), w = matrix(weight);
    const float* b = bias ? vector<float>(*bias, w.rows).data() : nullptr;
    const auto act = parse<Activation>("activation", activation);
    const MutableMatrixView y = mutable_matrix(out);
    const CompileOptions how = options(precision, n_threads);
    compute(device, [&](const Kernels& kernels) { kernels.dense_forward(in, w, b, act, y, how); });
}

void dense_backward_input(const FloatArray& dz, const FloatArray& weight, FloatArray out, const std::string& device,
                          const std::string& precision, int n_threads) {
    const MatrixView gradient = matrix(dz), w = matrix(weight);
    const MutableMatrixView dx = mutable_matrix(out);
    const CompileOptions how = options(precision, n_threads);
    compute(device, [&](const Kernels& kernels) { kernels.dense_backward_input(gradient, w, dx, how); });
}

void dense_backward_weight(const FloatArray& x, const FloatArray& dz, FloatArray dweight, FloatArray dbias,
                           const std::string& device, const std::string& precision, int n_threads) {
    const MatrixView in = matrix(x), gradient = matrix(dz);
    const MutableMatrixView dw = mutable_matrix(dweight);
    float* db = mutable_vector<float>(dbias, gradient.cols).data();
    const CompileOptions how = options(precision, n_threads);
    compute(device, [&](const Kernels& kernels) { kernels.dense_backward_weight(in, gradient, dw, db, how); });
}

void activation_forward(const FloatArray& z, const std::string& activation, FloatArray out, const std::string& device,
                        const std::string& precision, int n_threads) {
    const MatrixView in = matrix(z);
    const auto act = parse<Activation>("activation", activation);
    const MutableMatrixView y = mutable_matrix(out);
    const CompileOptions how = options(precision, n_threads);
    compute(device, [&](const Kernels& kernels) { kernels.activation_forward(in, act, y, how); });
}

void activation_backward(const FloatArray& z, const FloatArray& dy, const std::string& activation, FloatArray out,
                         const std::string& device, const std::string& precision, int n_threads) {
    const MatrixView in = matrix(z), gradient = matrix(dy);
    const auto act = parse<Activation>("activation", activation);
    const MutableMatrixView dz = mutable_matrix(out);
    const CompileOptions how = options(precision, n_threads);
    compute(device, [&](const Kernels& kernels) { kernels.activation_backward(in, gradient, act, dz, how); });
}

double loss(const std::string& name, const FloatArray& y, const FloatArray& target, FloatArray out,
            const std::string& device, const std::string& precision, int n_threads) {
    const MatrixView output = matrix(y), wanted = matrix(target);
    const auto kind = parse<Loss>("loss", name);
    const MutableMatrixView dy = mutable_matrix(out);
    const CompileOptions how = options(precision, n_threads);
    return compute(device, [&](const Kernels& kernels) { return kernels.loss(kind, output, wanted, dy, how); });
}

// `parameters` are those of the constructor that concern Adam.
void adam_step(FloatArray param, const FloatArray& gradient, FloatArray m, FloatArray v, std::int64_t step,
               const Parameters& parameters, const std::string& device, const std::string& precision, int n_threads) {
    const Configuration configuration = parse_configuration(to_json(parameters));
    const std::int64_t n = param.size();
    float* p = mutable_vector<float>(param, n).data();
    const float* g = vector<float>(gradient, n).data();
    float* first = mutable_vector<float>(m, n).data();
    float* second = mutable_vector<float>(v, n).data();
    const CompileOptions how = options(precision, n_threads);
    compute(device, [&](const Kernels& kernels) {
        kernels.update(update_rule(configuration), configuration.learning_rate, step, p, g, first, second, n, how);
    });
}

}  // namespace

void register_kernels(py::module_& m) {
    const auto x = py::arg("x").noconvert(), z = py::arg("z").noconvert(), weight = py::arg("weight").noconvert(),
               dz = py::arg("dz").noconvert(), dy = py::arg("dy").noconvert(), out = py::arg("out").noconvert();
    const auto activation = py::arg("activation"), device = py::arg("device"), precision = py::arg("precision"),
               n_threads = py::arg("n_threads").noconvert();

    m.def("dense_forward", &dense_forward, x, weight, py::arg("bias").noconvert(), activation, out, device, precision,
          n_threads);
    m.def("dense_backward_input", &dense_backward_input, dz, weight, out, device, precision, n_threads);
    m.def("dense_backward_weight", &dense_backward_weight, x, dz, py::arg("dweight").noconvert(),
          py::arg("dbias").noconvert(), device, precision, n_threads);
    m.def("activation_forward", &activation_forward, z, activation, out, device, precision, n_threads);
    m.def("activation_backward", &activation_backward, z, dy, activation, out, device, precision, n_threads);
    m.def("loss", &loss, py::arg("loss"), py::arg("y").noconvert(), py::arg("target").noconvert(), out, device,
          precision, n_threads);
    m.def("adam_step", &adam_step, py::arg("param").noconvert(), py::arg("gradient").noconvert(),
          py::arg("m").noconvert(), py::arg("v").noconvert(), py::arg("step").noconvert(), py::arg("parameters"),
          device, precision, n_threads);
}

}  // namespace isthmus::bindings
