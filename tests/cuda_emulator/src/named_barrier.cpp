// SPDX-License-Identifier: Apache-2.0
// bar.sync with a number and a count, and setmaxnreg: what some warps of a block do without the others.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "block.hpp"
#include "cuda_emulator/hopper.hpp"
#include "cuda_emulator/launch.hpp"
#include "hopper.hpp"
#include "sanitizers.hpp"

namespace cuda_emulator {

namespace {

constexpr unsigned kRegisters = 64 * 1024;  // of a multiprocessor

struct NamedBarrier {
    unsigned threads = 0;  // that meet, while some wait
    std::vector<Thread*> waiting;
    unsigned rounds = 0;
    char token[2] = {};  // rounds take turns, as in Tokens
};

struct Change {
    bool increase;
    unsigned count;
    bool done;
};
struct Warpgroup {
    unsigned registers = 0;  // a thread has
    std::vector<Change> changes;
    std::vector<Thread*> waiting;
};

struct State {
    std::array<NamedBarrier, 16> barriers;
    std::array<Warpgroup, 8> warpgroups;
    std::array<std::size_t, Block::kMaxThreads> changes{};  // that a thread has made
    unsigned free = 0;                                      // registers
    bool shared_out = false;                                // the registers
    bool used = true;                                       // by the block: most use nothing of this
};
State& state() {
    static auto* const all = new State;
    return *all;
}

void wake_all(std::vector<Thread*>& waiting) {
    for (Thread* const thread : waiting) running_block().wake(*thread);
    waiting.clear();
}

unsigned threads_of_block() { return blockDim.x * blockDim.y * blockDim.z; }

// As __launch_bounds__(threads, 1) shares them out.
unsigned registers_at_entry() { return std::min(255U, kRegisters / threads_of_block()) / 8 * 8; }

}  // namespace

void forget_named_barriers() {
    if (!state().used) return;
    state() = {};
    state().used = false;
}

void named_barrier(unsigned number, unsigned threads, Site where) {
    const Unseen unseen;
    const auto complain = [&](const std::string& what) {
        fail("bar.sync " + std::to_string(number) + " at " + described(where) + ": " + what);
    };
    // 0 is that of __syncthreads.
    if (number < 1 || number > 15) complain("no such barrier");
    if (threads % 32 != 0 || threads == 0 || threads > threads_of_block())
        complain(std::to_string(threads) + " threads");
    state().used = true;
    NamedBarrier& b = state().barriers[number];
    if (b.waiting.empty()) {
        b.threads = threads;
    } else if (b.threads != threads) {
        complain(std::to_string(threads) + " threads, but others wait there for " + std::to_string(b.threads));
    }
    char* const token = &b.token[b.rounds % 2];
    release(token);
    if (b.waiting.size() + 1 < threads) {
        b.waiting.push_back(&running_block().thread());
        running_block().wait("bar.sync", where);
    } else {
        ++b.rounds;
        wake_all(b.waiting);
        running_block().yield();
    }
    acquire(token);
}

void set_registers(bool increase, unsigned count, Site where) {
    const Unseen unseen;
    const auto complain = [&](const std::string& what) {
        fail(std::string("setmaxnreg.") + (increase ? "inc " : "dec ") + std::to_string(count) + " at " +
             described(where) + ": " + what);
    };
    if (count < 24 || count > 256 || count % 8 != 0) complain("24 to 256, in steps of 8");
    state().used = true;
    if (!std::exchange(state().shared_out, true)) {
        for (Warpgroup& each : state().warpgroups) each.registers = registers_at_entry();
        state().free = kRegisters - registers_at_entry() * threads_of_block();
    }
    const Thread& self = running_block().thread();
    Warpgroup& group = state().warpgroups[self.warp() / 4];
    const std::size_t number = state().changes[self.number]++;
    if (number < group.changes.size()) {
        const Change& first = group.changes[number];
        if (first.increase != increase || first.count != count) complain("other threads of the warpgroup set another");
    } else {
        group.changes.push_back({increase, count, false});
        if (increase != (count > group.registers) && count != group.registers) {
            complain("there are " + std::to_string(group.registers));
        }
    }
    while (!group.changes[number].done) {
        const unsigned wanted = 128 * count;
        const unsigned had = 128 * group.registers;
        if (wanted <= had + state().free) {
            state().free = state().free + had - wanted;
            group.registers = count;
            group.changes[number].done = true;
            for (Warpgroup& other : state().warpgroups) wake_all(other.waiting);
        } else {
            group.waiting.push_back(&running_block().thread());
            running_block().wait("setmaxnreg", where);
        }
    }
}

void check_registers() {
    if (!state().used) return;
    for (unsigned thread = 0; thread < threads_of_block(); ++thread) {
        if (state().changes[thread] == state().warpgroups[thread / 128].changes.size()) continue;
        throw Report("setmaxnreg: thread " + std::to_string(thread) + " of block " +
                     triple(blockIdx.x, blockIdx.y, blockIdx.z) + " has not done what its warpgroup did");
    }
}

}  // namespace cuda_emulator
