// SPDX-License-Identifier: Apache-2.0
// isthmus._core.Model: a core Autoencoder on a device.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/in_core.hpp"
#include "bindings/json.hpp"
#include "bindings/row_stream.hpp"
#include "bindings/shared_model.hpp"
#include "bindings/stop.hpp"
#include "bindings/topics.hpp"
#include "core/autoencoder.hpp"
#include "core/budget.hpp"
#include "core/checkpoints.hpp"
#include "core/checks.hpp"
#include "core/configuration.hpp"
#include "core/file.hpp"
#include "core/model_file.hpp"
#include "math/names.hpp"
#include "serving/devices.hpp"

namespace isthmus::bindings {
namespace {

using ModelPointer = std::unique_ptr<SharedModel>;
using OptionalArray = std::optional<FloatArray>;
using OptionalRows = std::optional<RowArray>;
using FitRows = std::variant<py::array, DeviceArrayPointer, CsrArrayPointer, PythonStreamPointer>;
using EpochCallback = py::typing::Callable<bool(Parameters)>;
using FailureCallback = py::typing::Callable<void(py::str)>;
using Columns = py::typing::Dict<py::str, py::typing::List<py::float_>>;

CompileOptions compile_options(const Configuration& configuration, int n_threads) {
    CompileOptions options;
    options.precision = configuration.precision;
    options.n_threads = n_threads;
    return options;
}

ModelPointer from_stored(StoredModel stored, const Placement& placement) {
    const CompileOptions options = compile_options(stored.configuration, placement.n_threads);
    return std::make_unique<SharedModel>(placement, options, std::move(stored));
}

ModelPointer create(const Parameters& parameters, std::int64_t n_features, std::uint64_t seed,
                    const std::string& device, int n_threads, std::int64_t max_memory, const std::string& on) {
    Configuration configuration = parse_configuration(to_json(parameters));
    const CompileOptions options = compile_options(configuration, n_threads);
    const InCore in_core;
    check_memory(resolve_widths(configuration, n_features), max_memory);
    return std::make_unique<SharedModel>(Placement(device, n_threads, on), options, std::move(configuration),
                                         n_features, seed);
}

// ---- training ---------------------------------------------------------------------------------------------------

Samples samples(const SharedModel& model, const RowArray& inputs, const OptionalArray& weights,
                const char* name = "X") {
    const Table rows = table(inputs, model.device_name(), name);
    return {rows, std::nullopt, row_weights(weights, rows.rows)};
}

Samples samples_to_fit(const SharedModel& model, const FitRows& inputs, const OptionalArray& weights,
                       const char* name = "X") {
    return std::visit(
        [&](const auto& rows) {
            if constexpr (std::is_same_v<std::decay_t<decltype(rows)>, PythonStreamPointer>) {
                if (weights) throw Error(ErrorKind::type, "the weights of a stream come with its pieces");
                return rows->samples();
            } else {
                return samples(model, rows, weights, name);
            }
        },
        inputs);
}

Parameters to_python(const EpochInfo& info) {
    Parameters result;
    result["epoch"] = info.epoch;
    result["n_epochs"] = info.n_epochs;
    result["loss"] = info.loss;
    result["val_loss"] = info.val_loss;
    result["learning_rate"] = info.learning_rate;
    result["seconds"] = info.seconds;
    if (info.penalty) result[py::str(std::string(math::name(info.penalty->first)))] = info.penalty->second;
    return result;
}

// Runs training. What Python raises in between (a callback, a signal handler, a stream), or a stream's rows are refused
// for, leaves a model that has been trained once training has begun, which it has where a fit is resumed; any other
// error but divergence leaves one that has not. The caller is told which by Model.interrupted.
template <class Train>
void train(SharedModel& model, Hooks& hooks, bool begun, Train&& body) {
    hooks.on_begin = [&] { begun = true; };
    model.interrupted = false;
    try {
        model.write(body);
    } catch (const py::error_already_set&) {
        model.interrupted = begun;
        throw;
    } catch (const StreamError&) {
        model.interrupted = begun;
        throw;
    }
}

// Begins a fit, or, with the parameters that it shall have, goes on with the one that the model was interrupted in. The
// folder is bytes, as paths are.
void fit(SharedModel& model, const FitRows& inputs, const OptionalArray& weights,
         const std::optional<FitRows>& validation, const OptionalRows& validation_targets,
         const std::optional<EpochCallback>& on_epoch_end, const std::optional<py::bytes>& checkpoint,
         std::int64_t checkpoint_every, const FailureCallback& on_checkpoint_failure, std::optional<double> max_seconds,
         std::int64_t max_memory, const std::optional<Parameters>& resumed_with) {
    const Samples training = samples_to_fit(model, inputs, weights);
    std::optional<Samples> held_out;
    if (validation) held_out = samples_to_fit(model, *validation, std::nullopt, "validation_data");
    if (validation && validation_targets) {
        held_out->targets = table(*validation_targets, model.device_name(), "validation_data[1]");
    }
    const Samples* const validated = held_out ? &*held_out : nullptr;

    SignalPoll stop;
    Hooks hooks;
    hooks.stop = &stop;
    hooks.max_seconds = max_seconds;
    if (on_epoch_end) {
        hooks.on_epoch_end = [&](const EpochInfo& info) {
            return model.pause([&] { return (*on_epoch_end)(to_python(info)).cast<bool>(); });
        };
    }
    Checkpointing checkpointing;
    if (checkpoint) checkpointing.folder = *checkpoint;
    checkpointing.every = checkpoint_every;
    checkpointing.on_failure = [&](const std::string& why) {
        model.pause(
            [&] { on_checkpoint_failure(py::reinterpret_steal<py::str>(PyUnicode_DecodeFSDefault(why.c_str()))); });
    };
    if (!resumed_with) {
        train(model, hooks, false,
              [&](Autoencoder& core) { core.fit(training, validated, hooks, checkpointing, max_memory); });
        return;
    }
    const Configuration configuration = parse_configuration(to_json(*resumed_with));
    train(model, hooks, true, [&](Autoencoder& core) {
        core.resume(configuration, training, validated, hooks, checkpointing, max_memory);
    });
}

void partial_fit(SharedModel& model, const RowArray& inputs, const OptionalArray& weights, std::int64_t max_memory) {
    const Samples training = samples(model, inputs, weights);
    SignalPoll stop;
    Hooks hooks;
    hooks.stop = &stop;
    train(model, hooks, false, [&](Autoencoder& core) { core.partial_fit(training, hooks, max_memory); });
}

Columns history(const SharedModel& model) {
    const auto [past, penalty] =
        model.read([](const Autoencoder& core) { return std::pair(core.state().history, core.program().penalty); });
    Columns result;
    result["loss"] = past.loss;
    result["val_loss"] = past.val_loss;
    result["learning_rate"] = past.learning_rate;
    result["seconds"] = past.seconds;
    if (penalty) result[py::str(std::string(math::name(penalty->kind)))] = past.penalty;
    return result;
}

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

// ---- inference ----------------------------------------------------------------------------------------------------

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

// ---- files --------------------------------------------------------------------------------------------------------

std::string serialise(const SharedModel& model, bool training_state) {
    return model.read([&](const Autoencoder& core) { return to_bytes(core.store(training_state)); });
}

// Paths come as bytes in the file system's encoding.
void save(const SharedModel& model, const py::bytes& path, bool training_state) {
    const std::string name = path;
    model.read([&](const Autoencoder& core) { write_atomically(name, to_bytes(core.store(training_state))); });
}

ModelPointer load(const py::bytes& path, const std::string& device, int n_threads) {
    const std::string name = path;
    const InCore in_core;
    return from_stored(isthmus::from_bytes(read_file(name), name), Placement(device, n_threads));
}

// A model in the middle of a fit, and the path and what is wrong of each newer checkpoint.
std::pair<ModelPointer, std::vector<std::pair<py::bytes, py::bytes>>> load_checkpoint(const py::bytes& path,
                                                                                      const std::string& device,
                                                                                      int n_threads) {
    const std::string name = path;
    FoundCheckpoint found;
    ModelPointer model;
    {
        const InCore in_core;
        found = newest_checkpoint(name);
        model = from_stored(std::move(found.model), Placement(device, n_threads));
    }
    std::vector<std::pair<py::bytes, py::bytes>> skipped;
    for (const auto& [at, reason] : found.skipped) skipped.emplace_back(at, reason);
    return {std::move(model), std::move(skipped)};
}

ModelPointer deserialise(const py::bytes& data, const std::string& device, int n_threads) {
    const std::string_view view = data;
    const InCore in_core;
    return from_stored(isthmus::from_bytes(view, "bytes"), Placement(device, n_threads));
}

ModelPointer moved(const SharedModel& model, const std::string& device, int n_threads) {
    StoredModel stored = model.read([](const Autoencoder& core) { return core.store(true); });
    const InCore in_core;
    // A device that "auto" took for the sake of the rows is kept.
    const bool stays = model.serves([&](const std::string& name) { return name == device; });
    return from_stored(std::move(stored), Placement(device, n_threads, stays ? model.device_name() : ""));
}

// A value that is copied while nobody writes.
template <class Get>
auto reader(Get get) {
    return [get](const SharedModel& model) { return model.read(get); };
}

}  // namespace

void register_model(py::module_& m) {
    m.def(
        "reads", [](const py::array& array) { return number_of(array).has_value(); }, py::arg("array"),
        "Does the core convert an array of this number type itself?");
    m.def(
        "find_non_finite",
        [](const py::array& rows, bool nan_is_missing) {
            const Table view = table(rows);
            const InCore in_core;
            const auto at = find_non_finite(view, nan_is_missing ? Missing::mask : Missing::error);
            return at ? std::optional(std::pair(at->row, at->col)) : std::nullopt;
        },
        py::arg("rows").noconvert(), py::arg("nan_is_missing"),
        "Row and column of the first infinity or, unless that is a missing value, NaN in row order, or None.");
    m.def(
        "check_parameters",
        [](const Parameters& parameters) {
            return Parameters(to_python(isthmus::to_json(parse_configuration(to_json(parameters)))));
        },
        py::arg("parameters"),
        "The whole configuration with these parameters; ValueError or TypeError for what is not allowed.");

    py::class_<PythonStream, PythonStreamPointer>(
        m, "RowStream",
        "Rows that rewind() and next_piece() of an object give, (rows, weights) at a time, None at the end.")
        .def(py::init<py::object, std::int64_t>(), py::arg("source"), py::arg("n_columns").noconvert());

    py::class_<SharedModel> model(m, "Model", "A network with its weights and training state, on a device.");
    model.def(py::init(&create), py::arg("parameters"), py::arg("n_features").noconvert(), py::arg("seed").noconvert(),
              py::arg("device"), py::arg("n_threads").noconvert(), py::arg("max_memory").noconvert(),
              py::arg("on") = "");
    model.def_static("load", &load, py::arg("path"), py::arg("device"), py::arg("n_threads").noconvert());
    model.def_static("load_checkpoint", &load_checkpoint, py::arg("path"), py::arg("device"),
                     py::arg("n_threads").noconvert(),
                     "The newest checkpoint of a folder, or a file, to resume from; path and reason of each skipped.");
    model.def_static("from_bytes", &deserialise, py::arg("data"), py::arg("device"), py::arg("n_threads").noconvert());
    model.def("save", &save, py::arg("path"), py::arg("training_state"));
    model.def(
        "to_bytes", [](const SharedModel& self, bool state) { return py::bytes(serialise(self, state)); },
        py::arg("training_state"));
    model.def("moved", &moved, py::arg("device"), py::arg("n_threads").noconvert(),
              "A copy on another device or number of threads.");
    model.def(
        "serves",
        [](const SharedModel& self, const std::string& device, int n_threads) {
            return self.n_threads() == n_threads &&
                   self.serves([&](const std::string& name) { return name == device; });
        },
        py::arg("device"), py::arg("n_threads").noconvert(), "Is this model where these two would put it?");

    model.def_property_readonly("n_threads", &SharedModel::n_threads);
    model.def_property_readonly("device", &SharedModel::device_name);
    model.def_property_readonly("n_features", reader([](const Autoencoder& core) { return core.n_features(); }));
    model.def_property_readonly("code_size", reader([](const Autoencoder& core) { return core.code_size(); }));
    model.def_property_readonly(
        "masks_missing", reader([](const Autoencoder& core) { return core.configuration().missing == Missing::mask; }),
        "Is NaN a missing value to this model?");
    model.def_property_readonly("epoch", reader([](const Autoencoder& core) { return core.state().epoch; }));
    model.def_property_readonly("step", reader([](const Autoencoder& core) { return core.state().step; }));
    model.def_property_readonly("loss", reader([](const Autoencoder& core) { return core.state().loss(); }));
    model.def_property_readonly("offset", reader([](const Autoencoder& core) -> std::optional<double> {
                                    const std::vector<double>& offset = core.calibration().offset;
                                    return offset.empty() ? std::nullopt : std::optional(offset.front());
                                }));
    model.def_property_readonly("last_plan", reader([](const Autoencoder& core) { return core.last_plan(); }),
                                "How the device ran the last steps, in words.");
    model.def_property_readonly("reads_device_rows",
                                reader([](const Autoencoder& core) { return core.reads_device_rows(); }),
                                "May rows be on the GPU that the model is on?");
    model.def_readonly("interrupted", &SharedModel::interrupted);
    model.def_property_readonly("history", &history);
    model.def_property("feature_names", reader([](const Autoencoder& core) { return core.feature_names; }),
                       [](SharedModel& self, std::vector<std::string> names) {
                           self.write([&](Autoencoder& core) { core.feature_names = std::move(names); });
                       });
    model.def_property_readonly("parameters", [](const SharedModel& self) {
        const Configuration now = self.read([](const Autoencoder& core) { return core.configuration(); });
        return Parameters(to_python(isthmus::to_json(now)));
    });
    model.def(
        "configure",
        [](SharedModel& self, const Parameters& parameters) {
            Configuration configuration = parse_configuration(to_json(parameters));
            self.write([&](Autoencoder& core) { core.configure(std::move(configuration)); });
        },
        py::arg("parameters"), "New training parameters; ValueError when the network would change.");

    model.def("fit", &fit, py::arg("inputs").noconvert(), py::arg("weights").noconvert(),
              py::arg("validation").noconvert(), py::arg("validation_targets").noconvert(), py::arg("on_epoch_end"),
              py::arg("checkpoint"), py::arg("checkpoint_every").noconvert(), py::arg("on_checkpoint_failure"),
              py::arg("max_seconds"), py::arg("max_memory").noconvert(), py::arg("resumed_with"),
              "resumed_with: the parameters of the fit that was interrupted, to go on with it; None: a fit begins.");
    model.def("partial_fit", &partial_fit, py::arg("inputs").noconvert(), py::arg("weights").noconvert(),
              py::arg("max_memory").noconvert());

    model.def_property_readonly("shapes", [](const SharedModel& self) { return parameter_shapes(program(self)); });
    model.def("get_weights", [](const SharedModel& self) {
        return split(program(self), self.read([](const Autoencoder& core) { return core.weights(); }));
    });
    model.def("set_weights", &set_weights, py::arg("weights").noconvert());
    model.def("set_scaling", &set_scaling, py::arg("shift"), py::arg("scale"),
              "What each feature is shifted and divided by, instead of what the first training finds.");
    model.def("gradients", &gradients, py::arg("inputs").noconvert(), py::arg("weights").noconvert());

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
