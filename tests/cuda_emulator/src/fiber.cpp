// SPDX-License-Identifier: Apache-2.0
#include "fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "sanitizers.hpp"

namespace cuda_emulator {

namespace {

// Frames of instrumented code are several times larger.
constexpr std::size_t kStackBytes = (kAddressSanitizer ? 256 : 64) * 1024;
constexpr std::size_t kGuardBytes = 4096 * 16;  // a page of any machine
constexpr std::size_t kColourStep = 320;
constexpr std::size_t kColours = 24;

Fiber* left = nullptr;  // the fiber that was left last

}  // namespace

// It returns by `ret`: fibers mostly wait in the same place, so that the processor's stack of return addresses, which
// knows nothing of the switch, predicts right. A jump instead would leave it off by one for the whole chain of callers.
// void swap_stacks(void** saved_stack_pointer, void* stack_pointer)
extern "C" void cuda_emulator_swap_stacks(void**, void*) __attribute__((visibility("hidden")));

#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.hidden cuda_emulator_swap_stacks
.globl cuda_emulator_swap_stacks
.type cuda_emulator_swap_stacks, @function
cuda_emulator_swap_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuda_emulator_swap_stacks, . - cuda_emulator_swap_stacks
)");
// Six registers, where to go on, and a return address of 0 that ends the stack: an entry finds the stack pointer 8 past
// a multiple of 16, as after a call.
constexpr std::size_t kSavedWords = 8;
constexpr std::size_t kWhereToGoOn = 6;
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.hidden cuda_emulator_swap_stacks
.globl cuda_emulator_swap_stacks
.type cuda_emulator_swap_stacks, %function
cuda_emulator_swap_stacks:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size cuda_emulator_swap_stacks, . - cuda_emulator_swap_stacks
)");
constexpr std::size_t kSavedWords = 20;
constexpr std::size_t kWhereToGoOn = 11;
#endif

Fiber::Fiber(Entry entry, unsigned number) : colour_(number % kColours * kColourStep), entry_(entry) {
    void* const mapped = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    mapped_ = static_cast<std::byte*>(mapped);
    mprotect(mapped_, kGuardBytes, PROT_NONE);
    bottom_ = mapped_ + kGuardBytes;
    size_ = kStackBytes;
    prepare();
}

Fiber::~Fiber() {
    if (mapped_ != nullptr) {
        permit(bottom_, size_);
        delete_race_fiber(race_fiber_);
        munmap(mapped_, kGuardBytes + kStackBytes);
    }
}

void Fiber::prepare() {
    permit(bottom_, size_);
    fake_stack_ = nullptr;
    race_fiber_ = new_race_fiber();
    std::byte* const top = mapped_ + kGuardBytes + kStackBytes - colour_ / 16 * 16;
#if defined(__x86_64__) || defined(__aarch64__)
    auto* const saved = reinterpret_cast<std::uintptr_t*>(top - 128) - kSavedWords;
    for (std::size_t i = 0; i < kSavedWords; ++i) saved[i] = 0;
    saved[kWhereToGoOn] = reinterpret_cast<std::uintptr_t>(entry_);
    stack_pointer_ = saved;
#else
    getcontext(&context_);
    context_.uc_stack.ss_sp = mapped_ + kGuardBytes;
    context_.uc_stack.ss_size = static_cast<std::size_t>(top - (mapped_ + kGuardBytes));
    context_.uc_link = nullptr;
    makecontext(&context_, entry_, 0);
#endif
}

void Fiber::abandon(void* token) {
    void* const caller = this_race_fiber();
    switch_race_fiber(race_fiber_);
    end_unseen();
    release(token);
    switch_race_fiber(caller);
    acquire(token);
    delete_race_fiber(race_fiber_);
    prepare();
}

void Fiber::switch_to(Fiber& to) {
    left = this;
    start_switch(&fake_stack_, to.bottom_, to.size_);
    switch_race_fiber(to.race_fiber_);
#if defined(__x86_64__) || defined(__aarch64__)
    cuda_emulator_swap_stacks(&stack_pointer_, to.stack_pointer_);
#else
    swapcontext(&context_, &to.context_);
#endif
    arrived(fake_stack_);
}

void Fiber::entered() { arrived(nullptr); }

void Fiber::adopt_caller() { race_fiber_ = this_race_fiber(); }

void Fiber::arrived(void* fake_stack) {
    const void* bottom = nullptr;
    std::size_t size = 0;
    finish_switch(fake_stack, &bottom, &size);
    if (left->mapped_ == nullptr) {  // the stack of a caller, which may be another one each time
        left->bottom_ = bottom;
        left->size_ = size;
    }
}

}  // namespace cuda_emulator
