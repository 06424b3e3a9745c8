// SPDX-License-Identifier: Apache-2.0
// Which instruction set runs: the best that was compiled in and that this machine has, or the one that was asked for.
#include <atomic>
#include <cstdlib>

#include "cpu/cpu.hpp"
#include "cpu/isa.hpp"

namespace isthmus::cpu {

namespace {

std::vector<const InstructionSet*> usable() {
    std::vector<const InstructionSet*> sets;
#ifdef ISTHMUS_HAS_BASELINE
    sets.push_back(&baseline::kInstructionSet);
#endif
#ifdef ISTHMUS_HAS_NEON
    sets.push_back(&neon::kInstructionSet);
#endif
#ifdef ISTHMUS_HAS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(&avx2::kInstructionSet);
#endif
#ifdef ISTHMUS_HAS_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
        sets.push_back(&avx512::kInstructionSet);
    }
#endif
    return sets;
}

const InstructionSet& find(const std::string& name, const std::string& asked_by) {
    std::string known;
    for (const InstructionSet* set : usable()) {
        if (name == set->name) return *set;
        known += (known.empty() ? "" : ", ") + std::string(set->name);
    }
    throw Error(ErrorKind::value,
                asked_by + " is '" + name + "'; this build on this machine has the instruction sets " + known);
}

std::atomic<const InstructionSet*>& selected() {
    static std::atomic<const InstructionSet*> set = [] {
        const char* wanted = std::getenv("ISTHMUS_ISA");
        return wanted != nullptr && *wanted != '\0' ? &find(wanted, "the environment variable ISTHMUS_ISA")
                                                    : usable().back();
    }();
    return set;
}

}  // namespace

const InstructionSet& active_instruction_set() { return *selected().load(std::memory_order_relaxed); }

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const InstructionSet* set : usable()) names.emplace_back(set->name);
    return names;
}

std::string instruction_set() { return active_instruction_set().name; }

void use_instruction_set(const std::string& name) { selected().store(&find(name, "the instruction set asked for")); }

}  // namespace isthmus::cpu
