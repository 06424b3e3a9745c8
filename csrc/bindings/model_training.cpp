// SPDX-License-Identifier: Apache-2.0
// Training: rows in, callbacks and signals in between, the history of it.
#include "bindings/model.hpp"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "bindings/json.hpp"
#include "bindings/row_stream.hpp"
#include "bindings/stop.hpp"
#include "core/autoencoder.hpp"
#include "core/checkpoints.hpp"
#include "core/configuration.hpp"
#include "math/names.hpp"

namespace isthmus::bindings {
namespace {

using FitRows = std::variant<py::array, DeviceArrayPointer, CsrArrayPointer, PythonStreamPointer>;
using EpochCallback = py::typing::Callable<bool(Parameters)>;
using FailureCallback = py::typing::Callable<void(py::str)>;
using Columns = py::typing::Dict<py::str, py::typing::List<py::float_>>;

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

}  // namespace

void register_training(ModelClass& model) {
    model.def("fit", &fit, py::arg("inputs").noconvert(), py::arg("weights").noconvert(),
              py::arg("validation").noconvert(), py::arg("validation_targets").noconvert(), py::arg("on_epoch_end"),
              py::arg("checkpoint"), py::arg("checkpoint_every").noconvert(), py::arg("on_checkpoint_failure"),
              py::arg("max_seconds"), py::arg("max_memory").noconvert(), py::arg("resumed_with"),
              "resumed_with: the parameters of the fit that was interrupted, to go on with it; None: a fit begins.");
    model.def("partial_fit", &partial_fit, py::arg("inputs").noconvert(), py::arg("weights").noconvert(),
              py::arg("max_memory").noconvert());
    model.def_property_readonly("history", &history);
}

}  // namespace isthmus::bindings
