// SPDX-License-Identifier: Apache-2.0
// One reading of a stream, a part of a piece at a time. Messages name the piece, "batch 3 of X", and the row within it,
// both from 0: whoever makes the pieces knows no other number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/row_stream.hpp"

namespace isthmus {

class StreamPass {
public:
    struct Part {
        Samples rows;
        RowNames names;  // valid as long as the rows
    };

    // Rows to take together on their way, 1 MiB of float32: few enough for a cache, and some ms between two looks at a
    // stop.
    static std::int64_t part_rows(std::int64_t cols) {
        constexpr std::int64_t kElements = std::int64_t{1} << 18;
        return cols < kElements ? kElements / cols : 1;
    }

    // cols: those that every piece must have. name: what the caller calls the stream.
    StreamPass(RowStream& stream, std::int64_t cols, std::string name);

    // Before the first call of next.
    void rewind();
    // At most so many rows that follow; nothing at the end. Their weights are checked. Throws Error(value).
    std::optional<Part> next(std::int64_t most);
    // How many rows were given out since rewind.
    std::int64_t rows() const { return rows_; }
    const std::string& name() const { return name_; }

private:
    bool next_piece();

    RowStream& stream_;
    std::int64_t cols_;
    std::string name_;
    std::optional<Samples> piece_;
    std::int64_t number_ = -1;  // of the piece
    std::int64_t used_ = 0;     // of its rows
    std::int64_t rows_ = 0;
    std::optional<bool> weighted_;
    std::string piece_name_, weights_name_;
};

}  // namespace isthmus
