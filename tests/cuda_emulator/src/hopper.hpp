// SPDX-License-Identifier: Apache-2.0
// What the parts of compute capability 9.0 have of a block, and when the block asks for it.
#pragma once

#include "block.hpp"

namespace cuda_emulator {

// Before the first thread of a block runs.
void forget_mbarriers();
void forget_tensor_copies();
void forget_products();
void forget_named_barriers();

// When all of its threads have ended: throw a Report when something is still under way.
void check_mbarriers();
void check_tensor_copies();
void check_registers();
void check_products(const Thread& ended);  // when one of them ends

// Nobody can go on: delivers one of the copies that are late. False when there is none.
bool deliver_late_copy();

// cp.async.bulk has brought bytes, which the barrier has been told to expect.
void mbarrier_complete_tx(std::uint64_t* barrier, unsigned bytes);
// That it is one: initialised, and not written over since.
void check_mbarrier(const std::uint64_t* barrier, const char* what, Site where);

}  // namespace cuda_emulator
