// SPDX-License-Identifier: Apache-2.0
#include "core/json.hpp"

#include <charconv>
#include <cmath>

namespace isthmus {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

void dump_string(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20U) {
            out += "\\u00";
            out += kHexDigits[byte >> 4U];
            out += kHexDigits[byte & 0xFU];
        } else {
            out += c;
        }
    }
    out += '"';
}

template <class Number>
void dump_number(std::string& out, Number number) {
    char buffer[32];  // the longest shortest double has 24 characters
    out.append(buffer, std::to_chars(buffer, buffer + sizeof(buffer), number).ptr);
}

struct Printer {
    std::string& out;

    void operator()(std::nullptr_t) const { out += "null"; }
    void operator()(bool flag) const { out += flag ? "true" : "false"; }
    void operator()(std::int64_t integer) const { dump_number(out, integer); }
    void operator()(std::uint64_t integer) const { dump_number(out, integer); }
    void operator()(double real) const {
        if (std::isnan(real)) {
            out += "nan";
        } else if (std::isinf(real)) {
            out += real < 0.0 ? "-inf" : "inf";
        } else {
            const std::size_t start = out.size();
            dump_number(out, real);
            if (out.find_first_of(".e", start) == std::string::npos) out += ".0";  // 1 would read back as an integer
        }
    }
    void operator()(const std::string& text) const { dump_string(out, text); }
    void operator()(const JsonArray& items) const {
        out += '[';
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (i > 0) out += ',';
            std::visit(*this, items[i].value());
        }
        out += ']';
    }
    void operator()(const JsonObject& members) const {
        out += '{';
        for (std::size_t i = 0; i < members.size(); ++i) {
            if (i > 0) out += ',';
            dump_string(out, members[i].first);
            out += ':';
            std::visit(*this, members[i].second.value());
        }
        out += '}';
    }
};

}  // namespace

Json::Json() : value_(nullptr) {}
Json::Json(Value value) : value_(std::move(value)) {}
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

const Json* Json::find(std::string_view key) const {
    if (const auto* members = as<JsonObject>()) {
        for (const auto& [name, member] : *members) {
            if (name == key) return &member;
        }
    }
    return nullptr;
}

std::string Json::dump() const {
    std::string out;
    std::visit(Printer{out}, value_);
    return out;
}

std::string summary(const Json& value) {
    constexpr std::size_t kMaxLength = 80;
    std::string text = value.dump();
    if (text.size() <= kMaxLength) return text;
    std::size_t end = kMaxLength;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
    return text.substr(0, end) + "...";
}

}  // namespace isthmus
