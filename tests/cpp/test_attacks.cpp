// SPDX-License-Identifier: Apache-2.0
// The malicious files of tests/attacks: each is refused for what it attacks, and makes the reader ask for no more
// memory than a stated multiple of its own size. The global allocation functions are replaced to see that.
#include <algorithm>
#include <cstdlib>
#include <new>
#include <set>
#include <string>

#include "check.hpp"
#include "core/file.hpp"
#include "core/json.hpp"
#include "core/model_file.hpp"
#include "counts.hpp"
#include "model_files.hpp"

using namespace model_files;

namespace {

std::size_t largest_allocation = 0;

// Parsed, a header's shortest member ("0," of an array) becomes a value of 40 bytes, in a vector that doubles as it
// grows. Headers have at most 1 MiB, and nothing but a header is parsed.
constexpr std::size_t kParsedBytes = 64;
constexpr std::size_t kSmall = 16384;  // messages, digests, the tables of layers

const std::string kFolder = ISTHMUS_ATTACKS;

}  // namespace

// Not inlined: gcc would take new and free for a mismatched pair.
[[gnu::noinline]] void* operator new(std::size_t size) {
    largest_allocation = std::max(largest_allocation, size);
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST(attacks_are_refused_for_what_they_attack) {
    const std::string text = read_file(kFolder + "/attacks.json");
    const Json attacks = parse_json(text);
    const auto& lines = *attacks.as<JsonObject>();
    std::size_t accepted = 0;
    for (const auto& [name, line] : lines) {
        const std::string file = read_file(kFolder + "/" + name + ".safetensors");
        const std::string& expected = *line.find("said")->as<std::string>();
        largest_allocation = 0;
        const std::string said = verdict(file);
        check::report(
            largest_allocation <= kSmall + kParsedBytes * file.size(), __FILE__, __LINE__,
            (name + ": " + std::to_string(largest_allocation) + " bytes for " + std::to_string(file.size())).c_str());
        const bool right = expected == "accepted"
                               ? said == expected
                               : said.starts_with("here: ") && said.find(expected) != std::string::npos;
        check::report(right, __FILE__, __LINE__, (name + ": expected \"" + expected + "\", got: " + said).c_str());
        accepted += said == "accepted" ? 1 : 0;
    }
    CHECK(accepted == 2);  // the controls: without them an old format would be refused for its age alone
    if (accepted != 2) std::printf("if the file's text has changed: python tests/attacks/make.py\n");
    counted("malicious files in C++", lines.size() - accepted);
}
