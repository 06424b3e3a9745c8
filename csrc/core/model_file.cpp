// SPDX-License-Identifier: Apache-2.0
// The file begins with a fixed text that holds digest and versions, so that both are checked before anything in it is
// parsed. Behind it every layer (container, description, tensors) accepts only what it would itself write.
#include "core/model_file.hpp"

#include <utility>

#include "core/json.hpp"
#include "core/model_description.hpp"
#include "core/model_tensors.hpp"
#include "core/safetensors.hpp"
#include "core/sha256.hpp"

#if defined(ISTHMUS_FUZZ_SKIP_DIGEST)
#if !defined(__clang__) || !__has_feature(address_sanitizer)
#error "the digest is left out in a build for libFuzzer alone, which has AddressSanitizer"
#endif
#endif

namespace isthmus {
namespace {

constexpr std::size_t kHeaderStart = 8;
constexpr std::string_view kBeforeDigest = R"({"__metadata__":{"digest":"sha256:)";
constexpr std::size_t kDigestStart = kHeaderStart + kBeforeDigest.size();
constexpr std::size_t kDigestLength = 64;
constexpr std::size_t kDigestEnd = kDigestStart + kDigestLength;

constexpr const char* kFormatVersionKey = "format_version";
constexpr const char* kNumericsVersionKey = "numerics_version";
constexpr const char* kDescriptionKey = "isthmus";

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorKind::model_format, what); }

// Over the whole file, with '0' for each digit of the digest.
std::string digest_of(std::string_view file) {
    Sha256 hash;
    hash.update(file.substr(0, kDigestStart));
    hash.update(std::string(kDigestLength, '0'));
    hash.update(file.substr(kDigestEnd));
    return hash.hex_digest();
}

void check_digest(std::string_view file) {
    if (file.size() < kDigestEnd || file.substr(kHeaderStart, kBeforeDigest.size()) != kBeforeDigest) {
        fail("offset " + std::to_string(kHeaderStart) +
             ": no digest; the file is cut off, or isthmus did not write it");
    }
    const std::string digest(file.substr(kDigestStart, kDigestLength));
    if (digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
        fail("offset " + std::to_string(kDigestStart) + ": the digest is not 64 hexadecimal digits");
    }
#ifndef ISTHMUS_FUZZ_SKIP_DIGEST  // defined by a fuzzer, which would never get past it
    if (const std::string expected = digest_of(file); digest != expected) {
        fail("offset " + std::to_string(kDigestStart) + ": the digest is " + digest + ", but the file's is " +
             expected + "; the file is damaged or cut off");
    }
#endif
}

// Takes `","name":"version` from the front of the text.
void check_version(std::string_view& text, const std::string& name, int known) {
    const std::string before = "\",\"" + name + "\":\"";
    if (!text.starts_with(before)) fail(name + " is missing behind the digest");
    text.remove_prefix(before.size());
    const std::string_view version = text.substr(0, text.find('"'));
    if (version != std::to_string(known)) {
        fail(name + " is " + summary(Json(std::string(version))) + "; this version of isthmus reads " +
             std::to_string(known));
    }
    text.remove_prefix(version.size());
}

StoredModel parse_description_of(const SafeTensors& contents) {
    // The three before it are what has been checked at the front of the file.
    if (contents.metadata.size() != 4 || contents.metadata.back().first != kDescriptionKey) {
        fail(std::string("__metadata__ must be digest, ") + kFormatVersionKey + ", " + kNumericsVersionKey + ", " +
             kDescriptionKey);
    }
    try {
        return parse_description(contents.metadata.back().second);
    } catch (const Error& error) {
        fail(std::string("__metadata__.") + kDescriptionKey + ": " + error.what());
    }
}

}  // namespace

std::string to_bytes(const StoredModel& model) {
    try {
        SafeTensors contents;
        contents.metadata = {{"digest", "sha256:" + std::string(kDigestLength, '0')},
                             {kFormatVersionKey, std::to_string(kFormatVersion)},
                             {kNumericsVersionKey, std::to_string(kNumericsVersion)},
                             {kDescriptionKey, describe(model)}};
        parse_description(contents.metadata.back().second);  // what cannot be read back is not written
        contents.tensors = tensors_of(model);
        std::string file = to_safetensors(contents);
        file.replace(kDigestStart, kDigestLength, digest_of(file));
        return file;
    } catch (const Error& error) {
        throw Error(ErrorKind::value, std::string("the model cannot be stored: ") + error.what());
    }
}

StoredModel from_bytes(std::string_view bytes, const std::string& origin) {
    try {
        check_digest(bytes);
        std::string_view behind_digest = bytes.substr(kDigestEnd);
        check_version(behind_digest, kFormatVersionKey, kFormatVersion);
        check_version(behind_digest, kNumericsVersionKey, kNumericsVersion);
        const SafeTensors contents = parse_safetensors(bytes);
        StoredModel model = parse_description_of(contents);
        read_tensors(contents.tensors, model);
        return model;
    } catch (const Error& error) {
        throw Error(ErrorKind::model_format, origin + ": " + error.what());
    }
}

}  // namespace isthmus
