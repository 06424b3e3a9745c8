// SPDX-License-Identifier: Apache-2.0
// A core model that several Python threads may hold. Every call runs without the GIL, and the model's lock is only ever
// waited for without the GIL, so that of two threads each never holds what the other waits for.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

#include "bindings/in_core.hpp"
#include "serving/shared_model.hpp"

namespace isthmus::bindings {

class SharedModel : public isthmus::SharedModel {
public:
    using isthmus::SharedModel::SharedModel;

    template <class Body>
    auto read(Body&& body) const {
        const InCore in_core;
        return isthmus::SharedModel::read(std::forward<Body>(body));
    }

    template <class Body>
    auto write(Body&& body) {
        const InCore in_core;
        return isthmus::SharedModel::write(std::forward<Body>(body));
    }

    // For a callback inside write: takes the GIL, and lets others in until it returns.
    template <class Body>
    auto pause(Body&& body) {
        return isthmus::SharedModel::pause([&] {
            const pybind11::gil_scoped_acquire gil;
            return body();
        });
    }

    bool interrupted = false;  // the last training ended by an exception that Python raised; guarded by the GIL
};

}  // namespace isthmus::bindings
