// SPDX-License-Identifier: Apache-2.0
// Rows of a surveyed stream by their numbers, for who asks for them in order: as many as are wanted at a time, put
// together from pieces of any sizes, with the bits that they would have as one table. To go back is to read anew.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/passage.hpp"
#include "core/stream_pass.hpp"
#include "device/contract.hpp"

namespace isthmus {

class StreamRows {
public:
    // Samples with a stream; all must outlive it.
    StreamRows(const Samples& samples, const Passage& passage, const std::string& name);

    // Rows [first, first + count), valid until the next call. With the last of them the reading must be at its end.
    // Throws StreamError for rows that are refused, and where a reading gives others in number or width than the first.
    RowSource read(std::int64_t first, std::int64_t count);

private:
    void go_to(std::int64_t first);
    void take(const StreamPass::Part& part, std::int64_t at, std::int64_t count);
    void check_end();
    StreamPass::Part part(std::int64_t most);
    [[noreturn]] void refuse_rows(std::int64_t rows) const;

    const StreamFacts& facts_;
    Passage passage_;
    std::int64_t cols_;
    StreamPass pass_;
    std::optional<std::int64_t> next_;  // the row that would be read next
    std::vector<float> inputs_, targets_, weights_;
    bool has_targets_ = false, has_weights_ = false, masked_ = false;
    Converted converted_;  // a part
};

// Bytes of the most that `read` holds for `rows` rows.
double stream_bytes(std::int64_t rows, std::int64_t cols, const Passage& passage);

}  // namespace isthmus
