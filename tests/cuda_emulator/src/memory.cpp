// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "cuda_emulator/launch.hpp"
#include "sanitizers.hpp"

namespace cuda_emulator {

namespace {

constexpr std::size_t kAlignment = 256;                                 // that of cudaMalloc
constexpr std::size_t kGuard = kAddressSanitizer ? 0 : 2 * kAlignment;  // malloc has redzones of its own there
constexpr int kPoison = 0xff;
constexpr int kPattern = 0xa5;

std::string hexadecimal(const void* pointer) {
    char text[2 * sizeof pointer];
    const auto end = std::to_chars(text, text + sizeof text, reinterpret_cast<std::uintptr_t>(pointer), 16).ptr;
    return "0x" + std::string(text, end);
}

}  // namespace

Memory& device_memory() {
    static Memory* const memory = new Memory;  // outlives the objects of the program that release memory at its end
    return *memory;
}

std::size_t Memory::total() const {
    const char* const value = std::getenv("ISTHMUS_EMULATOR_MEMORY");
    std::size_t bytes = std::size_t{1} << 30;
    if (value != nullptr) {
        const std::string_view text = value;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
        if (error != std::errc() || end != text.data() + text.size()) {
            throw Report("ISTHMUS_EMULATOR_MEMORY is \"" + std::string(text) + "\", not a number of bytes");
        }
    }
    return bytes;
}

std::size_t Memory::free(int device) const {
    std::size_t used = 0;
    for (const auto& [address, allocation] : allocations_) {
        if (allocation.type == cudaMemoryTypeDevice && allocation.device == device) used += allocation.bytes;
    }
    return total() > used ? total() - used : 0;
}

void* Memory::allocate(cudaMemoryType type, std::size_t bytes, int device) {
    if (type == cudaMemoryTypeDevice && bytes > free(device)) return nullptr;
    void* raw = nullptr;
    if (posix_memalign(&raw, kAlignment, bytes + 2 * kGuard) != 0) return nullptr;
    auto* const begin = static_cast<std::byte*>(raw) + kGuard;
    std::memset(raw, kPattern, kGuard);
    std::memset(begin, kPoison, bytes);
    std::memset(begin + bytes, kPattern, kGuard);
    allocations_[reinterpret_cast<std::uintptr_t>(begin)] = {begin, bytes, type, device, raw};
    if (type == cudaMemoryTypeDevice && shown_ == 0) forbid(begin, bytes);
    return begin;
}

bool Memory::release(cudaMemoryType type, void* pointer) {
    const auto found = allocations_.find(reinterpret_cast<std::uintptr_t>(pointer));
    if (found == allocations_.end() || found->second.type != type) return false;
    const Allocation allocation = found->second;
    allocations_.erase(found);
    found_last_ = nullptr;
    permit(allocation.begin, allocation.bytes);
    check_guards(allocation);
    std::memset(allocation.begin, kPoison, allocation.bytes);
    std::free(allocation.raw);
    return true;
}

const Allocation* Memory::find(const void* pointer, std::size_t bytes) const {
    const auto address = reinterpret_cast<std::uintptr_t>(pointer);
    const auto holds = [&](const Allocation& a) {
        const auto begin = reinterpret_cast<std::uintptr_t>(a.begin);
        return address >= begin && bytes <= a.bytes && address - begin <= a.bytes - bytes;
    };
    if (found_last_ != nullptr && holds(*found_last_)) return found_last_;
    const auto above = allocations_.upper_bound(address);
    if (above == allocations_.begin()) return nullptr;
    const Allocation& allocation = std::prev(above)->second;
    if (!holds(allocation)) return nullptr;
    found_last_ = &allocation;
    return &allocation;
}

void Memory::check_guards(const Allocation& allocation) {
    const std::byte* const begin = allocation.begin;
    const std::byte* const end = begin + allocation.bytes;
    const Unseen unseen;
    static const std::string intact(kGuard, static_cast<char>(kPattern));
    if (std::memcmp(begin - kGuard, intact.data(), kGuard) == 0 && std::memcmp(end, intact.data(), kGuard) == 0) {
        return;
    }
    for (std::size_t i = 0; i < kGuard; ++i) {
        for (const std::byte* p : {begin - 1 - i, end + i}) {
            if (*p == static_cast<std::byte>(kPattern)) continue;
            std::memset(allocation.raw, kPattern, kGuard);  // said once
            std::memset(allocation.begin + allocation.bytes, kPattern, kGuard);
            throw Report("byte " + std::to_string(p - begin) + " of the " + std::to_string(allocation.bytes) + " at " +
                         hexadecimal(begin) + " was written to");
        }
    }
}

void Memory::check_guards() const {
    for (const auto& [address, allocation] : allocations_) check_guards(allocation);
}

void Memory::show() {
    if (!kAddressSanitizer || shown_++ > 0) return;
    for (const auto& [address, allocation] : allocations_) permit(allocation.begin, allocation.bytes);
}

void Memory::hide() {
    if (!kAddressSanitizer || --shown_ > 0) return;
    for (const auto& [address, allocation] : allocations_) {
        if (allocation.type == cudaMemoryTypeDevice) forbid(allocation.begin, allocation.bytes);
    }
}

void check_pointer(const void* pointer, int position) {
    if (pointer == nullptr || device_memory().find(pointer, 0) != nullptr) return;
    throw Report("launch: argument " + std::to_string(position) + ", " + hexadecimal(pointer) +
                 ", is neither device nor pinned memory");
}

}  // namespace cuda_emulator
