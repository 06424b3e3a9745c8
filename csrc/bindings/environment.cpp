// SPDX-License-Identifier: Apache-2.0
// What this build can do and what this machine offers.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/topics.hpp"
#include "core/model_file.hpp"
#include "cpu/cpu.hpp"
#include "math/names.hpp"

namespace py = pybind11;

namespace isthmus::bindings {
namespace {

template <class E>
std::vector<std::string> names() {
    const auto all = math::names<E>();
    return {all.begin(), all.end()};
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
    m.def("default_threads", &cpu::default_threads, "Threads that n_threads=None stands for.");
}

}  // namespace isthmus::bindings
