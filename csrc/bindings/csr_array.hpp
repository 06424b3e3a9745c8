// SPDX-License-Identifier: Apache-2.0
// isthmus._core.CsrArray: the three arrays of a caller's sparse matrix, looked through once before anything is read by
// what they say.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <memory>

#include "core/table.hpp"

namespace isthmus::bindings {

struct CsrArray {
    pybind11::array offsets, columns, values;
    Table rows;
};

using CsrArrayPointer = std::shared_ptr<CsrArray>;

}  // namespace isthmus::bindings
