// SPDX-License-Identifier: Apache-2.0
// Rows through a model: codes, reconstructions, errors, scores.
#include "bindings/model.hpp"

#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "core/autoencoder.hpp"

namespace isthmus::bindings {
namespace {

// encode, decode and reconstruct differ in the core's function alone.
auto runner(void (Autoencoder::*run)(const Table&, MutableMatrixView) const, const char* name = "X") {
    return [run, name](const SharedModel& model, const RowArray& rows, OutArray out) {
        const Table in = table(rows, model.device_name(), name);
        const MutableMatrixView result = mutable_matrix(out, model.device_name());
        if (result.rows != in.rows) throw Error(ErrorKind::value, "out has the wrong number of rows");
        model.read([&](const Autoencoder& core) { (core.*run)(in, result); });
    };
}

void draw_codes(const SharedModel& model, const RowArray& rows, std::uint64_t seed, std::int64_t first_row,
                FloatArray out) {
    const Table in = table(rows, model.device_name(), "X");
    const MutableMatrixView result = mutable_matrix(out);
    model.read([&](const Autoencoder& core) { core.draw_codes(in, seed, first_row, result); });
}

void draw_prior(const SharedModel& model, std::uint64_t seed, FloatArray out) {
    const MutableMatrixView result = mutable_matrix(out);
    model.read([&](const Autoencoder& core) { core.draw_codes(seed, result); });
}

// A whole call for an array that needs no conversion: what it takes to allocate the result and run. None for anything
// else, and for a model with feature names, which may have to warn: the Python layer goes the long way then. One row of
// the MNIST network takes 2 us, and the long way 4 more.
using Width = std::int64_t (Autoencoder::*)() const;

auto quick_runner(void (Autoencoder::*run)(const Table&, MutableMatrixView) const, Width from, Width to) {
    return [run, from, to](const SharedModel& model, const py::object& rows, const py::object& device,
                           const py::object& n_threads) -> std::optional<FloatArray> {
        if (!PyUnicode_CheckExact(device.ptr())) return std::nullopt;
        if (!model.serves([&](const std::string& name) {
                return PyUnicode_CompareWithASCIIString(device.ptr(), name.c_str()) == 0;
            })) {
            return std::nullopt;
        }
        if (!n_threads.is_none() || model.n_threads() != 0) {
            if (!PyLong_CheckExact(n_threads.ptr()) || PyLong_AsLong(n_threads.ptr()) != model.n_threads()) {
                PyErr_Clear();  // a long that is none
                return std::nullopt;
            }
        }
        const auto& api = py::detail::npy_api::get();
        if (Py_TYPE(rows.ptr()) != reinterpret_cast<PyTypeObject*>(api.PyArray_Type_)) return std::nullopt;
        if (!py::isinstance<FloatArray>(rows)) return std::nullopt;
        const auto array = py::reinterpret_borrow<FloatArray>(rows);
        constexpr int kNeeded = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
        if (array.ndim() != 2 || array.shape(0) == 0 || array.shape(1) != (model.constants().*from)() ||
            (array.flags() & kNeeded) != kNeeded) {
            return std::nullopt;
        }
        const MatrixView in{array.data(), array.shape(0), array.shape(1), array.shape(1)};
        FloatArray out({in.rows, (model.constants().*to)()});
        const MutableMatrixView result{out.mutable_data(), in.rows, out.shape(1), out.shape(1)};
        const bool done = model.read([&](const Autoencoder& core) {
            if (!core.feature_names.empty()) return false;
            (core.*run)(in, result);
            return true;
        });
        return done ? std::optional(std::move(out)) : std::nullopt;
    };
}

// errors, and what per_feature takes, are where the rows are.
using ErrorArray = std::variant<DoubleArray, DeviceArrayPointer>;

void reconstruction_error(const SharedModel& model, const RowArray& rows, ErrorArray errors,
                          std::optional<OutArray> per_feature, bool in_input_units, std::int64_t first_row) {
    const Table in = table(rows, model.device_name(), "X");
    const auto there = [](const auto& array) { return std::holds_alternative<DeviceArrayPointer>(array); };
    if (there(errors) != there(rows) || (per_feature && there(*per_feature) != there(rows))) {
        throw Error(ErrorKind::type, "errors must be where the rows are");
    }
    const Units units = in_input_units ? Units::input : Units::scaled;
    std::span<double> out;
    if (const auto* const on_device = std::get_if<DeviceArrayPointer>(&errors)) {
        out = device_vector(**on_device, model.device_name(), "errors");
    } else {
        out = mutable_vector<double>(std::get<DoubleArray>(errors), in.rows);
    }
    std::optional<MutableMatrixView> elements;
    if (per_feature) elements = mutable_matrix(*per_feature, model.device_name());
    model.read([&](const Autoencoder& core) { core.reconstruction_error(in, out, elements, units, first_row); });
}

void anomaly_scores(const SharedModel& model, const RowArray& rows, DoubleArray scores,
                    std::optional<FloatArray> per_feature) {
    const Table in = table(rows, model.device_name(), "X");
    const std::span<double> out = mutable_vector<double>(scores, in.rows);
    std::optional<MutableMatrixView> elements;
    if (per_feature) elements = mutable_matrix(*per_feature);
    model.read([&](const Autoencoder& core) { core.anomaly_scores(in, out, elements); });
}

void p_values(const SharedModel& model, const RowArray& rows, DoubleArray p) {
    const Table in = table(rows, model.device_name(), "X");
    const std::span<double> out = mutable_vector<double>(p, in.rows);
    model.read([&](const Autoencoder& core) { core.p_values(in, out); });
}

double evaluate(const SharedModel& model, const RowArray& inputs, const OptionalArray& weights) {
    const Samples rows = samples(model, inputs, weights);
    return model.read([&](const Autoencoder& core) { return core.evaluate(rows); });
}

}  // namespace

void register_inference(ModelClass& model) {
    model.def("encode", runner(&Autoencoder::encode), py::arg("rows").noconvert(), py::arg("out").noconvert());
    model.def("decode", runner(&Autoencoder::decode, "Z"), py::arg("rows").noconvert(), py::arg("out").noconvert());
    model.def("draw_codes", &draw_codes, py::arg("rows").noconvert(), py::arg("seed").noconvert(),
              py::arg("first_row").noconvert(), py::arg("out").noconvert(),
              "Codes drawn from what the encoder says of each row; row r depends on the seed and first_row + r.");
    model.def("draw_prior", &draw_prior, py::arg("seed").noconvert(), py::arg("out").noconvert(),
              "Codes drawn from N(0, 1).");
    model.def("reconstruct", runner(&Autoencoder::reconstruct), py::arg("rows").noconvert(),
              py::arg("out").noconvert());
    model.def("encode_quickly", quick_runner(&Autoencoder::encode, &Autoencoder::n_features, &Autoencoder::code_size),
              py::arg("rows"), py::arg("device"), py::arg("n_threads"),
              "The codes of a C-contiguous float32 array; None for what needs more than that, or other threads.");
    model.def("decode_quickly", quick_runner(&Autoencoder::decode, &Autoencoder::code_size, &Autoencoder::n_features),
              py::arg("rows"), py::arg("device"), py::arg("n_threads"));
    model.def("reconstruct_quickly",
              quick_runner(&Autoencoder::reconstruct, &Autoencoder::n_features, &Autoencoder::n_features),
              py::arg("rows"), py::arg("device"), py::arg("n_threads"));
    model.def("reconstruction_error", &reconstruction_error, py::arg("rows").noconvert(), py::arg("errors").noconvert(),
              py::arg("per_feature").noconvert(), py::arg("in_input_units"), py::arg("first_row").noconvert(),
              "first_row is the number of the first of these rows, for messages.");
    model.def("anomaly_scores", &anomaly_scores, py::arg("rows").noconvert(), py::arg("scores").noconvert(),
              py::arg("per_feature").noconvert());
    model.def("p_values", &p_values, py::arg("rows").noconvert(), py::arg("p").noconvert());
    model.def("evaluate", &evaluate, py::arg("inputs").noconvert(), py::arg("weights").noconvert());
}

}  // namespace isthmus::bindings
