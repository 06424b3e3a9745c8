// SPDX-License-Identifier: Apache-2.0
#include "block.hpp"

#include <algorithm>
#include <bit>

#include "cuda_emulator/launch.hpp"
#include "hopper.hpp"
#include "sanitizers.hpp"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace cuda_emulator {

Block& running_block() {
    static Block* const block = new Block;
    return *block;
}

void Block::begin_launch(dim3 block, const std::function<void()>& body) {
    main_.adopt_caller();
    body_ = &body;
    count_ = block.x * block.y * block.z;
    index_.resize(count_);
    unsigned number = 0;
    for (unsigned z = 0; z < block.z; ++z) {
        for (unsigned y = 0; y < block.y; ++y) {
            for (unsigned x = 0; x < block.x; ++x) index_[number++] = {x, y, z};
        }
    }
    while (kThreadSanitizer && fibers_.size() < 4 * count_ + 7) add_fiber();
    release(&begin_token_);
}

void Block::end_launch() { acquire(&end_token_); }

void Block::place_threads(const Order& order, std::uint64_t key) {
    const unsigned warps = (count_ + 31) / 32;
    std::array<unsigned, 32> first;
    order.permutation(std::span(first).first(warps), key);
    for (unsigned rank = 0; rank < warps; ++rank) warp_rank_[first[rank]] = rank;
    order.permutation(first, ~key);
    for (unsigned rank = 0; rank < 32; ++rank) lane_rank_[first[rank]] = rank;

    for (unsigned warp = 0; warp < warps; ++warp) {
        all_lanes_[warp] = 0;
        warps_[warp].gatherings.clear();
        warps_[warp].gone = 0;
    }
    for (unsigned number = 0; number < count_; ++number) {
        const unsigned slot = slot_of(number / 32, number % 32);
        Thread& thread = threads_[slot];
        thread.fiber = nullptr;
        thread.index = index_[number];
        thread.number = number;
        thread.slot = slot;
        thread.finished = false;
        thread.waits_in = nullptr;
        thread.copies.clear();
        thread.copy_group = 0;
        all_lanes_[slot / 32] |= 1U << slot % 32;
    }
    for (unsigned lane = count_ % 32; lane > 0 && lane < 32; ++lane) warps_[warps - 1].gone |= 1U << lane;
    ready_lanes_ = all_lanes_;
    ready_warps_ = warps == 32 ? ~0U : (1U << warps) - 1;
    finished_ = 0;
    arrived_ = 0;
    error_ = nullptr;
    if (kThreadSanitizer || tokens_ == nullptr) tokens_ = std::make_unique<Tokens>();
}

void Block::run(const Order& order, std::uint64_t key) {
    const Unseen unseen;
    order_ = order;
    place_threads(order, key);
    forget_mbarriers();
    forget_tensor_copies();
    forget_products();
    forget_named_barriers();
    running_ = &main_;
    go_on_with(*next());
    current_ = nullptr;
    if (error_) {
        abandon();
        std::rethrow_exception(error_);
    }
    check_tensor_copies();
    check_mbarriers();
    check_registers();
}

// The stacks of threads that will never run again. What their frames own is lost: kernels own nothing.
void Block::abandon() {
    for (auto& fiber : fibers_) {
        if (std::find(free_.begin(), free_.end(), fiber.get()) != free_.end()) continue;
        fiber->abandon(&end_token_);
        free_.push_back(fiber.get());
    }
}

// ---- fibers -------------------------------------------------------------------------------------------------------

void Block::fiber_entry() {
    Fiber::entered();
    running_block().fiber_loop();
    std::terminate();  // the loop never ends
}

void Block::fiber_loop() {
    for (;;) {
        Thread& thread = *to_start_;
        thread.fiber = running_;
        resume(thread);
        acquire(&begin_token_);
        try {
            (*body_)();
            const Unseen unseen;
            finish(thread);
        } catch (...) {
            error_ = std::current_exception();
            release(&end_token_);
        }
        const Unseen unseen;
        Thread* const following = error_ ? nullptr : next();
        if (following != nullptr && following->fiber == nullptr && !kThreadSanitizer) {
            to_start_ = following;
            continue;
        }
        free_.push_back(running_);
        if (following != nullptr) {
            go_on_with(*following);
        } else {
            leave_to_main();
        }
    }
}

Thread* Block::next() const {
    if (ready_warps_ == 0) return nullptr;
    const auto warp = static_cast<unsigned>(std::countr_zero(ready_warps_));
    const auto lane = static_cast<unsigned>(std::countr_zero(ready_lanes_[warp]));
    return const_cast<Thread*>(&threads_[warp * 32 + lane]);
}

void Block::go_on_with(Thread& thread) {
    Fiber* const from = running_;
    Fiber* to = thread.fiber;
    if (to == nullptr) {
        to = take_fiber();
        to_start_ = &thread;
    }
    running_ = to;
    from->switch_to(*to);
}

void Block::add_fiber() {
    fibers_.push_back(std::make_unique<Fiber>(&fiber_entry, static_cast<unsigned>(fibers_.size())));
    free_.push_back(fibers_.back().get());
}

// The one that was used last, whose stack is in the cache. For ThreadSanitizer the one that was used first, out of more
// than two blocks need: a fiber's accesses are in order, and two blocks must not seem to be, nor equal threads of
// theirs. And all are made before the launch, since who makes one is in order before it.
Fiber* Block::take_fiber() {
    if (free_.empty()) add_fiber();
    Fiber* const taken = kThreadSanitizer ? free_.front() : free_.back();
    kThreadSanitizer ? free_.pop_front() : free_.pop_back();
    return taken;
}

void Block::leave_to_main() {
    Fiber* const from = running_;
    running_ = &main_;
    from->switch_to(main_);
}

void Block::resume(Thread& thread) {
    current_ = &thread;
    threadIdx = thread.index;
}

// ---- waiting ------------------------------------------------------------------------------------------------------

void Block::wait(const char* what, Site where) {
    Thread& self = *current_;
    self.wait(what, where);
    const unsigned warp = self.slot / 32;
    ready_lanes_[warp] &= ~(1U << self.slot % 32);
    if (ready_lanes_[warp] == 0) ready_warps_ &= ~(1U << warp);
    yield();
    self.waits_in = nullptr;
}

void Block::wake(Thread& thread) {
    ready_lanes_[thread.slot / 32] |= 1U << thread.slot % 32;
    ready_warps_ |= 1U << thread.slot / 32;
}

// What the device brings by itself may be all that the threads wait for.
bool Block::someone_is_ready() {
    while (ready_warps_ == 0 && deliver_late_copy()) {
    }
    return ready_warps_ != 0;
}

void Block::yield() {
    Thread& self = *current_;
    if (!someone_is_ready()) throw Report("deadlock: " + who_waits());
    Thread* const following = next();
    if (following == &self) return;
    go_on_with(*following);
    resume(self);
}

void Block::finish(Thread& thread) {
    check_products(thread);
    release(&end_token_);
    thread.finished = true;
    ++finished_;
    const unsigned warp = thread.slot / 32;
    ready_lanes_[warp] &= ~(1U << thread.slot % 32);
    if (ready_lanes_[warp] == 0) ready_warps_ &= ~(1U << warp);
    if (arrived_ > 0) {
        fail("divergent barrier: the thread has ended without __syncthreads at " + described(barrier_site_) +
             ", where " + described(*first_at_barrier_) + " waits");
    }
    thread_ended(thread);
    if (finished_ < count_ && !someone_is_ready()) throw Report("deadlock: " + who_waits());
}

void Block::sync_threads(Site where) {
    const Unseen unseen;
    const Thread& self = *current_;
    if (finished_ > 0) {
        fail("divergent barrier: __syncthreads at " + described(where) + " when " + std::to_string(finished_) +
             " threads have ended already");
    }
    if (arrived_ == 0) {
        barrier_site_ = where;
        first_at_barrier_ = &self;
    } else if (!same_site(barrier_site_, where)) {
        fail("divergent barrier: __syncthreads at " + described(where) + ", but " + described(*first_at_barrier_) +
             " waits in the one at " + described(barrier_site_));
    }
    void* const token = &tokens_->barrier[barriers_ % 2];
    release(token);
    if (++arrived_ < count_) {
        wait("__syncthreads", where);
        acquire(token);
        return;
    }
    arrived_ = 0;
    ++barriers_;
    ready_lanes_ = all_lanes_;
    const unsigned warps = (count_ + 31) / 32;
    ready_warps_ = warps == 32 ? ~0U : (1U << warps) - 1;
    yield();
    acquire(token);
}

void sync_threads(Site where) { running_block().sync_threads(where); }

}  // namespace cuda_emulator
