// SPDX-License-Identifier: Apache-2.0
#include "core/stream_pass.hpp"

#include <algorithm>
#include <utility>

#include "core/checks.hpp"

namespace isthmus {

StreamPass::StreamPass(RowStream& stream, std::int64_t cols, std::string name)
    : stream_(stream), cols_(cols), name_(std::move(name)) {}

void StreamPass::rewind() {
    piece_.reset();
    number_ = -1;
    rows_ = 0;
    weighted_.reset();
    stream_.rewind();
}

bool StreamPass::next_piece() {
    used_ = 0;
    piece_.reset();
    piece_ = stream_.next();
    if (!piece_) return false;
    ++number_;
    piece_name_ = "batch " + std::to_string(number_) + " of " + name_;
    weights_name_ = "sample_weight of " + piece_name_;
    if (piece_->inputs.cols != cols_) {
        throw Error(ErrorKind::value, piece_name_ + " has " + std::to_string(piece_->inputs.cols) +
                                          " columns, but the batches before it, and the model, have " +
                                          std::to_string(cols_));
    }
    const bool weighted = piece_->weights != nullptr;
    if (weighted != weighted_.value_or(weighted)) {
        throw Error(ErrorKind::value, piece_name_ + (weighted ? " has" : " has no") +
                                          " sample_weight, but the batches before it have " +
                                          (weighted ? "none" : "one"));
    }
    weighted_ = weighted;
    if (weighted) check_weight_values(piece_->weights, piece_->rows(), weights_name_);
    return true;
}

std::optional<StreamPass::Part> StreamPass::next(std::int64_t most) {
    while (!piece_ || used_ == piece_->rows()) {
        if (!next_piece()) return std::nullopt;
    }
    const std::int64_t count = std::min(most, piece_->rows() - used_);
    Part part{piece_->slice(used_, count), {piece_name_.c_str(), "", weights_name_.c_str(), used_}};
    used_ += count;
    rows_ += count;
    return part;
}

}  // namespace isthmus
