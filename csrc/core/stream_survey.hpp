// SPDX-License-Identifier: Apache-2.0
// The first reading of a stream, before anything is trained on it: all that must be known of all rows is found in one
// go, so that a refusal leaves the model as it was.
#pragma once

#include <cstdint>
#include <string>

#include "core/passage.hpp"
#include "core/row_stream.hpp"
#include "core/scaling.hpp"
#include "device/contract.hpp"

namespace isthmus {

// Not null: what is wanted beside the counts.
struct SurveyFor {
    const Passage* passage = nullptr;  // rows are checked as they would be converted by it
    ColumnFit* columns = nullptr;      // gets all rows, and checks that they are finite
    bool prints = false;
    Stop* stop = nullptr;  // what it throws passes through
};

// Reads the stream to its end and writes its facts. Throws Error(value) where nothing came, or only weights of 0, for a
// piece that has not `cols` columns, for weights that not all pieces have, and for values that are refused.
void survey(RowStream& stream, std::int64_t cols, const std::string& name, const SurveyFor& what);

}  // namespace isthmus
