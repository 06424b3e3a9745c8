// SPDX-License-Identifier: Apache-2.0
#include "core/held_back.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "core/permutation.hpp"

namespace isthmus {
namespace {

MatrixView gather(MatrixView from, std::span<const std::int64_t> rows, std::vector<float>& to) {
    to.reserve(rows.size() * static_cast<std::size_t>(from.cols));
    for (const std::int64_t row : rows) to.insert(to.end(), from.row(row), from.row(row) + from.cols);
    return {to.data(), static_cast<std::int64_t>(rows.size()), from.cols, from.cols};
}

MatrixView gather_there(MatrixView from, std::span<const std::int64_t> rows, const DeviceMemory& memory,
                        std::shared_ptr<void>& to) {
    const auto n = static_cast<std::int64_t>(rows.size());
    const std::int64_t stride = device_stride(from.cols);
    to = memory.allocate(n * stride * std::int64_t{sizeof(float)});
    const MutableMatrixView copy{static_cast<float*>(to.get()), n, from.cols, stride, Memory::device};
    memory.gather(from, rows, copy);
    return copy;
}

void check_weight(const RowSource& source, std::span<const std::int64_t> rows, const char* what) {
    if (std::any_of(rows.begin(), rows.end(), [&](std::int64_t row) { return source.weight(row) > 0.0F; })) return;
    throw Error(ErrorKind::value, std::string("sample_weight is 0 for every row that validation_fraction ") + what);
}

}  // namespace

HeldBack::HeldBack(const RowSource& all, std::uint64_t seed, double fraction, const DeviceMemory* memory) {
    Split split = split_rows(seed, fraction, all.rows());
    check_weight(all, split.training, "leaves to train on");
    check_weight(all, split.validation, "holds back");
    training_rows_ = std::move(split.training);
    const auto brought = [&](MatrixView from, std::vector<float>& to, std::shared_ptr<void>& there) {
        return from.memory == Memory::device ? gather_there(from, split.validation, *memory, there)
                                             : gather(from, split.validation, to);
    };
    source_.inputs = brought(all.inputs, inputs_, device_inputs_);
    if (all.targets) source_.targets = brought(*all.targets, targets_, device_targets_);
    if (all.weights) {
        for (const std::int64_t row : split.validation) weights_.push_back(all.weights[row]);
        source_.weights = weights_.data();
    }
}

}  // namespace isthmus
