// SPDX-License-Identifier: Apache-2.0
// What the sanitizers must be told, as functions that do nothing in a build without them.
//
// ThreadSanitizer: each thread of a block is one of its fibers, and nothing orders two of them but what orders them on
// the device: barriers, collectives, the begin and the end of a launch. The emulator itself is not instrumented
// (CMakeLists.txt sets ISTHMUS_EMULATOR_RACES instead), so that only what kernels do is looked at.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_emulator {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddressSanitizer = true;
inline void forbid(const void* p, std::size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void permit(const void* p, std::size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
inline void start_switch(void** fake_stack, const void* bottom, std::size_t size) {
    __sanitizer_start_switch_fiber(fake_stack, bottom, size);
}
inline void finish_switch(void* fake_stack, const void** from_bottom, std::size_t* from_size) {
    __sanitizer_finish_switch_fiber(fake_stack, from_bottom, from_size);
}
#else
inline constexpr bool kAddressSanitizer = false;
inline void forbid(const void*, std::size_t) {}
inline void permit(const void*, std::size_t) {}
inline void start_switch(void**, const void*, std::size_t) {}
inline void finish_switch(void*, const void**, std::size_t*) {}
#endif

#if defined(ISTHMUS_EMULATOR_RACES)
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
inline constexpr bool kThreadSanitizer = true;
inline void* this_race_fiber() { return __tsan_get_current_fiber(); }
inline void* new_race_fiber() { return __tsan_create_fiber(0); }
inline void delete_race_fiber(void* fiber) { __tsan_destroy_fiber(fiber); }
inline void switch_race_fiber(void* fiber) { __tsan_switch_to_fiber(fiber, 1); }  // 1: orders nothing
inline void acquire(void* token) { __tsan_acquire(token); }
inline void release(void* token) { __tsan_release(token); }
inline void begin_unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
inline void end_unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
inline constexpr bool kThreadSanitizer = false;
inline void* this_race_fiber() { return nullptr; }
inline void* new_race_fiber() { return nullptr; }
inline void delete_race_fiber(void*) {}
inline void switch_race_fiber(void*) {}
inline void acquire(void*) {}
inline void release(void*) {}
inline void begin_unseen() {}
inline void end_unseen() {}
#endif

// What the emulator does to memory while this lives is no access of the thread that runs, to ThreadSanitizer. Memory
// mapped meanwhile has no past.
struct Unseen {
    Unseen() { begin_unseen(); }
    ~Unseen() { end_unseen(); }
    Unseen(const Unseen&) = delete;
    Unseen& operator=(const Unseen&) = delete;
};

}  // namespace cuda_emulator
