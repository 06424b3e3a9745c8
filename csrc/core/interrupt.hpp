// SPDX-License-Identifier: Apache-2.0
// The caller's Stop as the trainer hands it on. It remembers a yes, and holds back what the caller's throws until the
// state is stored: a device that was told to stop says how many steps are done, one that an exception went through
// does not.
#pragma once

#include <exception>

#include "device/contract.hpp"

namespace isthmus {

class Interrupt final : public Stop {
public:
    // nullptr: never.
    explicit Interrupt(Stop* stop) : stop_(stop) {}

    bool requested() override {
        if (requested_ || stop_ == nullptr) return requested_;
        try {
            requested_ = stop_->requested();
        } catch (...) {
            thrown_ = std::current_exception();
            requested_ = true;
        }
        return requested_;
    }

    // Throws what was held back, if anything.
    void rethrow() const {
        if (thrown_) std::rethrow_exception(thrown_);
    }

private:
    Stop* stop_;
    bool requested_ = false;
    std::exception_ptr thrown_;
};

}  // namespace isthmus
