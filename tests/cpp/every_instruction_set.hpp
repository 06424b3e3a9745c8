// SPDX-License-Identifier: Apache-2.0
// One test body for every instruction set that the machine has.
#pragma once

#include <string>

#include "cpu/cpu.hpp"

namespace fixture {

template <class F>
void for_each_instruction_set(F&& f) {
    const std::string before = isthmus::cpu::instruction_set();
    for (const std::string& name : isthmus::cpu::instruction_sets()) {
        isthmus::cpu::use_instruction_set(name);
        f();
    }
    isthmus::cpu::use_instruction_set(before);
}

}  // namespace fixture
