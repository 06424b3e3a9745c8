// SPDX-License-Identifier: Apache-2.0
// What ThreadSanitizer must find, and what it must not: two members of a team that write one number, with the team's
// own barrier between them ("clean") or without ("race"). Only worth its name in a build with -fsanitize=thread.
#include <cstdio>
#include <string_view>

#include "cpu/team.hpp"

using namespace isthmus::cpu;

int main(int argc, char** argv) {
    const std::string_view which = argc > 1 ? argv[1] : "";
    if (which != "clean" && which != "race") return 2;
    double shared = 0.0;
    for (int round = 0; round < 100; ++round) {
        run_team(2, [&](const Member& member) {
            if (member.id == 0) shared += 1.0;
            if (which == "clean") member.wait();
            if (member.id == 1) shared += 1.0;
        });
    }
    std::printf("%s: %g\n", argv[1], shared);
    return 0;
}
