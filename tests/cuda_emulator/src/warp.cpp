// SPDX-License-Identifier: Apache-2.0
// Collectives of a warp: lanes come one by one and leave their arguments; the last one computes the results of all.
//
// Lanes meet when mask, kind and call site agree. Two collectives of different masks may be under way in one warp, as
// long as no lane waits in one for a lane that waits in the other.
#include <bit>

#include "block.hpp"
#include "sanitizers.hpp"

namespace cuda_emulator {

namespace {

constexpr std::uint64_t kUndefined = ~std::uint64_t{0};  // NaN, when read as float or double

std::string hexadecimal(unsigned mask) {
    std::string text = "0x00000000";
    for (std::size_t i = 9; mask != 0; mask >>= 4, --i) text[i] = "0123456789abcdef"[mask & 15U];
    return text;
}

// The gathering that this lane joins; a new one when it is the first.
Gathering& gathering_for(Warp& warp, const Thread& self, const char* kind, Gathering::Result result, unsigned mask,
                         Site where) {
    const unsigned bit = 1U << self.lane();
    for (Gathering& other : warp.gatherings) {
        if (other.mask == mask && other.kind == kind && same_site(other.site, where)) return other;
        if ((other.mask & bit) != 0 && (other.arrived & mask) != 0) {
            fail(std::string("divergent collective: ") + kind + " at " + described(where) + " with mask " +
                 hexadecimal(mask) + ", but lanes " + hexadecimal(other.arrived) + " wait for this one in " +
                 other.kind + " at " + described(other.site) + " with mask " + hexadecimal(other.mask));
        }
    }
    if ((mask & bit) == 0) {
        fail(std::string(kind) + " at " + described(where) + ": mask " + hexadecimal(mask) +
             " lacks the lane that calls");
    }
    Gathering& opened = warp.gatherings.emplace_back();
    opened.mask = mask;
    opened.kind = kind;
    opened.result = result;
    opened.site = where;
    opened.token = &running_block().tokens().warp[self.warp()][warp.opened++ % 64];
    return opened;
}

void complete(unsigned warp, std::size_t index) {
    Block& block = running_block();
    std::vector<Gathering>& gatherings = block.warp_of(block.at(warp, 0)).gatherings;
    const Gathering& all = gatherings[index];
    for (unsigned lanes = all.arrived; lanes != 0; lanes &= lanes - 1) {
        const auto lane = static_cast<unsigned>(std::countr_zero(lanes));
        Thread& thread = block.at(warp, lane);
        thread.result = all.result(all, lane);
        block.wake(thread);
    }
    gatherings.erase(gatherings.begin() + static_cast<std::ptrdiff_t>(index));
}

std::uint64_t value_of(const Gathering& all, unsigned lane) {
    return (all.arrived >> lane & 1U) != 0 ? all.value[lane] : kUndefined;
}

// The arithmetic of PTX shfl: lanes of one segment, width lanes wide; from beyond it a lane gets its own value.
// argument = width << 8 | the lane, distance or mask.
std::uint64_t shuffle_index(const Gathering& all, unsigned lane) {
    const auto width = static_cast<unsigned>(all.argument[lane]) >> 8;
    const auto source = static_cast<unsigned>(all.argument[lane]) & 255U;
    return value_of(all, (lane & ~(width - 1)) | (source & (width - 1)));
}
std::uint64_t shuffle_down(const Gathering& all, unsigned lane) {
    const auto width = static_cast<unsigned>(all.argument[lane]) >> 8;
    const auto distance = static_cast<unsigned>(all.argument[lane]) & 255U;
    return value_of(all, (lane & (width - 1)) + distance < width ? lane + distance : lane);
}
std::uint64_t shuffle_xor(const Gathering& all, unsigned lane) {
    const auto width = static_cast<unsigned>(all.argument[lane]) >> 8;
    const auto source = lane ^ (static_cast<unsigned>(all.argument[lane]) & 31U);
    return value_of(all, source <= (lane | (width - 1)) ? source : lane);
}
std::uint64_t votes(const Gathering& all, unsigned) {
    std::uint64_t bits = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
        if ((all.arrived >> lane & 1U) != 0) bits |= all.value[lane] << lane;
    }
    return bits;
}
std::uint64_t nothing(const Gathering&, unsigned) { return 0; }

struct Kind {
    const char* name;
    Gathering::Result result;
};
// Indexed by Shuffle.
constexpr Kind kShuffles[] = {
    {"__shfl_sync", shuffle_index}, {"__shfl_down_sync", shuffle_down}, {"__shfl_xor_sync", shuffle_xor}};

}  // namespace

std::uint64_t collect(const char* kind, Gathering::Result result, unsigned mask, std::uint64_t value, int argument,
                      Site where) {
    const Unseen unseen;
    Block& block = running_block();
    Thread& self = block.thread();
    Warp& warp = block.warp_of(self);
    Gathering& all = gathering_for(warp, self, kind, result, mask, where);
    const unsigned lane = self.lane();
    all.arrived |= 1U << lane;
    all.value[lane] = value;
    all.argument[lane] = argument;
    char* const token = all.token;
    release(token);
    if ((all.mask & ~(all.arrived | warp.gone)) != 0) {
        block.wait(kind, where);
    } else {
        complete(self.warp(), static_cast<std::size_t>(&all - warp.gatherings.data()));
        block.yield();
    }
    acquire(token);
    return self.result;
}

// An ended lane is excused from the masks that name it, as on the device; what it would have given is undefined.
void thread_ended(const Thread& thread) {
    Warp& warp = running_block().warp_of(thread);
    warp.gone |= 1U << thread.lane();
    for (std::size_t i = 0; i < warp.gatherings.size();) {
        const Gathering& all = warp.gatherings[i];
        if ((all.mask & ~(all.arrived | warp.gone)) == 0) {
            complete(thread.warp(), i);
        } else {
            ++i;
        }
    }
}

void sync_warp(unsigned mask, Site where) { collect("__syncwarp", nothing, mask, 0, 0, where); }

std::uint64_t shuffle(Shuffle kind, unsigned mask, std::uint64_t value, int argument, int width, Site where) {
    const char* const name = kShuffles[static_cast<std::size_t>(kind)].name;
    if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
        fail(std::string(name) + " at " + described(where) + ": width " + std::to_string(width));
    }
    return collect(name, kShuffles[static_cast<std::size_t>(kind)].result, mask, value, width << 8 | (argument & 255),
                   where);
}

unsigned ballot(const char* kind, unsigned mask, bool predicate, Site where) {
    return static_cast<unsigned>(collect(kind, votes, mask, predicate ? 1 : 0, 0, where));
}

}  // namespace cuda_emulator
