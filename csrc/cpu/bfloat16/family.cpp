// SPDX-License-Identifier: Apache-2.0
// Which products run: those of the instruction set in use in float32; in bfloat16 those of AMX where there is one,
// since it does some ten times the work of a float32 unit, else those of AVX512-BF16, which does up to twice.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "cpu/cpu.hpp"
#include "cpu/isa.hpp"
#include "math/names.hpp"

#if defined(ISTHMUS_HAS_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace isthmus::cpu {

namespace {

#if defined(ISTHMUS_HAS_AMX)
// The registers of AMX are 8 KB a thread, so Linux wants to be asked, once for a process.
bool may_use_amx() {
    constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Leaf 7 says whether the processor has amx_tile (edx, 24) and amx_bf16 (edx, 22).
bool has_amx() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
    return (d >> 24 & 1U) != 0 && (d >> 22 & 1U) != 0;
}
#endif

std::vector<const Products*> usable() {
    std::vector<const Products*> families;
#ifdef ISTHMUS_HAS_AVX512BF16
    if (__builtin_cpu_supports("avx512bf16")) families.push_back(&avx512bf16::kProducts);
#endif
#ifdef ISTHMUS_HAS_AMX
    static const bool amx = has_amx() && __builtin_cpu_supports("avx512bf16") && may_use_amx();
    if (amx) families.push_back(&amx::kProducts);
#endif
    return families;
}

const Products& find(const std::string& name, const std::string& asked_by) {
    std::string known;
    for (const Products* family : usable()) {
        if (name == family->name) return *family;
        known += (known.empty() ? "" : ", ") + std::string(family->name);
    }
    throw Error(ErrorKind::value, asked_by + " is '" + name + "'; this build on this machine has " +
                                      (known.empty() ? "no instructions for bfloat16" : known));
}

// Null where there is none.
std::atomic<const Products*>& selected() {
    static std::atomic<const Products*> family = [] {
        const char* wanted = std::getenv("ISTHMUS_BFLOAT16");
        if (wanted != nullptr && *wanted != '\0') {
            return &find(wanted, "the environment variable ISTHMUS_BFLOAT16");
        }
        const std::vector<const Products*> families = usable();
        return families.empty() ? nullptr : families.back();
    }();
    return family;
}

// Their layouts are those of avx512.
bool instruction_set_fits() { return std::strcmp(active_instruction_set().name, "avx512") == 0; }

}  // namespace

const Products& active_products(Precision precision) {
    const InstructionSet& isa = active_instruction_set();
    if (precision == Precision::float32) return isa.products;
    const std::string asked = "precision is '" + std::string(math::name(precision)) + "'; the CPU device computes in ";
    if (precision != Precision::bfloat16) throw Error(ErrorKind::runtime, asked + "float32 and bfloat16");
    const Products* family = selected();
    if (family != nullptr && instruction_set_fits()) return *family;
    throw Error(ErrorKind::runtime,
                asked + "bfloat16 only with AMX or AVX512-BF16; found " +
                    (family != nullptr ? std::string(family->name) + ", but the instruction set in use is " + isa.name
                                       : std::string("neither")));
}

std::vector<std::string> bfloat16_families() {
    std::vector<std::string> names;
    if (!instruction_set_fits()) return names;
    for (const Products* family : usable()) names.emplace_back(family->name);
    return names;
}

std::string bfloat16_family() {
    const Products* family = selected();
    return family != nullptr && instruction_set_fits() ? family->name : "none";
}

void use_bfloat16_family(const std::string& name) { selected().store(&find(name, "the family asked for")); }

}  // namespace isthmus::cpu
