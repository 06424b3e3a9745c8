// SPDX-License-Identifier: Apache-2.0
// Rows that come in pieces and are gone afterwards: more of them than there is memory, from files, a database, another
// program. They are read in the order in which they come: once before training, for what must be known of all of them,
// and then once an epoch.
#pragma once

#include <cstdint>
#include <optional>

#include "core/fingerprint.hpp"
#include "core/passage.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// What the first reading found, and every other must find again.
struct StreamFacts {
    std::int64_t rows = 0;
    bool weighted = false;
    bool sparse = false;         // all of it
    int weight_exponent = 0;     // of the largest weight: see ScaledWeights
    TablePrint inputs, weights;  // where they were asked for
};

class RowStream {
public:
    virtual ~RowStream() = default;

    // The next piece is the first again. What these two throw reaches who reads.
    virtual void rewind() = 0;
    // Rows of the host, as many as there happen to be, with their weights and without targets, valid until the next
    // call of either; nothing at the end.
    virtual std::optional<Samples> next() = 0;

    StreamFacts facts;  // of the core
};

// What a reading found wrong with the rows: of one after the first the model has learned something by then.
class StreamError : public Error {
public:
    explicit StreamError(const Error& error) : Error(error) {}
};

}  // namespace isthmus
