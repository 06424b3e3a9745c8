// SPDX-License-Identifier: Apache-2.0
// A system that gives fewer threads than are asked for: libgomp would end the process, a team has fewer members. This
// program's pthread_create comes before that of the C library, for libgomp, too.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "check.hpp"
#include "cpu/team.hpp"

namespace {

std::atomic<int> alive{0};
std::atomic<int> most{1 << 20};
std::atomic<int> refused{0};

struct Start {
    void* (*function)(void*);
    void* argument;
};

void* counted_thread(void* given) {
    const Start start = *static_cast<Start*>(given);
    delete static_cast<Start*>(given);
    void* const result = start.function(start.argument);
    --alive;
    return result;
}

}  // namespace

#ifndef ISTHMUS_SANITIZED  // a sanitizer has a pthread_create of its own
extern "C"
    __attribute__((visibility("default"))) int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                                              void* (*function)(void*), void* argument) {
    using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const auto real = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
    if (alive.fetch_add(1) >= most) {
        --alive;
        ++refused;
        return EAGAIN;
    }
    return real(thread, attributes, &counted_thread, new Start{function, argument});
}

namespace {

int members_of(int threads) {
    std::atomic<int> members{0};
    std::atomic<int> count{0};
    isthmus::cpu::run_team(threads, [&](const isthmus::cpu::Member& me) {
        ++members;
        count = me.count;
        me.wait();
    });
    CHECK(members == count);
    return members;
}

TEST(a_team_has_as_many_as_there_can_be) {
    most = 0;
    CHECK(members_of(4) == 1);
    CHECK(refused == 1);
    CHECK(members_of(4) == 1);  // and asks again
    CHECK(refused == 2);
    most = 1;
    CHECK(members_of(4) == 2);
    CHECK(members_of(2) == 2);
    most = 8;
    CHECK(members_of(4) == 4);
    const int before = refused;
    CHECK(members_of(3) == 3);
    CHECK(members_of(4) == 4);
    CHECK(refused == before);
}

TEST(each_thread_that_computes_has_a_team_of_its_own) {
    most = 1 << 20;
    std::thread([] { CHECK(members_of(3) == 3); }).join();
    most = alive + 2;  // the thread itself and one more
    std::thread([] { CHECK(members_of(3) == 2); }).join();
}

}  // namespace
#endif
