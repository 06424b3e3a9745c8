// SPDX-License-Identifier: Apache-2.0
// The caller's Stop as the trainer hands it on, and the end of the time that a fit may take. It remembers a yes, and
// holds back what the caller's throws until the state is stored: a device that was told to stop says how many steps are
// done, one that an exception went through does not.
#pragma once

#include <exception>
#include <limits>

#include "core/stopwatch.hpp"
#include "device/contract.hpp"

namespace isthmus {

class Interrupt final : public Stop {
public:
    static constexpr double kNoLimit = std::numeric_limits<double>::infinity();

    // nullptr: never. max_seconds count from now.
    explicit Interrupt(Stop* stop, double max_seconds = kNoLimit) : stop_(stop), max_seconds_(max_seconds) {}

    bool requested() override {
        if (requested_) return true;
        try {
            requested_ = stop_ != nullptr && stop_->requested();
        } catch (...) {
            thrown_ = std::current_exception();
            requested_ = true;
        }
        if (!requested_ && max_seconds_ < kNoLimit) requested_ = out_of_time_ = watch_.seconds() >= max_seconds_;
        return requested_;
    }

    // Whether it was the time that ran out.
    bool out_of_time() const { return out_of_time_; }

    // Throws what was held back, if anything.
    void rethrow() const {
        if (thrown_) std::rethrow_exception(thrown_);
    }

private:
    Stop* stop_;
    double max_seconds_;
    Stopwatch watch_;
    bool requested_ = false;
    bool out_of_time_ = false;
    std::exception_ptr thrown_;
};

}  // namespace isthmus
