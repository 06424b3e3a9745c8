// SPDX-License-Identifier: Apache-2.0
// mbarrier: phases that end when all arrivals and all bytes of a phase have come. The state is kept aside; the object
// in shared memory holds a mark by which it is known again, so that one that was never initialised, or was written
// over, is seen.
#include <deque>
#include <map>
#include <vector>

#include "block.hpp"
#include "cuda_emulator/hopper.hpp"
#include "cuda_emulator/launch.hpp"
#include "hopper.hpp"
#include "sanitizers.hpp"
#include "shared_memory.hpp"

namespace cuda_emulator {

namespace {

constexpr unsigned kMost = (1U << 20) - 1;  // arrivals, and bytes either way

struct Mbarrier {
    unsigned arrivals = 0;  // of each phase
    unsigned pending = 0;
    std::int64_t bytes = 0;  // expected, less those that came
    unsigned phase = 0;
    Site site;
    std::vector<Thread*> waiting;
    char token[2] = {};  // of the phases, by parity
};

std::map<const std::uint64_t*, Mbarrier>& mbarriers() {
    static auto* const all = new std::map<const std::uint64_t*, Mbarrier>;
    return *all;
}

std::uint64_t mark_of(const std::uint64_t* barrier) { return mixed(0x6d62617272696572, shared_address(barrier)); }

Mbarrier& find(const std::uint64_t* barrier, const char* what, Site where) {
    check_mbarrier(barrier, what, where);
    return mbarriers().at(barrier);
}

void end_phase_if_complete(Mbarrier& b) {
    if (b.pending > 0 || b.bytes != 0) return;
    b.pending = b.arrivals;
    ++b.phase;
    for (Thread* const thread : b.waiting) running_block().wake(*thread);
    b.waiting.clear();
}

void add_bytes(Mbarrier& b, std::int64_t bytes) {
    b.bytes += bytes;
    if (b.bytes > kMost || b.bytes < -std::int64_t{kMost}) {
        fail("mbarrier of " + described(b.site) + ": " + std::to_string(b.bytes) + " bytes under way are too many");
    }
}

void arrive(std::uint64_t* barrier, unsigned bytes, const char* what, Site where) {
    const Unseen unseen;
    Mbarrier& b = find(barrier, what, where);
    if (b.pending == 0) {
        fail(std::string(what) + " at " + described(where) + ": all " + std::to_string(b.arrivals) +
             " arrivals of this phase have come already");
    }
    add_bytes(b, bytes);
    release(&b.token[b.phase % 2]);
    --b.pending;
    end_phase_if_complete(b);
}

}  // namespace

void forget_mbarriers() { mbarriers().clear(); }

void check_mbarriers() {
    for (const auto& [address, b] : mbarriers()) {
        if (b.bytes == 0) continue;
        throw Report("block " + triple(blockIdx.x, blockIdx.y, blockIdx.z) + ": mbarrier of " + described(b.site) +
                     ": " + std::to_string(b.bytes) + " bytes were expected and never came when the block ended");
    }
}

void check_mbarrier(const std::uint64_t* barrier, const char* what, Site where) {
    if (mbarriers().count(barrier) == 0 || *barrier != mark_of(barrier)) {
        fail(std::string(what) + " at " + described(where) +
             ": no mbarrier was initialised there, or it was overwritten");
    }
}

void mbarrier_init(std::uint64_t* barrier, unsigned arrivals, Site where) {
    const Unseen unseen;
    if (!shared_memory_of_block().contains(barrier, sizeof *barrier)) {
        fail("mbarrier.init at " + described(where) + ": not in a shared array");
    }
    if (reinterpret_cast<std::uintptr_t>(barrier) % 8 != 0 || arrivals < 1 || arrivals > kMost) {
        fail("mbarrier.init at " + described(where) + ": not aligned, or " + std::to_string(arrivals) + " arrivals");
    }
    const auto found = mbarriers().find(barrier);
    if (found != mbarriers().end() && !found->second.waiting.empty()) {
        fail("mbarrier.init at " + described(where) + ": threads wait there");
    }
    Mbarrier& b = mbarriers()[barrier];
    b = {};
    b.arrivals = b.pending = arrivals;
    b.site = where;
    *barrier = mark_of(barrier);
}

void mbarrier_arrive(std::uint64_t* barrier, Site where) { arrive(barrier, 0, "mbarrier.arrive", where); }

void mbarrier_arrive_expect_tx(std::uint64_t* barrier, unsigned bytes, Site where) {
    arrive(barrier, bytes, "mbarrier.arrive.expect_tx", where);
}

void mbarrier_complete_tx(std::uint64_t* barrier, unsigned bytes) {
    Mbarrier& b = mbarriers().at(barrier);
    add_bytes(b, -std::int64_t{bytes});
    end_phase_if_complete(b);
}

void mbarrier_wait(std::uint64_t* barrier, unsigned parity, Site where) {
    const Unseen unseen;
    if (parity > 1) fail("mbarrier.try_wait at " + described(where) + ": parity " + std::to_string(parity));
    for (;;) {
        Mbarrier& b = find(barrier, "mbarrier.try_wait", where);
        if (b.phase % 2 != parity) {
            acquire(&b.token[parity]);
            return;
        }
        b.waiting.push_back(&running_block().thread());
        running_block().wait("mbarrier.try_wait", where);
    }
}

}  // namespace cuda_emulator
