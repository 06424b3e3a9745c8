// SPDX-License-Identifier: Apache-2.0
// A team of threads: shares, barrier, and processors of their own.
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "check.hpp"
#include "cpu/cpu.hpp"
#include "cpu/team.hpp"

using namespace isthmus::cpu;

TEST(shares_cover_every_item_once) {
    for (const std::int64_t items : {0, 1, 2, 7, 100}) {
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(items));
        run_team(3, [&](const Member& member) {
            for (std::int64_t i = member.begin(items); i < member.end(items); ++i)
                ++visits[static_cast<std::size_t>(i)];
        });
        for (const auto& count : visits) CHECK(count == 1);
    }
}

TEST(nobody_passes_a_barrier_before_all_are_there) {
    constexpr int kRounds = 1000;
    std::atomic<int> arrivals{0};
    std::atomic<int> early{0};
    run_team(4, [&](const Member& member) {
        for (int round = 1; round <= kRounds; ++round) {
            ++arrivals;
            member.wait();
            if (arrivals < round * member.count) ++early;
            member.wait();
        }
    });
    CHECK(early == 0);
}

// Each pause is longer than libgomp's threads spin, so that every team is woken. Without leave_processor nine of ten
// share on a kernel that packs what it wakes; a scheduler may always move the caller, hence a few are let pass.
TEST(a_woken_member_leaves_the_processor_of_its_caller) {
    if (default_threads() < 2) return;
    constexpr int kTeams = 40;
    int shared = 0;
    for (int team = 0; team < kTeams; ++team) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        int processors[2] = {-1, -2};
        run_team(2, [&](const Member& member) {
            processors[member.id] = sched_getcpu();
            member.wait();
        });
        shared += processors[0] == processors[1];
    }
    CHECK(shared <= kTeams / 4);
}
