// SPDX-License-Identifier: Apache-2.0
// The words of a report: who waits where.
#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "block.hpp"
#include "cuda_emulator/launch.hpp"

namespace cuda_emulator {

namespace {

// "0-31, 64"
std::string ranges(std::vector<unsigned> numbers) {
    std::sort(numbers.begin(), numbers.end());
    std::string text;
    for (std::size_t i = 0; i < numbers.size();) {
        std::size_t last = i;
        while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
        if (!text.empty()) text += ", ";
        text += std::to_string(numbers[i]);
        if (last > i) text.append("-").append(std::to_string(numbers[last]));
        i = last + 1;
    }
    return text;
}

}  // namespace

std::string triple(unsigned x, unsigned y, unsigned z) {
    std::string text = "(";
    return text.append(std::to_string(x))
               .append(", ")
               .append(std::to_string(y))
               .append(", ")
               .append(std::to_string(z)) +
           ")";
}

std::string described(const Thread& thread) {
    return "thread " + triple(thread.index.x, thread.index.y, thread.index.z);
}

std::string described(const Site& site) {
    const std::string_view file = site.file_name();
    return std::string(file.substr(file.rfind('/') + 1)) + ":" + std::to_string(site.line()) + " in " +
           site.function_name();
}

bool same_site(const Site& a, const Site& b) {
    return a.line() == b.line() && a.column() == b.column() &&
           (a.file_name() == b.file_name() || std::string_view(a.file_name()) == b.file_name());
}

void fail(const std::string& what) {
    throw Report("block " + triple(blockIdx.x, blockIdx.y, blockIdx.z) + ", " + described(running_block().thread()) +
                 ": " + what);
}

// Threads by their number in the block, one group for each place.
std::string Block::who_waits() const {
    std::map<std::string, std::vector<unsigned>> places;
    for (unsigned slot = 0; slot < (count_ + 31) / 32 * 32; ++slot) {
        const Thread& thread = threads_[slot];
        if (((all_lanes_[slot / 32] >> slot % 32) & 1U) == 0 || thread.finished) continue;
        const bool waits = thread.waits_in != nullptr;
        places[waits ? std::string("wait in ") + thread.waits_in + " at " + described(thread.waits_at)
                     : std::string("have not waited")]
            .push_back(thread.number);
    }
    std::string text = "in block " + triple(blockIdx.x, blockIdx.y, blockIdx.z) + " no thread can go on";
    for (const auto& [place, numbers] : places) text += "; threads " + ranges(numbers) + " " + place;
    if (finished_ > 0) text += "; " + std::to_string(finished_) + " have ended";
    return text;
}

}  // namespace cuda_emulator
