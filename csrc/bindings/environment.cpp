// SPDX-License-Identifier: Apache-2.0
// What this build can do and what this machine offers.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/in_core.hpp"
#include "bindings/json.hpp"
#include "bindings/topics.hpp"
#include "core/model_file.hpp"
#include "cpu/cpu.hpp"
#include "device/cuda_driver.hpp"
#include "device/cuda_library.hpp"
#include "math/names.hpp"
#include "serving/devices.hpp"

namespace py = pybind11;

namespace isthmus::bindings {
namespace {

template <class E>
std::vector<std::string> names() {
    const auto all = math::names<E>();
    return {all.begin(), all.end()};
}

// Empty texts, which stand for nothing to say, become None.
py::object said(const std::string& text) { return text.empty() ? py::object(py::none()) : py::str(text); }

Parameters cuda() {
    CudaLibrary library;
    CudaDriver driver;
    FirstCudaDevice first;
    {
        const InCore in_core;
        library = cuda_library();
        driver = cuda_driver();
        first = first_cuda_device();
    }
    py::list gpus;
    for (const CudaGpu& gpu : driver.gpus) {
        Parameters facts;
        facts["name"] = gpu.name;
        facts["compute_capability"] = std::to_string(gpu.major) + "." + std::to_string(gpu.minor);
        facts["memory"] = gpu.memory;
        gpus.append(facts);
    }
    Parameters result;
    result["library"] = library.path;
    result["library_error"] = said(library.error);
    result["built_with"] = said(library.built_with);
    result["driver_needed"] = said(library.driver_needed);
    result["driver"] = driver.version == 0 ? py::object(py::none()) : py::str(version_text(driver.version));
    result["driver_error"] = said(driver.error);
    result["gpus"] = gpus;
    result["auto"] = first.device != nullptr ? first.device->name() : cpu::device().name();
    result["auto_because"] = said(first.why_not);
    return result;
}

}  // namespace

void register_environment(py::module_& m) {
    m.attr("format_version") = kFormatVersion;
    m.attr("numerics_version") = kNumericsVersion;
    m.attr("compiler") = __VERSION__;

    m.def("activations", &names<Activation>, "Names, in the order of the registry.");
    m.def("losses", &names<Loss>);
    m.def("optimizers", &names<Optimizer>);
    m.def("schedules", &names<Schedule>);
    m.def("noise_kinds", &names<NoiseKind>);

    m.def("instruction_sets", &cpu::instruction_sets, "Those compiled in that this machine can run, best last.");
    m.def("instruction_set", &cpu::instruction_set, "The one in use.");
    m.def("use_instruction_set", &cpu::use_instruction_set, py::arg("name"),
          "For tests; not while another thread computes.");
    m.def("bfloat16_families", &cpu::bfloat16_families,
          "Families of instructions that multiply bfloat16 with the instruction set in use, best last.");
    m.def("bfloat16_family", &cpu::bfloat16_family, "The one in use, or \"none\".");
    m.def("use_bfloat16_family", &cpu::use_bfloat16_family, py::arg("name"),
          "For tests; not while another thread computes.");
    m.def(
        "device_name",
        [](const std::string& device) {
            const InCore in_core;
            return device_named(device).name();
        },
        py::arg("device"), "What a device is called that was asked for as \"auto\" or \"cuda\"; opens it.");
    m.def("cuda", &cuda, "What was found of CUDA: library, driver, GPUs, and what device=\"auto\" takes, and why.");
    m.def("default_threads", &cpu::default_threads, "Threads that n_threads=None stands for.");
}

}  // namespace isthmus::bindings
