// SPDX-License-Identifier: Apache-2.0
// Around every call into the core: without the GIL, and in the floating-point mode that the core computes in.
#pragma once

#include <pybind11/pybind11.h>

#include "cpu/floating_point.hpp"

namespace isthmus::bindings {

class InCore {
public:
    InCore() : mode_(cpu::Denormals::kept) {}
    InCore(const InCore&) = delete;
    InCore& operator=(const InCore&) = delete;

private:
    pybind11::gil_scoped_release nogil_;
    cpu::FloatingPointScope mode_;
};

}  // namespace isthmus::bindings
