// SPDX-License-Identifier: Apache-2.0
#include "cuda/inference.hpp"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cstring>

#include "cuda/feed.hpp"
#include "cuda/few_rows.hpp"
#include "cuda/few_rows_plan.hpp"
#include "cuda/passes.hpp"
#include "cuda/transfer.hpp"

namespace isthmus::cuda {

std::unique_ptr<Lane> LanePool::take() {
    {
        const std::lock_guard lock(mutex_);
        if (!free_.empty()) {
            std::unique_ptr<Lane> lane = std::move(free_.back());
            free_.pop_back();
            return lane;
        }
    }
    return std::make_unique<Lane>();
}

void LanePool::give(std::unique_ptr<Lane> lane) noexcept {
    try {
        const std::lock_guard lock(mutex_);
        free_.push_back(std::move(lane));
    } catch (...) {  // no memory for the list: then the lane is freed
    }
}

namespace {

// Two lanes in turn; a lane's block is brought home before the lane takes another, and at the end.
class TwoLanes {
public:
    TwoLanes(LanePool& pool, bool both) : pool_(pool) {
        lanes_[0] = pool.take();
        if (both) lanes_[1] = pool.take();
    }
    ~TwoLanes() {
        for (std::unique_ptr<Lane>& lane : lanes_) {
            if (!lane) continue;
            {
                const Drain drain(lane->stream);
            }
            pool_.give(std::move(lane));
        }
    }
    TwoLanes(const TwoLanes&) = delete;
    TwoLanes& operator=(const TwoLanes&) = delete;

    // start(lane, first row, rows) queues a block; finish(lane, first row, rows), called in order once the lane's
    // stream is done, takes its results.
    template <class Start, class Finish>
    void for_each_block(std::int64_t rows, std::int64_t block, Start&& start, Finish&& finish) {
        std::int64_t home = 0;  // the first row that is not yet brought home
        unsigned next = 0;
        const auto bring_home = [&](std::int64_t end) {
            for (; home < end; home += block) {
                Lane& lane = *lanes_[static_cast<std::size_t>(home / block % 2)];
                lane.stream.synchronize();
                finish(lane, home, std::min(block, rows - home));
            }
        };
        for (std::int64_t row = 0; row < rows; row += block, next ^= 1U) {
            bring_home(row - block);
            start(*lanes_[next], row, std::min(block, rows - row));
        }
        bring_home(rows);
    }

private:
    LanePool& pool_;
    std::unique_ptr<Lane> lanes_[2];
};

// Packs rows for the device. False when a value is not finite.
bool pack_finite(MatrixView rows, std::int64_t first, std::int64_t count, std::int64_t stride, float* to) {
    constexpr std::uint32_t kExponent = 0x7f800000U;
    std::uint32_t bad = 0;
    for (std::int64_t r = 0; r < count; ++r) {
        const float* const row = rows.row(first + r);
        pack_row(row, rows.cols, stride, to + r * stride);
        for (std::int64_t j = 0; j < rows.cols; ++j) {
            bad |= (std::bit_cast<std::uint32_t>(row[j]) & kExponent) == kExponent ? 1U : 0U;
        }
    }
    return bad == 0;
}

void unpack(const float* from, std::int64_t stride, MutableMatrixView to, std::int64_t first, std::int64_t count) {
    for (std::int64_t r = 0; r < count; ++r) {
        std::memcpy(to.row(first + r), from + r * stride, static_cast<std::size_t>(to.cols) * sizeof(float));
    }
}

// From the output of the code's layer to what the decoder sees: the same floats, or others where those are means and
// log variances.
void change_code(const CodeStage& code, const Layer& layer, std::int64_t count, const LayerMatrix& output,
                 const LayerMatrix& changed, cudaStream_t stream) {
    CodeArgs args{};
    args.rows = count;
    args.cols = code.width;
    args.keep = code.keep;
    args.y = output.floats;
    args.y_stride = layer.out_stride();
    args.code = changed.floats;
    args.stride = row_stride(code.width);
    args.planes = changed.planes;
    if (code.sampled) {
        sample_forward(args, stream);
    } else {
        code_forward(args, stream);
    }
}

// The layers of ops [first_op, last_op) of `count` rows at x, with the activations of training or of inference. Returns
// the output, of the last layer's stride: `to`, where that is given, else in ping or pong.
const float* run_layers(const Inference& inference, std::size_t first_op, std::size_t last_op, bool training,
                        const float* x, std::int64_t x_stride, std::int64_t count, Lane& lane, float* to = nullptr) {
    const Network& network = inference.network;
    const std::size_t first_layer = network.layers_before(first_op);
    const std::size_t last_layer = network.layers_before(last_op);
    const int planes = plane_count(network.arithmetic());
    lane.ping.grow(count * network.widest_stride());
    lane.pong.grow(count * network.widest_stride());
    float* y = lane.ping.data();
    float* other = lane.pong.data();
    LayerMatrix input{const_cast<float*>(x), {}, x_stride};  // which nobody writes to
    if (planes > 0) {
        const std::int64_t size = planes * count * plane_stride(network.widest_stride());
        lane.planes.grow(size);
        lane.other.grow(size);
    }
    Bfloat16* y_planes = lane.planes.data();
    Bfloat16* other_planes = lane.other.data();
    // The next matrix of planes of a width.
    const auto take = [&](std::int64_t width) {
        const Planes taken{y_planes, plane_stride(width), count * plane_stride(width), planes};
        std::swap(y_planes, other_planes);
        return taken;
    };
    if (planes > 0) {
        const Layer& first = network.layers()[first_layer];
        input.planes = take(first.in);
        split({x, count, first.in, x_stride, input.planes}, lane.stream);
    }
    for (std::size_t i = first_layer; i < last_layer; ++i) {
        const Layer& layer = network.layers()[i];
        const bool last = i + 1 == last_layer;
        const bool changes =
            network.code() != nullptr && network.code()->changes() && network.code()->follows(i, last_op);
        LayerMatrix output{last && !changes && to != nullptr ? to : y};
        if (planes > 0 && !last && !changes) output = {nullptr, take(layer.out), 0};
        run_layer(network, i, training ? layer.training_activation : layer.activation, inference.weights, count, input,
                  output, nullptr, inference.limits, lane.stream);
        if (changes) {
            const CodeStage& code = *network.code();
            LayerMatrix changed{last && to != nullptr ? to : code.sampled ? other : y};
            if (planes > 0 && !last) changed.planes = take(code.width);
            change_code(code, layer, count, output, changed, lane.stream);
            input = changed;
            if (!code.sampled) std::swap(y, other);
            continue;
        }
        input = output;
        std::swap(y, other);
    }
    return input.floats;
}

// Has the lane look for a value that is not finite in rows of the device; all_finite tells once the stream is done.
void queue_search(const Inference& inference, MatrixView rows, Lane& lane) {
    inference.memory.hold_back(lane.stream);
    forget(lane.found.data(), lane.stream);
    search({rows.data, rows.rows, rows.cols, rows.stride, -FLT_MAX, FLT_MAX, lane.found.data()}, lane.stream);
    copy_async(lane.first_bad.data(), lane.found.data(), 1, lane.stream);
}

bool all_finite(const Lane& lane) { return *lane.first_bad.data() == kNowhere; }

// All at once, from and to pinned memory or where the caller's rows are on the device.
bool run_few(const Inference& inference, const RowBlockLayout& layout, MatrixView rows, MutableMatrixView out) {
    TwoLanes lanes(inference.pool, false);
    const bool in_place = rows.memory == Memory::device;
    const bool leave_there = out.memory == Memory::device;
    const std::int64_t in_stride = in_place ? rows.stride : row_stride(rows.cols);
    const std::int64_t out_stride = leave_there ? out.stride : row_stride(out.cols);
    const std::int64_t packed = in_place ? 0 : rows.rows * in_stride;
    bool finite = true;
    lanes.for_each_block(
        rows.rows, rows.rows,
        [&](Lane& lane, std::int64_t first, std::int64_t count) {
            lane.packed.grow(packed + (leave_there ? 0 : count * out_stride));
            if (in_place) {
                queue_search(inference, rows, lane);
            } else {
                finite = pack_finite(rows, first, count, in_stride, lane.packed.data());
            }
            run_few_rows({layout, inference.weights.params, in_place ? rows.data : lane.packed.data(), in_stride,
                          leave_there ? out.data : lane.packed.data() + packed, out_stride, count},
                         lane.stream);
        },
        [&](Lane& lane, std::int64_t first, std::int64_t count) {
            if (in_place) finite = all_finite(lane);
            if (!leave_there) unpack(lane.packed.data() + packed, out_stride, out, first, count);
        });
    return finite;
}

}  // namespace

bool Inference::run(std::size_t first_op, std::size_t last_op, MatrixView rows, MutableMatrixView out) const {
    if (rows.rows <= kFewRows) {
        if (const auto layout = few_rows_layout(network, first_op, last_op, limits)) {
            return run_few(*this, *layout, rows, out);
        }
    }
    const std::int64_t in_stride = row_stride(rows.cols);
    const std::int64_t out_stride = row_stride(out.cols);
    const std::int64_t block = block_rows(network.widest_stride());
    const bool in_place = rows.memory == Memory::device;
    const bool leave_there = out.memory == Memory::device;
    // Without padding, which is not ours to write.
    const bool written_there = leave_there && out.stride == out_stride && out.cols == out_stride;
    TwoLanes lanes(pool, rows.rows > block);
    bool finite = true;
    lanes.for_each_block(
        rows.rows, block,
        [&](Lane& lane, std::int64_t first, std::int64_t count) {
            const float* x = rows.row(first);
            if (in_place) {
                queue_search(*this, {x, count, rows.cols, rows.stride, rows.memory}, lane);
            } else {
                lane.packed.grow(count * std::max(in_stride, out_stride));
                lane.input.grow(count * in_stride);
                finite &= pack_finite(rows, first, count, in_stride, lane.packed.data());
                copy_async(lane.input.data(), lane.packed.data(), count * in_stride, lane.stream);
                x = lane.input.data();
            }
            const float* const y = run_layers(*this, first_op, last_op, false, x, in_place ? rows.stride : in_stride,
                                              count, lane, written_there ? out.row(first) : nullptr);
            if (written_there) return;
            if (leave_there) {
                copy_rows_async(out.row(first), out.stride, y, out_stride, count, out.cols, lane.stream);
            } else {
                lane.packed.grow(count * out_stride);
                copy_async(lane.packed.data(), y, count * out_stride, lane.stream);
            }
        },
        [&](Lane& lane, std::int64_t first, std::int64_t count) {
            if (in_place) finite &= all_finite(lane);
            if (!leave_there) unpack(lane.packed.data(), out_stride, out, first, count);
        });
    return finite;
}

void Inference::row_errors(const RowSource& source, std::span<double> errors,
                           std::optional<MutableMatrixView> per_feature, Memory leave_in) const {
    const std::int64_t stride = row_stride(network.n_features());
    const std::int64_t block = block_rows(network.widest_stride());
    const auto* const held = static_cast<const HeldRows*>(source.resident.get());
    const auto bring = [&](Lane& lane, MatrixView rows, std::int64_t first, std::int64_t count, float* packed,
                           DeviceArray<float>& to) {
        to.grow(count * stride);
        for (std::int64_t r = 0; r < count; ++r) pack_row(rows.row(first + r), rows.cols, stride, packed + r * stride);
        copy_async(to.data(), packed, count * stride, lane.stream);
    };
    TwoLanes lanes(pool, source.rows() > block);
    lanes.for_each_block(
        source.rows(), block,
        [&](Lane& lane, std::int64_t first, std::int64_t count) {
            BatchRows rows;
            lane.packed.grow(2 * count * stride);
            if (held != nullptr) {
                if (held->in_place()) memory.hold_back(lane.stream);
                rows = held->rows(source.resident_row + first);
                rows.weights = nullptr;
            } else {
                bring(lane, source.inputs, first, count, lane.packed.data(), lane.input);
                rows.inputs = rows.targets = lane.input.data();
                rows.stride = stride;
                if (source.targets) {
                    bring(lane, *source.targets, first, count, lane.packed.data() + count * stride, lane.target);
                    rows.targets = lane.target.data();
                }
            }
            const float* const y = run_layers(*this, 0, network.ops(), true, rows.inputs + rows.first * rows.stride,
                                              rows.stride, count, lane);
            lane.errors.grow(count);
            lane.row_errors.grow(count);
            rows.masked = source.masked;
            LossArgs args{};
            args.loss = network.loss();
            args.activation = Activation::linear;  // no gradient is asked for
            args.rows = count;
            args.cols = network.n_features();
            args.y = args.kept = y;
            args.y_stride = stride;
            args.batch = rows;
            args.divisor = 1.0F;
            args.errors = lane.errors.data();
            if (per_feature) {
                lane.values.grow(count * stride);
                args.values = lane.values.data();
                args.values_stride = stride;
            }
            loss(args, lane.stream);
            if (leave_in == Memory::device) {
                copy_async(errors.data() + first, lane.errors.data(), count, lane.stream);
            } else {
                copy_async(lane.row_errors.data(), lane.errors.data(), count, lane.stream);
            }
            if (!per_feature) return;
            if (per_feature->memory == Memory::device) {
                copy_rows_async(per_feature->row(first), per_feature->stride, lane.values.data(), stride, count,
                                per_feature->cols, lane.stream);
            } else {
                copy_async(lane.packed.data(), lane.values.data(), count * stride, lane.stream);
            }
        },
        [&](Lane& lane, std::int64_t first, std::int64_t count) {
            if (leave_in == Memory::host) std::copy_n(lane.row_errors.data(), count, errors.begin() + first);
            if (per_feature && per_feature->memory == Memory::host) {
                unpack(lane.packed.data(), stride, *per_feature, first, count);
            }
        });
}

}  // namespace isthmus::cuda
