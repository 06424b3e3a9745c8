// SPDX-License-Identifier: Apache-2.0
// One function for each topic of the module.
#pragma once

#include <pybind11/pybind11.h>

namespace isthmus::bindings {

void register_errors();
void register_device_arrays(pybind11::module_& m);
void register_environment(pybind11::module_& m);
void register_model(pybind11::module_& m);
void register_kernels(pybind11::module_& m);

}  // namespace isthmus::bindings
