// SPDX-License-Identifier: Apache-2.0
#include "core/stream_survey.hpp"

#include <algorithm>
#include <cmath>

#include "core/stream_pass.hpp"

namespace isthmus {

void survey(RowStream& stream, std::int64_t cols, const std::string& name, const SurveyFor& what) {
    StreamFacts facts;
    facts.sparse = true;
    float largest = 0.0F;
    RowDigest inputs(cols);
    RowDigest weights(1);
    Converted converted;
    StreamPass pass(stream, cols, name);
    pass.rewind();
    while (const auto part = pass.next(StreamPass::part_rows(cols))) {
        if (what.stop != nullptr) what.stop->requested();
        const auto& [rows, names] = *part;
        const std::int64_t count = rows.rows();
        if (what.columns != nullptr) what.columns->add(rows.inputs, {}, rows.weights, names.inputs, names.first_row);
        if (what.passage != nullptr && !what.passage->in_place(rows, &names)) {
            what.passage->convert(rows, {}, names, converted);
        }
        if (what.prints) {
            inputs.add(rows.inputs);
            if (rows.weights != nullptr) weights.add(MatrixView{rows.weights, count, 1, 1});
        }
        facts.weighted = rows.weights != nullptr;
        if (facts.weighted) largest = std::max(largest, *std::max_element(rows.weights, rows.weights + count));
        facts.sparse = facts.sparse && rows.inputs.csr.has_value();
    }
    facts.rows = pass.rows();
    if (facts.rows == 0) throw Error(ErrorKind::value, name + " gave no rows");
    if (facts.weighted && largest == 0.0F) {
        throw Error(ErrorKind::value,
                    "sample_weight of " + name + " is zero for every row; at least one must be above 0");
    }
    if (facts.weighted) facts.weight_exponent = std::ilogb(largest);
    if (what.prints) facts.inputs = inputs.print();
    if (what.prints && facts.weighted) facts.weights = weights.print();
    stream.facts = std::move(facts);
}

}  // namespace isthmus
