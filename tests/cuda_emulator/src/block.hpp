// SPDX-License-Identifier: Apache-2.0
// The block that runs: its threads, who of them is ready, and the barrier of all. One at a time.
//
// Threads stand in slots in the order of their priority: 32 slots a warp, warps by priority, lanes by priority. Who
// runs next is then the lowest bit of two masks. A fiber whose thread has ended goes on with the next new one on the
// same stack: a block without barriers costs no switch at all.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda_emulator/device.hpp"
#include "fiber.hpp"
#include "order.hpp"

namespace cuda_emulator {

// A copy of cp.async under way.
struct PendingCopy {
    void* shared;
    const void* global;
    int bytes;
    int valid_bytes;
    unsigned group;
};

struct Thread {
    Fiber* fiber = nullptr;  // null before it has run
    uint3 index{};
    unsigned number = 0;  // in the block: lane + 32 * warp
    unsigned slot = 0;
    bool finished = false;
    const char* waits_in = nullptr;
    Site waits_at;
    std::uint64_t result = 0;  // of the collective it has waited for
    std::vector<PendingCopy> copies;
    unsigned copy_group = 0;

    unsigned lane() const { return number % 32; }
    unsigned warp() const { return number / 32; }
    void wait(const char* what, Site where) {
        waits_in = what;
        waits_at = where;
    }
};

// Lanes that have come to one collective.
struct Gathering {
    using Result = std::uint64_t (*)(const Gathering& all, unsigned lane);

    unsigned mask = 0;
    unsigned arrived = 0;
    const char* kind = nullptr;
    Result result = nullptr;  // what a lane gets
    char* token = nullptr;
    Site site;
    std::array<std::uint64_t, 32> value;
    std::array<int, 32> argument;
};

struct Warp {
    std::vector<Gathering> gatherings;  // of different masks
    unsigned gone = 0;                  // lanes that have ended, or that the block does not have
    unsigned opened = 0;                // gatherings so far
};

// What orders threads, for ThreadSanitizer, new in each block: it remembers all that was ever released there. Barriers
// take turns with two, since who comes to the next one must not be ordered before who has yet to leave this one;
// gatherings with many.
struct Tokens {
    std::array<char, 2> barrier;
    std::array<std::array<char, 64>, 32> warp;
};

class Block {
public:
    static constexpr unsigned kMaxThreads = 1024;

    // Before the first block of a launch, and after the last.
    void begin_launch(dim3 block, const std::function<void()>& body);
    void end_launch();
    // Runs all threads; throws what a thread has thrown, or a Report.
    void run(const Order& order, std::uint64_t key);

    Thread& thread() { return *current_; }
    Tokens& tokens() { return *tokens_; }
    const Order& order() const { return order_; }
    Warp& warp_of(const Thread& thread) { return warps_[thread.warp()]; }
    Thread& at(unsigned warp, unsigned lane) { return threads_[slot_of(warp, lane)]; }

    // The thread that runs leaves those that are ready; returns when it has been woken and its turn has come.
    void wait(const char* what, Site where);
    void wake(Thread& thread);
    // The ready thread of the highest priority goes on, perhaps the one that calls.
    void yield();
    void sync_threads(Site where);

private:
    [[noreturn]] static void fiber_entry();
    void fiber_loop();
    void finish(Thread& thread);
    void place_threads(const Order& order, std::uint64_t key);
    void abandon();
    void add_fiber();
    Fiber* take_fiber();
    Thread* next() const;
    void go_on_with(Thread& thread);
    void leave_to_main();
    bool someone_is_ready();
    void resume(Thread& thread);
    std::string who_waits() const;
    unsigned slot_of(unsigned warp, unsigned lane) const { return warp_rank_[warp] * 32 + lane_rank_[lane]; }

    const std::function<void()>* body_ = nullptr;
    Order order_;
    unsigned count_ = 0;
    unsigned finished_ = 0;
    std::vector<uint3> index_;  // of each thread number
    std::array<Thread, kMaxThreads> threads_;
    std::array<Warp, 32> warps_;
    std::array<unsigned, 32> warp_rank_{};
    std::array<unsigned, 32> lane_rank_{};
    unsigned ready_warps_ = 0;
    std::array<unsigned, 32> ready_lanes_{};
    std::array<unsigned, 32> all_lanes_{};

    unsigned arrived_ = 0;  // at the barrier of the block
    Site barrier_site_;
    const Thread* first_at_barrier_ = nullptr;
    unsigned barriers_ = 0;
    std::unique_ptr<Tokens> tokens_;
    char begin_token_ = 0;
    char end_token_ = 0;

    Thread* current_ = nullptr;
    Thread* to_start_ = nullptr;  // what the fiber that is switched to is to run
    Fiber* running_ = nullptr;
    Fiber main_;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::deque<Fiber*> free_;
    std::exception_ptr error_;
};

Block& running_block();
// Leaves this lane's value and argument, waits for the others of the mask, and returns what `result` says.
std::uint64_t collect(const char* kind, Gathering::Result result, unsigned mask, std::uint64_t value, int argument,
                      Site where);
// Lanes that wait for this one in a collective of the warp wait no longer.
void thread_ended(const Thread& thread);
std::string triple(unsigned x, unsigned y, unsigned z);  // "(3, 0, 0)"
// "thread (3, 0, 0)", "k.cu:12, void k(float*)"
std::string described(const Thread& thread);
std::string described(const Site& site);
bool same_site(const Site& a, const Site& b);
// Throws a Report that names the block and the thread.
[[noreturn]] void fail(const std::string& what);

}  // namespace cuda_emulator
