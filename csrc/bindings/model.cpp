// SPDX-License-Identifier: Apache-2.0
// isthmus._core.Model: a core Autoencoder on a device; made, described, stored. What is done with it stands in
// model_training.cpp, model_weights.cpp and model_inference.cpp.
#include "bindings/model.hpp"

#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/in_core.hpp"
#include "bindings/json.hpp"
#include "bindings/row_stream.hpp"
#include "bindings/topics.hpp"
#include "core/autoencoder.hpp"
#include "core/budget.hpp"
#include "core/checkpoints.hpp"
#include "core/configuration.hpp"
#include "core/file.hpp"
#include "core/model_file.hpp"
#include "serving/devices.hpp"

namespace isthmus::bindings {
namespace {

using ModelPointer = std::unique_ptr<SharedModel>;

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

    ModelClass model(m, "Model", "A network with its weights and training state, on a device.");
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

    register_training(model);
    register_weights(model);
    register_inference(model);
}

}  // namespace isthmus::bindings
