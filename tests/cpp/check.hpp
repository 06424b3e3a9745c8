// SPDX-License-Identifier: Apache-2.0
// The whole of the C++ test framework: TEST(name) { CHECK(...); } registers itself, main runs all, or those that are
// named on the command line, and counts.
#pragma once

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "isthmus/types.hpp"

namespace check {

inline std::vector<std::pair<std::string, std::function<void()>>>& tests() {
    static std::vector<std::pair<std::string, std::function<void()>>> all;
    return all;
}

inline int& failures() {
    static int count = 0;
    return count;
}

struct Registration {
    Registration(const char* name, std::function<void()> body) { tests().emplace_back(name, std::move(body)); }
};

inline void report(bool passed, const char* file, int line, const char* what) {
    if (!passed) {
        ++failures();
        std::printf("%s:%d: failed: %s\n", file, line, what);
    }
}

template <class F>
void throws(F&& body, isthmus::ErrorKind kind, const char* file, int line, const char* what) {
    try {
        body();
    } catch (const isthmus::Error& error) {
        report(error.kind() == kind, file, line, (std::string(what) + " threw another kind: " + error.what()).c_str());
        return;
    }
    report(false, file, line, (std::string(what) + " did not throw").c_str());
}

inline int run(const std::vector<std::string>& wanted) {
    for (const std::string& name : wanted) {
        if (std::none_of(tests().begin(), tests().end(), [&](const auto& test) { return test.first == name; })) {
            std::printf("there is no test %s\n", name.c_str());
            return 2;
        }
    }
    int passed_count = 0;
    int failed = 0;
    for (auto& [name, body] : tests()) {
        if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
        const int before = failures();
        try {
            body();
        } catch (const std::exception& error) {
            ++failures();
            std::printf("%s: exception: %s\n", name.c_str(), error.what());
        }
        const bool passed = failures() == before;
        ++(passed ? passed_count : failed);
        std::printf("%s %s\n", passed ? "ok  " : "FAIL", name.c_str());
    }
    std::printf("%d passed, %d failed\n", passed_count, failed);
    return failed == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) ::check::report(static_cast<bool>(condition), __FILE__, __LINE__, #condition)
#define CHECK_THROWS(expression, kind) \
    ::check::throws([&] { (void)(expression); }, kind, __FILE__, __LINE__, #expression)
#define TEST(name)                                                              \
    static void test_##name();                                                  \
    static const ::check::Registration registration_##name(#name, test_##name); \
    static void test_##name()

int main(int argc, char** argv) { return ::check::run(std::vector<std::string>(argv + 1, argv + argc)); }
