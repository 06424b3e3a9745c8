// SPDX-License-Identifier: Apache-2.0
// A model's weights, gradients and scaling as arrays.
#include "bindings/model.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/autoencoder.hpp"
#include "core/program.hpp"

namespace isthmus::bindings {
namespace {

// ---- parameters as a list of arrays: weights (out, in), biases (out) ----------------------------------------------

Program program(const SharedModel& model) {
    return model.read([](const Autoencoder& core) { return core.program(); });
}

std::vector<std::vector<py::ssize_t>> parameter_shapes(const Program& program) {
    std::set<ParamId> biases;
    for (const Op& op : program.ops) {
        if (const auto* dense = std::get_if<Dense>(&op)) biases.insert(dense->bias);
    }
    std::vector<std::vector<py::ssize_t>> shapes;
    for (ParamId id = 0; id < program.parameters.size(); ++id) {
        const Parameter& parameter = program.parameters[id];
        shapes.push_back(biases.contains(id) ? std::vector<py::ssize_t>{parameter.rows}
                                             : std::vector<py::ssize_t>{parameter.rows, parameter.cols});
    }
    return shapes;
}

std::vector<FloatArray> split(const Program& program, const std::vector<float>& flat) {
    std::vector<FloatArray> arrays;
    const auto shapes = parameter_shapes(program);
    for (ParamId id = 0; id < shapes.size(); ++id) {
        const Parameter& parameter = program.parameters[id];
        arrays.emplace_back(shapes[id]);
        std::copy_n(flat.data() + parameter.offset, parameter.size(), arrays.back().mutable_data());
    }
    return arrays;
}

std::vector<float> join(const Program& program, const std::vector<FloatArray>& arrays) {
    const auto shapes = parameter_shapes(program);
    if (arrays.size() != shapes.size()) throw Error(ErrorKind::value, "wrong number of weights");
    std::vector<float> flat(static_cast<std::size_t>(program.flat_size), 0.0F);
    for (ParamId id = 0; id < shapes.size(); ++id) {
        const FloatArray& array = arrays[id];
        const bool fits = std::equal(shapes[id].begin(), shapes[id].end(), array.shape(), array.shape() + array.ndim());
        if (!fits || (array.flags() & py::array::c_style) == 0) {
            throw Error(ErrorKind::value, "weights[" + std::to_string(id) + "] has the wrong shape");
        }
        std::copy_n(array.data(), array.size(), flat.data() + program.parameters[id].offset);
    }
    return flat;
}

std::vector<FloatArray> gradients(const SharedModel& model, const RowArray& inputs, const OptionalArray& weights) {
    const Samples rows = samples(model, inputs, weights);
    const auto flat = model.read([&](const Autoencoder& core) { return core.gradients(rows); });
    return split(program(model), flat);
}

void set_weights(SharedModel& model, const std::vector<FloatArray>& arrays) {
    const std::vector<float> flat = join(program(model), arrays);
    model.write([&](Autoencoder& core) { core.set_weights(flat); });
}

void set_scaling(SharedModel& model, std::vector<double> shift, std::vector<double> scale) {
    model.write([&](Autoencoder& core) { core.set_scaling({std::move(shift), std::move(scale)}); });
}

}  // namespace

void register_weights(ModelClass& model) {
    model.def_property_readonly("shapes", [](const SharedModel& self) { return parameter_shapes(program(self)); });
    model.def("get_weights", [](const SharedModel& self) {
        return split(program(self), self.read([](const Autoencoder& core) { return core.weights(); }));
    });
    model.def("set_weights", &set_weights, py::arg("weights").noconvert());
    model.def("set_scaling", &set_scaling, py::arg("shift"), py::arg("scale"),
              "What each feature is shifted and divided by, instead of what the first training finds.");
    model.def("gradients", &gradients, py::arg("inputs").noconvert(), py::arg("weights").noconvert());
}

}  // namespace isthmus::bindings
