// SPDX-License-Identifier: Apache-2.0
// JSON as RFC 8259 has it, with the limits of core/json.hpp; SHA-256 against the vectors of FIPS 180.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "core/json.hpp"
#include "core/sha256.hpp"

using namespace isthmus;

namespace {

// What the parser says of a text; "" when it accepts it.
std::string refusal(std::string_view text) {
    try {
        parse_json(text);
        return "";
    } catch (const Error& error) {
        return error.kind() == ErrorKind::model_format ? error.what() : std::string("another kind: ") + error.what();
    }
}

bool refused_at(std::string_view text, std::size_t offset) {
    return refusal(text).starts_with("JSON, offset " + std::to_string(offset) + ": ");
}

std::string repeated(std::string_view text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
}

}  // namespace

TEST(canonical_texts_print_as_they_were) {
    const std::vector<std::string_view> texts = {"null",
                                                 "true",
                                                 "false",
                                                 "0",
                                                 "-1",
                                                 "9223372036854775807",
                                                 "-9223372036854775808",
                                                 "18446744073709551615",
                                                 "0.5",
                                                 "-0.0",
                                                 "1.0",
                                                 "1e-08",
                                                 "1e+300",
                                                 "5e-324",
                                                 "1.7976931348623157e+308",
                                                 R"("")",
                                                 R"("a\"b\\c")",
                                                 R"("\u0001\u001f")",
                                                 "\"\x7f\"",
                                                 "\"\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\"",
                                                 "[]",
                                                 "{}",
                                                 "[1,[2,[]],{}]",
                                                 R"({"b":1,"a":{"c":[null,true,""]}})",
                                                 R"({"":0})"};
    for (const std::string_view text : texts) CHECK(parse_json(text).dump() == text);
}

TEST(other_texts_print_canonically) {
    CHECK(parse_json(" \t\r\n[ 1 , 2 ]\n").dump() == "[1,2]");
    CHECK(parse_json("{ \"a\" : 1 }").dump() == "{\"a\":1}");
    CHECK(parse_json(R"("\"\\\/\b\f\n\r\t")").dump() == R"("\"\\/\u0008\u000c\u000a\u000d\u0009")");
    CHECK(parse_json("1E2").dump() == "100.0");
    CHECK(parse_json("1e+2").dump() == "100.0");
    CHECK(parse_json("-0").dump() == "0");
}

TEST(escapes_become_utf8) {
    CHECK(*parse_json(R"("\u0041\u00e9\u20AC\ud83d\uDE00")").as<std::string>() ==
          "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    CHECK(*parse_json(R"("\u0000")").as<std::string>() == std::string(1, '\0'));
    CHECK(*parse_json(R"("\uffff\ud800\udc00\udbff\udfff")").as<std::string>() ==
          "\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF");
}

TEST(integers_stay_integers) {
    CHECK(*parse_json("9223372036854775807").as<std::int64_t>() == INT64_MAX);
    CHECK(*parse_json("-9223372036854775808").as<std::int64_t>() == INT64_MIN);
    CHECK(*parse_json("9223372036854775808").as<std::uint64_t>() == std::uint64_t{1} << 63U);
    CHECK(*parse_json("18446744073709551615").as<std::uint64_t>() == UINT64_MAX);
    CHECK(*parse_json("18446744073709551616").as<double>() == 0x1p64);
    CHECK(*parse_json("-9223372036854775809").as<double>() == -0x1p63);
    CHECK(*parse_json("1.0").as<double>() == 1.0);
    CHECK(*parse_json("1e0").as<double>() == 1.0);
    CHECK(parse_json("1").as<double>() == nullptr);
    CHECK(parse_json("true").as<std::int64_t>() == nullptr);
}

TEST(doubles_keep_their_bits) {
    // A walk over all exponents, and over mantissas by a linear congruential step.
    std::uint64_t bits = 0x9E3779B97F4A7C15U;
    for (int i = 0; i < 100000; ++i) {
        bits = bits * 6364136223846793005U + 1442695040888963407U;
        const auto value = std::bit_cast<double>(bits);
        if (!std::isfinite(value)) continue;
        const Json read = parse_json(Json(value).dump());
        CHECK(read.as<double>() && std::bit_cast<std::uint64_t>(*read.as<double>()) == bits);
    }
    CHECK(Json(std::numeric_limits<double>::quiet_NaN()).dump() == "nan");
    CHECK(Json(std::numeric_limits<double>::infinity()).dump() == "inf");
    CHECK(Json(-std::numeric_limits<double>::infinity()).dump() == "-inf");
}

TEST(what_is_no_json_is_refused_with_its_offset) {
    struct Case {
        std::string_view text;
        std::size_t offset;
    };
    const std::vector<Case> cases = {{"", 0},
                                     {" ", 1},
                                     {"nul", 0},
                                     {"nulL", 0},
                                     {"True", 0},
                                     {"NaN", 0},
                                     {"nan", 0},
                                     {"inf", 0},
                                     {"Infinity", 0},
                                     {"-Infinity", 1},
                                     {"-", 1},
                                     {"+1", 0},
                                     {".5", 0},
                                     {"1.", 2},
                                     {"1.e3", 2},
                                     {"1e", 2},
                                     {"1e+", 3},
                                     {"01", 0},
                                     {"-01", 0},
                                     {"00", 0},
                                     {"0x1", 1},
                                     {"1 2", 2},
                                     {"1e400", 0},
                                     {"-1e400", 0},
                                     {"1e-400", 0},
                                     {"[", 1},
                                     {"[1", 2},
                                     {"[1,", 3},
                                     {"[1,]", 3},
                                     {"[,1]", 1},
                                     {"[1 2]", 3},
                                     {"]", 0},
                                     {"[1]]", 3},
                                     {"[1}", 2},
                                     {"{", 1},
                                     {"{\"a\"", 4},
                                     {"{\"a\":", 5},
                                     {"{\"a\":1", 6},
                                     {"{\"a\":1,", 7},
                                     {"{\"a\":1,}", 7},
                                     {"{a:1}", 1},
                                     {"{1:1}", 1},
                                     {"{\"a\" 1}", 5},
                                     {"{\"a\":1]", 6},
                                     {"{,}", 1},
                                     {"{'a':1}", 1},
                                     {"\"", 1},
                                     {"\"a", 2},
                                     {"\"\n\"", 1},
                                     {"\"\t\"", 1},
                                     {R"("\x")", 1},
                                     {R"("\)", 1},
                                     {R"("\u12")", 1},
                                     {R"("\u12G4")", 1},
                                     {R"("\u+123")", 1},
                                     {R"("\ud800")", 1},
                                     {R"("\ud800\u0041")", 1},
                                     {R"("\udc00")", 1},
                                     {R"("\ud800\ud800")", 1},
                                     {R"("\ud800x")", 1},
                                     {R"(["\uDFFF"])", 2},
                                     {"'a'", 0},
                                     {"// a\n1", 0},
                                     {"1 /* a */", 2},
                                     {"\xEF\xBB\xBF"
                                      "1",
                                      0},
                                     {"\xC2\xA0"
                                      "1",
                                      0},
                                     {std::string_view("1\0", 2), 1},
                                     {std::string_view("\0", 1), 0},
                                     {std::string_view("\"\0\"", 3), 1}};
    for (const auto& [text, offset] : cases) CHECK(refused_at(text, offset));
}

TEST(invalid_utf8_is_refused) {
    const std::vector<std::string_view> sequences = {"\x80",
                                                     "\xBF",
                                                     "\xC0\x80",
                                                     "\xC1\xBF",
                                                     "\xC3",
                                                     "\xC3\x28",
                                                     "\xE0\x80\x80",
                                                     "\xE0\x9F\xBF",
                                                     "\xE2\x82",
                                                     "\xE2\x28\xA1",
                                                     "\xE2\x82\x28",
                                                     "\xED\xA0\x80",
                                                     "\xED\xBF\xBF",
                                                     "\xF0\x80\x80\x80",
                                                     "\xF0\x8F\xBF\xBF",
                                                     "\xF0\x9F\x98",
                                                     "\xF4\x90\x80\x80",
                                                     "\xF5\x80\x80\x80",
                                                     "\xF8\x88\x80\x80\x80",
                                                     "\xFE",
                                                     "\xFF"};
    for (const std::string_view sequence : sequences) {
        CHECK(utf8_length(sequence) == 0);
        CHECK(refused_at("\"a" + std::string(sequence) + "\"", 2));
        CHECK(refused_at("{\"" + std::string(sequence) + "\":1}", 2));
    }
    CHECK(utf8_length("a") == 1 && utf8_length("\xC2\x80") == 2 && utf8_length("\xE0\xA0\x80") == 3 &&
          utf8_length("\xEE\x80\x80") == 3);
    CHECK(utf8_length("\xF0\x90\x80\x80") == 4 && utf8_length("\xF4\x8F\xBF\xBF") == 4 && utf8_length("") == 0);
}

TEST(duplicate_keys_are_refused) {
    CHECK(refused_at(R"({"a":1,"b":2,"a":3})", 13));
    CHECK(refused_at(R"({"a":1,"\u0061":3})", 7));
    CHECK(refused_at(R"([{"x":{"":1,"":2}}])", 12));
    CHECK(refusal(R"({"a":{"a":{"a":1}}})").empty());
}

TEST(depth_is_limited) {
    CHECK(refusal(repeated("[", 32) + repeated("]", 32)).empty());
    CHECK(refused_at(repeated("[", 33) + repeated("]", 33), 32));
    CHECK(refused_at(repeated("[", 1000000), 32));
    CHECK(refused_at(repeated("{\"a\":", 1000000), 160));
}

TEST(many_keys_take_no_square_of_time) {
    std::string text = "{";
    for (int i = 0; i < 200000; ++i) text += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
    CHECK(refusal(text + "}").empty());
    CHECK(refusal(text + ",\"7\":0}").ends_with("duplicate key \"7\""));
}

TEST(members_are_found_in_objects_only) {
    const Json object = parse_json(R"({"a":1,"b":null})");
    CHECK(object.find("a") && *object.find("a")->as<std::int64_t>() == 1);
    CHECK(object.find("b") && object.find("b")->is_null());
    CHECK(object.find("c") == nullptr);
    CHECK(parse_json("[\"a\"]").find("a") == nullptr);
}

TEST(summaries_are_cut_between_characters) {
    CHECK(summary(Json(std::string("short"))) == "\"short\"");
    for (std::size_t n = 70; n < 90; ++n) {
        const std::string cut = summary(Json(std::string(n, 'x') + "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80"));
        CHECK(cut.size() <= 83 && cut.size() >= 79);
        for (std::size_t at = 0; at < cut.size();) {
            const std::size_t length = utf8_length(std::string_view(cut).substr(at));
            CHECK(length > 0);
            at += length > 0 ? length : 1;
        }
    }
}

TEST(sha256_of_published_messages) {
    const auto digest = [](std::string_view message) {
        Sha256 hash;
        hash.update(message);
        return hash.hex_digest();
    };
    CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(digest(
              "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrst"
              "nopqrstu") == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    CHECK(digest(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(sha256_takes_any_length_in_any_pieces) {
    std::string message;
    Sha256 all;
    for (int i = 0; i < 200; ++i) message += static_cast<char>(i * 37);
    for (std::size_t size = 0; size <= message.size(); ++size) {
        Sha256 whole;
        whole.update(std::string_view(message).substr(0, size));
        const std::string expected = whole.hex_digest();
        all.update(expected);
        for (const std::size_t piece : {1, 7, 63, 64, 65}) {
            Sha256 hash;
            for (std::size_t at = 0; at < size; at += piece) {
                hash.update(std::string_view(message).substr(at, std::min(piece, size - at)));
            }
            CHECK(hash.hex_digest() == expected);
        }
    }
    // From Python's hashlib.
    CHECK(all.hex_digest() == "15cfc1da2b3468f67ed9338e33524f382a32658d5781f07900038c28c9d510c0");
}
