// SPDX-License-Identifier: Apache-2.0
// A stack that is run and left at will. A switch saves the callee-saved registers and swaps the stack pointer.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace cuda_emulator {

class Fiber {
public:
    using Entry = void (*)();  // never returns

    Fiber() = default;  // stands for the stack of the caller: may be left and come back to
    // With a stack of its own below which no memory is mapped. `number` sets stacks off against each other by some
    // cache lines, else the tops of all would fall into the same set of the cache.
    Fiber(Entry entry, unsigned number);
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // Forgets what the stack holds, a thread that waits in the emulator for what will never come: the next switch
    // enters `entry`. Afterwards the caller is in order with what that thread did, by the token.
    void abandon(void* token);
    // Leaves this fiber, which must be the one that runs, for another. Returns when someone switches back.
    void switch_to(Fiber& to);
    // To be called first by an entry.
    static void entered();
    // That the stack of the caller is, from now on, that of the calling thread.
    void adopt_caller();

private:
    void prepare();
    static void arrived(void* fake_stack);

    void* stack_pointer_ = nullptr;
    void* fake_stack_ = nullptr;  // of AddressSanitizer
    void* race_fiber_ = nullptr;  // of ThreadSanitizer
    const void* bottom_ = nullptr;
    std::size_t size_ = 0;
    std::byte* mapped_ = nullptr;
    std::size_t colour_ = 0;
    Entry entry_ = nullptr;
#if !defined(__x86_64__) && !defined(__aarch64__)
    ucontext_t context_{};
#endif
};

}  // namespace cuda_emulator
