// SPDX-License-Identifier: Apache-2.0
// Where exceptions end: every function of the C interface that can fail runs its body in here, in the floating-point
// mode that the core computes in.
#pragma once

#include <exception>
#include <new>

#include "cpu/floating_point.hpp"
#include "isthmus/isthmus.h"
#include "isthmus/types.hpp"

namespace isthmus::c {

// Keeps the sentence for this thread, cut to its place there, and returns the status. Allocates nothing.
isthmus_status failed(isthmus_status status, const char* message, int code = 0) noexcept;
isthmus_status failed(const Error& error) noexcept;

template <class Body>
isthmus_status guarded(Body&& body) noexcept {
    const cpu::FloatingPointScope mode(cpu::Denormals::kept);
    try {
        body();
        return ISTHMUS_OK;
    } catch (const Error& error) {
        return failed(error);
    } catch (const std::bad_alloc&) {
        return failed(ISTHMUS_MEMORY, "out of memory");
    } catch (const std::exception& error) {
        return failed(ISTHMUS_INTERNAL, error.what());
    } catch (...) {
        return failed(ISTHMUS_INTERNAL, "an unknown exception");
    }
}

}  // namespace isthmus::c
