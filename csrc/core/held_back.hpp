// SPDX-License-Identifier: Apache-2.0
// The rows that validation_fraction holds back. They are copied together, since they are read in order every epoch;
// the rows to train on, by far the more, stay where they are and are named by number.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/contract.hpp"

namespace isthmus {

class HeldBack {
public:
    // Throws Error(value) when there are fewer than two rows, or when all weight is on one side.
    // `memory` gathers rows that lie in a device's.
    HeldBack(const RowSource& all, std::uint64_t seed, double fraction, const DeviceMemory* memory = nullptr);
    HeldBack(const HeldBack&) = delete;
    HeldBack& operator=(const HeldBack&) = delete;

    const RowSource& validation() const { return source_; }
    std::span<const std::int64_t> training_rows() const { return training_rows_; }

private:
    std::vector<std::int64_t> training_rows_;
    std::vector<float> inputs_, targets_, weights_;
    std::shared_ptr<void> device_inputs_, device_targets_;
    RowSource source_;
};

}  // namespace isthmus
