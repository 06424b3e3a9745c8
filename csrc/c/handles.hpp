// SPDX-License-Identifier: Apache-2.0
// What stands behind the opaque types.
#pragma once

#include <memory>

#include "c/arguments.hpp"
#include "c/status.hpp"
#include "core/autoencoder.hpp"
#include "isthmus/isthmus.h"
#include "serving/shared_model.hpp"

struct isthmus_model {
    std::shared_ptr<isthmus::SharedModel> shared;  // its sessions hold it, too
};

namespace isthmus::c {

// Calls body(core) on the model while nobody changes it.
template <class Body>
isthmus_status reading(const isthmus_model* model, Body&& body) noexcept {
    return guarded([&] { required(model, "model").shared->read(body); });
}

// ... while nobody else uses it.
template <class Body>
isthmus_status writing(isthmus_model* model, Body&& body) noexcept {
    return guarded([&] { required(model, "model").shared->write(body); });
}

}  // namespace isthmus::c
