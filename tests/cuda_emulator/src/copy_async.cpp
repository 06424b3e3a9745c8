// SPDX-License-Identifier: Apache-2.0
// cp.async: poison now, the bytes at the wait.
#include <cstdint>
#include <cstring>

#include "block.hpp"
#include "cuda_emulator/launch.hpp"
#include "memory.hpp"
#include "sanitizers.hpp"
#include "shared_memory.hpp"

namespace cuda_emulator {

void copy_async(void* shared, const void* global, int bytes, int valid_bytes, std::source_location where) {
    const auto aligned = [bytes](const void* p) {
        return reinterpret_cast<std::uintptr_t>(p) % static_cast<std::uintptr_t>(bytes) == 0;
    };
    const auto complain = [where](const char* what) { fail("cp.async at " + described(where) + ": " + what); };
    if (!aligned(shared) || !aligned(global)) complain("a pointer is not aligned");
    if (valid_bytes < 0 || valid_bytes > bytes) complain("valid bytes out of range");
    if (!shared_memory_of_block().contains(shared, static_cast<std::size_t>(bytes))) {
        complain("writes outside of shared arrays");
    }
    if (valid_bytes > 0 && device_memory().find(global, static_cast<std::size_t>(valid_bytes)) == nullptr) {
        complain("reads outside of device memory");
    }
    std::memset(shared, 0xff, static_cast<std::size_t>(bytes));
    const Unseen unseen;
    Thread& self = running_block().thread();
    self.copies.push_back({shared, global, bytes, valid_bytes, self.copy_group});
}

void copy_async_commit() { ++running_block().thread().copy_group; }

void copy_async_wait(int groups_under_way) {
    Thread& self = running_block().thread();
    std::size_t delivered = 0;
    for (const PendingCopy& copy : self.copies) {
        // Groups 0 .. copy_group - 1 are closed; an open one is not waited for.
        if (copy.group + static_cast<unsigned>(groups_under_way) >= self.copy_group) break;
        std::memcpy(copy.shared, copy.global, static_cast<std::size_t>(copy.valid_bytes));
        std::memset(static_cast<char*>(copy.shared) + copy.valid_bytes, 0,
                    static_cast<std::size_t>(copy.bytes - copy.valid_bytes));
        ++delivered;
    }
    const Unseen unseen;
    self.copies.erase(self.copies.begin(), self.copies.begin() + static_cast<std::ptrdiff_t>(delivered));
}

}  // namespace cuda_emulator
