// SPDX-License-Identifier: Apache-2.0
// Recursive descent; the depth limit bounds the stack, and every read is checked against the end of the text.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "core/json.hpp"
#include "isthmus/types.hpp"

namespace isthmus {
namespace {

constexpr int kMaxDepth = 32;

void append_utf8(std::string& out, std::uint32_t code_point) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80U | ((code_point >> shift) & 0x3FU)); };
    if (code_point < 0x80U) {
        out += static_cast<char>(code_point);
    } else if (code_point < 0x800U) {
        out += static_cast<char>(0xC0U | (code_point >> 6U));
        tail(0);
    } else if (code_point < 0x10000U) {
        out += static_cast<char>(0xE0U | (code_point >> 12U));
        tail(6);
        tail(0);
    } else {
        out += static_cast<char>(0xF0U | (code_point >> 18U));
        tail(12);
        tail(6);
        tail(0);
    }
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
public:
    explicit Parser(std::string_view text) : text_(text) {}

    Json document() {
        Json value = parse_value(0);
        skip_space();
        if (at_ != text_.size()) fail("unexpected bytes after the value");
        return value;
    }

private:
    [[noreturn]] static void fail_at(std::size_t offset, const std::string& what) {
        throw Error(ErrorKind::model_format, "JSON, offset " + std::to_string(offset) + ": " + what);
    }
    [[noreturn]] void fail(const std::string& what) const { fail_at(at_, what); }

    // 0 at the end: no token begins with it, and inside a string it is refused like every control character.
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char c) {
        if (peek() != c || at_ == text_.size()) return false;
        ++at_;
        return true;
    }
    void skip_space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
    }

    Json parse_value(int depth) {
        skip_space();
        switch (peek()) {
            case '{': return parse_object(depth + 1);
            case '[': return parse_array(depth + 1);
            case '"': return Json(parse_string());
            case 't': return parse_word("true", Json(true));
            case 'f': return parse_word("false", Json(false));
            case 'n': return parse_word("null", Json());
            default: return parse_number();
        }
    }

    Json parse_word(std::string_view word, Json value) {
        if (text_.substr(at_, word.size()) != word) fail("expected a value");
        at_ += word.size();
        return value;
    }

    void enter(int depth) {
        if (depth > kMaxDepth) fail("nested deeper than " + std::to_string(kMaxDepth));
        ++at_;
        skip_space();
    }

    Json parse_array(int depth) {
        enter(depth);
        JsonArray items;
        if (take(']')) return Json(std::move(items));
        while (true) {
            items.push_back(parse_value(depth));
            skip_space();
            if (take(']')) return Json(std::move(items));
            if (!take(',')) fail("expected , or ]");
        }
    }

    Json parse_object(int depth) {
        enter(depth);
        JsonObject members;
        std::vector<std::size_t> offsets;
        if (take('}')) return Json(std::move(members));
        while (true) {
            skip_space();
            offsets.push_back(at_);
            if (peek() != '"') fail("expected a string as key");
            std::string key = parse_string();
            skip_space();
            if (!take(':')) fail("expected :");
            members.emplace_back(std::move(key), parse_value(depth));
            skip_space();
            if (take('}')) break;
            if (!take(',')) fail("expected , or }");
        }
        check_unique(members, offsets);
        return Json(std::move(members));
    }

    // By sorting: a hostile object of 200,000 keys must not take the square of that.
    static void check_unique(const JsonObject& members, const std::vector<std::size_t>& offsets) {
        std::vector<std::size_t> order(members.size());
        for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            const int relation = members[a].first.compare(members[b].first);
            return relation != 0 ? relation < 0 : a < b;
        });
        for (std::size_t i = 1; i < order.size(); ++i) {
            if (members[order[i - 1]].first == members[order[i]].first) {
                fail_at(offsets[order[i]], "duplicate key " + summary(Json(members[order[i]].first)));
            }
        }
    }

    std::string parse_string() {
        ++at_;
        std::string out;
        while (true) {
            const std::size_t length = utf8_length(text_.substr(at_));
            if (at_ == text_.size()) fail("unterminated string");
            if (length == 0) fail("invalid UTF-8");
            const char c = text_[at_];
            if (c == '"') {
                ++at_;
                return out;
            }
            if (static_cast<unsigned char>(c) < 0x20U) fail("control character in a string");
            if (c == '\\') {
                parse_escape(out);
            } else {
                out.append(text_, at_, length);
                at_ += length;
            }
        }
    }

    void parse_escape(std::string& out) {
        constexpr std::string_view kEscapes = "\"\\/bfnrt";
        constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
        const std::size_t start = at_++;
        if (take('u')) {
            std::uint32_t unit = parse_hex4(start);
            if (unit >= 0xDC00U && unit < 0xE000U) fail_at(start, "lone surrogate");
            if (unit >= 0xD800U && unit < 0xDC00U) {
                if (!take('\\') || !take('u')) fail_at(start, "lone surrogate");
                const std::uint32_t low = parse_hex4(start);
                if (low < 0xDC00U || low >= 0xE000U) fail_at(start, "lone surrogate");
                unit = 0x10000U + ((unit - 0xD800U) << 10U) + (low - 0xDC00U);
            }
            append_utf8(out, unit);
            return;
        }
        const std::size_t which = kEscapes.find(peek());
        if (which == std::string_view::npos) fail_at(start, "unknown escape");
        out += kMeanings[which];
        ++at_;
    }

    std::uint32_t parse_hex4(std::size_t start) {
        std::uint32_t unit = 0;
        const std::string_view digits = text_.substr(at_, 4);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
        if (digits.size() != 4 || error != std::errc{} || end != digits.data() + 4) {
            fail_at(start, "\\u needs four hexadecimal digits");
        }
        at_ += 4;
        return unit;
    }

    void skip_digits() {
        if (!is_digit(peek())) fail(at_ == text_.size() ? "unexpected end" : "expected a digit");
        while (is_digit(peek())) ++at_;
    }

    Json parse_number() {
        const std::size_t start = at_;
        const bool negative = take('-');
        if (!negative && !is_digit(peek())) fail(at_ == text_.size() ? "unexpected end" : "expected a value");
        if (take('0')) {
            if (is_digit(peek())) fail_at(start, "a number with a leading zero");
        } else {
            skip_digits();
        }
        bool integer = true;
        if (take('.')) {
            integer = false;
            skip_digits();
        }
        if (take('e') || take('E')) {
            integer = false;
            if (!take('+')) take('-');
            skip_digits();
        }
        const char* const first = text_.data() + start;
        const char* const last = text_.data() + at_;
        if (integer) {
            std::int64_t small = 0;
            if (std::from_chars(first, last, small).ec == std::errc{}) return Json(small);
            std::uint64_t large = 0;
            if (!negative && std::from_chars(first, last, large).ec == std::errc{}) return Json(large);
        }
        double real = 0.0;
        if (std::from_chars(first, last, real).ec != std::errc{} || !std::isfinite(real)) {
            fail_at(start, "a number beyond the range of a double");
        }
        return Json(real);
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

Json parse_json(std::string_view text) { return Parser(text).document(); }

std::size_t utf8_length(std::string_view text) {
    if (text.empty()) return 0;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(0);
    if (lead < 0x80U) return 1;
    if (lead < 0xC2U || lead > 0xF4U) return 0;
    const std::size_t length = lead < 0xE0U ? 2 : lead < 0xF0U ? 3 : 4;
    if (text.size() < length) return 0;
    // The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4).
    const unsigned low = lead == 0xE0U ? 0xA0U : lead == 0xF0U ? 0x90U : 0x80U;
    const unsigned high = lead == 0xEDU ? 0x9FU : lead == 0xF4U ? 0x8FU : 0xBFU;
    if (byte(1) < low || byte(1) > high) return 0;
    for (std::size_t i = 2; i < length; ++i) {
        if ((byte(i) & 0xC0U) != 0x80U) return 0;
    }
    return length;
}

}  // namespace isthmus
