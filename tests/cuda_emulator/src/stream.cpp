// SPDX-License-Identifier: Apache-2.0
#include "stream.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cuda_emulator/launch.hpp"
#include "graph.hpp"
#include "order.hpp"

namespace cuda_emulator {

std::mutex& runtime_mutex() {
    static std::mutex mutex;
    return mutex;
}

Streams& streams() {
    static Streams* const all = new Streams;
    return *all;
}

bool Point::reached() const { return stream == nullptr || stream->done >= sequence; }

cudaStream_t Streams::create(int device) {
    auto stream = std::make_shared<CUstream_st>();
    stream->device = device;
    const auto taken = [&](unsigned number) {
        return std::any_of(streams_.begin(), streams_.end(), [&](const auto& s) { return s->number == number; });
    };
    while (taken(stream->number)) ++stream->number;
    streams_.push_back(stream);
    return stream.get();
}

bool Streams::destroy(cudaStream_t handle) {
    const auto found =
        std::find_if(streams_.begin(), streams_.end(), [&](const auto& stream) { return stream.get() == handle; });
    if (found == streams_.end() || (*found)->is_default) return false;
    const std::shared_ptr<CUstream_st> stream = *found;
    try {
        run_until({stream, stream->queued});
    } catch (...) {
        std::erase(streams_, stream);
        throw;
    }
    std::erase(streams_, stream);
    return true;
}

std::shared_ptr<CUstream_st> Streams::find(cudaStream_t handle, int device) {
    for (const auto& stream : streams_) {
        if (handle != nullptr ? stream.get() == handle : stream->is_default && stream->device == device) return stream;
    }
    if (handle != nullptr) return nullptr;
    create(device);
    streams_.back()->is_default = true;
    return streams_.back();
}

bool Streams::early(const CUstream_st& stream) const {
    const char* const value = std::getenv("ISTHMUS_EMULATOR_STREAMS");
    const std::string_view text = value == nullptr ? "early" : value;
    if (text == "early" || text == "late") return text == "early";
    std::uint64_t seed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw Report("ISTHMUS_EMULATOR_STREAMS is \"" + std::string(text) + "\", not early, late or a number");
    }
    return (mixed(seed, stream.number) & 1U) != 0;
}

Point Streams::queue(const std::shared_ptr<CUstream_st>& stream, Operation operation) {
    if (stream->capture) {
        stream->capture->operations.push_back(std::move(operation.run));
        return {};
    }
    stream->waiting.push_back(std::move(operation));
    const Point point{stream, ++stream->queued};
    run_early();
    return point;
}

void Streams::run_early() {
    for (bool progress = true; progress;) {
        progress = false;
        for (std::size_t i = 0; i < streams_.size(); ++i) {
            const std::shared_ptr<CUstream_st> stream = streams_[i];
            while (!stream->waiting.empty() && stream->waiting.front().after.reached() && early(*stream)) {
                run_one(*stream);
                progress = true;
            }
        }
    }
}

void Streams::run_until(const Point& point) {
    while (!point.reached()) run_one(*point.stream);
    run_early();
}

void Streams::run_all() {
    for (std::size_t i = 0; i < streams_.size(); ++i) run_until({streams_[i], streams_[i]->queued});
}

void Streams::run_one(CUstream_st& stream) {
    if (stream.waiting.empty()) return;
    const Point after = stream.waiting.front().after;
    while (!after.reached()) run_one(*after.stream);
    const Operation operation = std::move(stream.waiting.front());
    stream.waiting.pop_front();
    try {
        operation.run();
    } catch (...) {
        drop_all();
        throw;
    }
    ++stream.done;
}

// After a report nothing that was queued has a meaning.
void Streams::drop_all() {
    for (const auto& stream : streams_) {
        stream->waiting.clear();
        stream->done = stream->queued;
        stream->capture = nullptr;
    }
}

bool Streams::any_captured(const std::function<bool(const Capture&)>& is_meant) const {
    return std::any_of(streams_.begin(), streams_.end(),
                       [&](const auto& stream) { return stream->capture && is_meant(*stream->capture); });
}

bool Streams::reads_later(const void* memory, std::size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(memory);
    for (const auto& stream : streams_) {
        for (const Operation& operation : stream->waiting) {
            const auto* const reads = static_cast<const std::byte*>(operation.reads);
            if (reads != nullptr && reads < begin + bytes && begin < reads + operation.bytes_read) return true;
        }
    }
    return false;
}

}  // namespace cuda_emulator
