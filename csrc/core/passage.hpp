// SPDX-License-Identifier: Apache-2.0
// What happens to a caller's rows before a device sees them: they are checked, and what a device cannot read as it is,
// or what is scaled, is converted. Messages name argument, row, column and value as the caller wrote it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/scaling.hpp"
#include "core/table.hpp"
#include "device/contract.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

class RowStream;

// A caller's rows. `targets`, when given, is what the output is compared with; `weights` has one float a row, or is
// null. With a stream the rows and their weights come from there, and `inputs` says the shape alone.
struct Samples {
    Table inputs;
    std::optional<Table> targets;
    const float* weights = nullptr;
    RowStream* stream = nullptr;

    Samples() = default;
    Samples(Table inputs, std::optional<Table> targets, const float* weights)
        : inputs(inputs), targets(targets), weights(weights) {}
    Samples(const RowSource& source)  // NOLINT: what a device reads a caller may have
        : Samples(source.inputs, source.targets ? std::optional<Table>(*source.targets) : std::nullopt,
                  source.weights) {}

    std::int64_t rows() const { return inputs.rows; }
    Samples slice(std::int64_t first, std::int64_t count) const;
};

// What the arguments are called in messages.
struct RowNames {
    const char* inputs;
    const char* targets;
    const char* weights;
    std::int64_t first_row = 0;  // the number of the row that the samples begin with
};

inline constexpr RowNames kRowNames{"X", "y", "sample_weight"};

// Where converted rows lie, and what missing values enter as; `there`, where those of a device were gathered.
struct Converted {
    std::vector<float> inputs, targets, weights, fillings;
    CsrRows sparse;
    std::shared_ptr<void> inputs_there, targets_there;
};

struct Passage {
    Loss loss = Loss::mse;             // bce bounds the targets
    const Scaling* scaling = nullptr;  // null: none
    bool clip_targets = false;         // bce: to [0, 1], instead of refusing what is not within
    // Not null: a NaN is a missing value. Among the inputs it becomes the mean of its column, in the units of the
    // caller's rows, or 0 where there are no means yet; a target, the input's own or another, is not observed. Null: a
    // NaN is refused.
    const std::vector<double>* means = nullptr;

    Missing missing() const { return means != nullptr ? Missing::mask : Missing::error; }
    // Where none are given, may targets be rows of their own, since inputs are filled in or what is compared is
    // clipped?
    bool may_make_targets() const { return means != nullptr || (clip_targets && loss == Loss::bce); }
    // The rows themselves, where a device can read them all and, if `names` are given and they are therefore checked,
    // nothing is missing. Throws Error(value).
    std::optional<RowSource> in_place(const Samples& samples, const RowNames* names) const;
    // Are the rows sparse, and do their zeros stay 0?
    bool keeps_sparse(const Samples& samples) const {
        return samples.inputs.csr && !samples.targets && keeps_zeros(scaling);
    }
    // Where it keeps them sparse and none is missing: the rows of these numbers, or all when there are none, checked.
    // Throws Error(value).
    std::optional<RowSource> sparse(const Samples& samples, std::span<const std::int64_t> row_numbers,
                                    const RowNames& names, Converted& to) const;
    // The rows of these numbers, or all of them when there are none, checked and converted. Rows with nothing observed
    // have no weight. Rows in a device's memory stay there; they are not scaled, and have no missing values. Throws
    // Error(value).
    RowSource convert(const Samples& samples, std::span<const std::int64_t> row_numbers, const RowNames& names,
                      Converted& to) const;
};

// Whether a row of masked targets has a value that is not missing.
bool any_observed(MatrixView targets, std::int64_t row);

}  // namespace isthmus
