// SPDX-License-Identifier: Apache-2.0
// What a fit takes of main memory beside its caller's rows: pure functions of sizes, so that what is too much is
// refused before it is asked for. A bound for the CPU; on a GPU the device's part lies there. Bytes are doubles: absurd
// widths overflow nothing.
#pragma once

#include <cstdint>

#include "core/configuration.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// What decides how much a fit takes, beside its configuration.
struct FitSize {
    std::int64_t rows = 0;
    bool streamed = false;  // nothing is kept for a row, whose number nobody knows yet
    bool has_weights = false;
    bool holds_back = false;  // rows for validation, copied together
    bool checkpoints = false;
    int n_threads = 0;  // 0: as many as the machine has
};

struct MemoryNeed {
    double parameters = 0.0;  // weights, moments and all copies of them
    double batch = 0.0;       // a step's activations and gradients
    double rows = 0.0;        // what is kept for each row, but for converted copies

    double total() const { return parameters + batch + rows; }
};

MemoryNeed memory_need(const Widths& widths, const Configuration& configuration, const FitSize& size);

// Throws Error(memory), naming the bytes, when weights and moments of a network that is trained take more than
// max_memory, 0 being what the machine has.
void check_memory(const Widths& widths, std::int64_t max_memory);

// max_memory as a fit uses it up; 0: no limit but that a copy of rows, which need not be made, takes a quarter of the
// machine's memory at most: the caller's rows and other programs want some, too.
class MemoryBudget {
public:
    MemoryBudget(const MemoryNeed& need, std::int64_t max_memory);

    // For a copy that need not be made.
    double room() const { return room_; }
    // Throws Error(memory), naming the bytes, when what is needed and these copies, which must be made, are more.
    void check(double copies) const;
    void take(double bytes);

private:
    MemoryNeed need_;
    std::int64_t max_memory_;
    double left_;
    double room_;
};

}  // namespace isthmus
