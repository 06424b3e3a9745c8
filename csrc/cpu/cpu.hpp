// SPDX-License-Identifier: Apache-2.0
// The CPU device, seen from above.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/contract.hpp"

namespace isthmus::cpu {

const Device& device();

// Names of the instruction sets compiled in that this machine can run, best last; "baseline", "avx2", "avx512", "neon".
std::vector<std::string> instruction_sets();
// The one in use: the best, or the one named by the environment variable ISTHMUS_ISA (Error(value) if unknown or not
// of this machine), or the one set by use_instruction_set (for tests; not while another thread computes).
std::string instruction_set();
void use_instruction_set(const std::string& name);

// The same of the instructions that multiply bfloat16: "avx512bf16", "amx", which the instruction set avx512 goes with,
// and the environment variable ISTHMUS_BFLOAT16. "none" where there are none.
std::vector<std::string> bfloat16_families();
std::string bfloat16_family();
void use_bfloat16_family(const std::string& name);

// Threads that n_threads = 0 stands for: affinity, cgroup quota and OMP_NUM_THREADS respected.
int default_threads();

}  // namespace isthmus::cpu
