// SPDX-License-Identifier: Apache-2.0
// How many things a test tried, noted for docs/promises.md where ISTHMUS_COUNTS names a file (tests/promises.py).
#pragma once

#include <cstdio>
#include <cstdlib>

inline void counted(const char* what, std::size_t tried) {
    const char* const path = std::getenv("ISTHMUS_COUNTS");
    if (path == nullptr) return;
    if (std::FILE* const file = std::fopen(path, "a")) {
        std::fprintf(file, "%zu %s\n", tried, what);
        std::fclose(file);
    }
}
