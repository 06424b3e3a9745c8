// SPDX-License-Identifier: Apache-2.0
#include "shared_memory.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

#include "block.hpp"
#include "cuda_emulator/hopper.hpp"
#include "cuda_emulator/launch.hpp"
#include "sanitizers.hpp"

namespace cuda_emulator {

namespace {

constexpr std::size_t kRedzone = 1024;  // the row of a tile, twice
constexpr std::size_t kAlignment = 128;
constexpr std::size_t kMostArrays = 64;
constexpr std::size_t kArena = kSharedBytes + (kMostArrays + 1) * (kRedzone + kAlignment);
constexpr std::ptrdiff_t kWindow = 256 * 1024;  // what 18 bits reach
constexpr int kPoison = 0xff;                   // NaN
constexpr std::uint32_t kPattern = 0xffa5a5a5;  // NaN, and not the poison
const char kDynamic = 0;                        // the declaration of dynamic shared memory

// The pattern's phase is that of the address.
std::byte pattern_at(const std::byte* p) {
    return static_cast<std::byte>(kPattern >> reinterpret_cast<std::uintptr_t>(p) % sizeof kPattern * 8);
}

std::byte* map_arena(std::byte* at) {
    const Unseen unseen;
    void* const mapped =
        mmap(at, kArena, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at == nullptr ? 0 : MAP_FIXED), -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    return static_cast<std::byte*>(mapped);
}

}  // namespace

SharedMemory& shared_memory_of_block() {
    static SharedMemory* const memory = new SharedMemory;
    return *memory;
}

// A map, aligned to a page; under ThreadSanitizer it is made anew for each block, whose threads have nothing to do with
// those of the block before.
SharedMemory::SharedMemory() : begin_(map_arena(nullptr)) {}

void SharedMemory::begin_launch(std::size_t dynamic_bytes) {
    dynamic_bytes_ = dynamic_bytes;
    start_layout();
}

void SharedMemory::start_layout() {
    arrays_.clear();
    forbid(begin_, kArena);
    used_ = begin_;
    add_redzone();
}

void SharedMemory::begin_block() {
    if (kThreadSanitizer) {
        map_arena(begin_);
        start_layout();
    }
    for (Array& array : arrays_) array.used = false;
}

SharedMemory::Array& SharedMemory::find(const void* declaration, std::size_t bytes, const char* name) {
    for (Array& array : arrays_) {
        if (array.declaration == declaration) return array;
    }
    std::size_t declared = bytes;
    for (const Array& array : arrays_) declared += array.declaration == &kDynamic ? 0 : array.bytes;
    if (declaration == &kDynamic) declared -= bytes;
    if (declared > kStaticSharedBytes || declared + dynamic_bytes_ > kSharedBytes || arrays_.size() == kMostArrays) {
        fail("shared memory: " + std::to_string(declared) + " bytes declared up to \"" + name + "\" and " +
             std::to_string(dynamic_bytes_) + " dynamic are too many");
    }
    arrays_.push_back({declaration, used_, bytes, name, false});
    permit(used_, bytes);
    used_ += bytes;
    add_redzone();
    return arrays_.back();
}

void SharedMemory::add_redzone() {
    const auto address = reinterpret_cast<std::uintptr_t>(used_);
    std::byte* const end = used_ + kRedzone + (kAlignment - address % kAlignment) % kAlignment;
    if (kAddressSanitizer) {
        used_ = end;
        return;
    }
    for (; reinterpret_cast<std::uintptr_t>(used_) % sizeof kPattern != 0; ++used_) {
        *used_ = pattern_at(used_);
    }
    for (; used_ < end; used_ += sizeof kPattern) std::memcpy(used_, &kPattern, sizeof kPattern);
}

void* SharedMemory::array(const void* declaration, std::size_t bytes, const char* name) {
    const Unseen unseen;
    Array& found = find(declaration, bytes, name);
    if (!found.used) {
        found.used = true;
        std::memset(found.begin, kPoison, found.bytes);
    }
    return found.begin;
}

void* SharedMemory::dynamic() { return array(&kDynamic, dynamic_bytes_, "dynamic shared memory"); }

bool SharedMemory::contains(const void* pointer, std::size_t bytes) const {
    const auto* const p = static_cast<const std::byte*>(pointer);
    for (const Array& array : arrays_) {
        if (p >= array.begin && p + bytes <= array.begin + array.bytes) return true;
    }
    return false;
}

unsigned SharedMemory::address(const void* pointer) const {
    const std::ptrdiff_t offset = static_cast<const std::byte*>(pointer) - begin_;
    if (offset < 0 || offset >= kWindow) fail("shared memory: an address outside of its window");
    return static_cast<unsigned>(offset);
}

void SharedMemory::end_block() {
    if (kAddressSanitizer) return;
    const Unseen unseen;
    const std::byte* redzone = begin_;
    for (std::size_t i = 0; i <= arrays_.size(); ++i) {
        const bool last = i == arrays_.size();
        const std::byte* const end = last ? used_ : arrays_[i].begin;
        for (const std::byte* p = redzone; p < end; ++p) {
            if (*p == pattern_at(p)) continue;
            const Array& near = arrays_[i == 0 || (!last && end - p <= p - redzone) ? i : i - 1];
            throw Report("shared memory: byte " + std::to_string(p - near.begin) + " of \"" + near.name +
                         "\", which has " + std::to_string(near.bytes) + ", was written to in block " +
                         triple(blockIdx.x, blockIdx.y, blockIdx.z));
        }
        if (!last) redzone = arrays_[i].begin + arrays_[i].bytes;
    }
}

void* shared_memory(const void* declaration, std::size_t bytes, const char* name) {
    return shared_memory_of_block().array(declaration, bytes, name);
}

unsigned shared_address(const void* shared) { return shared_memory_of_block().address(shared); }

void* dynamic_shared() { return shared_memory_of_block().dynamic(); }

}  // namespace cuda_emulator
