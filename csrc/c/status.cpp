// SPDX-License-Identifier: Apache-2.0
#include "c/status.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace isthmus::c {
namespace {

struct LastError {
    char text[2048] = "";
    int code = 0;
};

LastError& last_error() {
    thread_local LastError last;
    return last;
}

isthmus_status status_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::value: return ISTHMUS_VALUE;
        case ErrorKind::type: return ISTHMUS_TYPE;
        case ErrorKind::model_format: return ISTHMUS_MODEL_FORMAT;
        case ErrorKind::divergence: return ISTHMUS_DIVERGENCE;
        case ErrorKind::memory: return ISTHMUS_MEMORY;
        case ErrorKind::io: return ISTHMUS_IO;
        case ErrorKind::runtime: return ISTHMUS_RUNTIME;
    }
    return ISTHMUS_INTERNAL;
}

// Where the text that fits ends, which is not within a character.
std::size_t fitting(const char* text, std::size_t most) {
    std::size_t size = std::min(std::strlen(text), most);
    if (size < most) return size;
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
    return size;
}

}  // namespace

isthmus_status failed(isthmus_status status, const char* message, int code) noexcept {
    LastError& last = last_error();
    const std::size_t size = fitting(message, sizeof(last.text) - 1);
    std::memcpy(last.text, message, size);
    last.text[size] = '\0';
    last.code = code;
    return status;
}

isthmus_status failed(const Error& error) noexcept {
    return failed(status_of(error.kind()), error.what(), error.kind() == ErrorKind::io ? error.code() : 0);
}

}  // namespace isthmus::c

const char* isthmus_last_error(void) { return isthmus::c::last_error().text; }
int isthmus_last_errno(void) { return isthmus::c::last_error().code; }
const char* isthmus_version(void) { return ISTHMUS_VERSION; }
int isthmus_abi_version(void) { return ISTHMUS_ABI_VERSION; }
void isthmus_free(void* allocated) { std::free(allocated); }
