// SPDX-License-Identifier: Apache-2.0
// Model files that someone wrote with care: the digest is right, and something else is not.
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "check.hpp"
#include "core/configuration.hpp"
#include "core/model_file.hpp"
#include "core/safetensors.hpp"
#include "counts.hpp"
#include "model_files.hpp"

using namespace model_files;

namespace {

// What a byte of the header is changed to. The long form, where ISTHMUS_TEST_LONG is set, has every value; the short
// one what JSON, numbers, names and UTF-8 tell apart, and each single bit. The header's length, before its text, gets
// every value in both.
std::vector<char> values_of(char was, bool every) {
    std::vector<char> values;
    for (int value = 0; value < 256 && every; ++value) values.push_back(static_cast<char>(value));
    if (every) return values;
    using std::string_view_literals::operator""sv;
    for (const char value : "\0\t\n\x1f \"\\/,:{}[]+-.059aeEFnu\x7f\x80\xbf\xc0\xc3\xe0\xed\xf0\xf4\xff"sv) {
        values.push_back(value);
    }
    for (unsigned bit = 0; bit < 8; ++bit) values.push_back(static_cast<char>(was ^ static_cast<char>(1U << bit)));
    return values;
}

}  // namespace

TEST(with_a_right_digest_a_changed_byte_is_refused_or_canonical) {
    const bool is_long = std::getenv("ISTHMUS_TEST_LONG") != nullptr;
    const std::string file = to_bytes(small_model(true));
    const std::size_t data_start = 8 + header_length(file);
    std::size_t tried = 0;
    for (std::size_t at = 0; at < data_start; ++at) {
        const sealing::Sealer with(file, at);
        const std::vector<char> values = values_of(file[at], is_long || at < 8);
        for (const char value : values) CHECK(refused_or_canonical(with(at, value)));
        tried += values.size();
    }
    counted(is_long ? "header bytes set to each value" : "values of header bytes", tried);
    for (std::size_t bit = 8 * data_start; bit < 8 * file.size(); ++bit) {
        const std::size_t at = bit / 8;
        const sealing::Sealer with(file, at);
        CHECK(refused_or_canonical(with(at, static_cast<char>(file[at] ^ static_cast<char>(1U << (bit % 8))))));
    }
    counted("bit flips of the data with a right digest", 8 * (file.size() - data_start));
}

TEST(a_sealer_seals) {
    const std::string file = to_bytes(small_model(false));
    for (const std::size_t at : {std::size_t{0}, sealing::kDigestAt + 3, sealing::kDigestAt + 64, file.size() - 1}) {
        const sealing::Sealer with(file, at);
        for (const char value : {file[at], static_cast<char>(file[at] + 1)}) {
            std::string changed = file;
            changed[at] = value;
            CHECK(with(at, value) == sealed(changed));
        }
    }
}

TEST(with_a_right_digest_a_removed_or_doubled_byte_is_refused) {
    const std::string file = to_bytes(small_model(false));
    const std::string header = header_of(file);
    for (std::size_t at = 0; at < header.size(); ++at) {
        std::string shorter = header;
        std::string longer = header;
        CHECK(refused_or_canonical(with_header(file, shorter.erase(at, 1))));
        CHECK(refused_or_canonical(with_header(file, longer.insert(at, 1, header[at]))));
    }
}

TEST(unknown_versions_are_named) {
    const std::string file = to_bytes(small_model(false));
    CHECK_VERDICT(forged(file, "format_version\":\"1", "format_version\":\"2"),
                  "format_version is \"2\"; this version of isthmus reads 1");
    CHECK_VERDICT(forged(file, "numerics_version\":\"1", "numerics_version\":\"17"),
                  "numerics_version is \"17\"; this version of isthmus reads 1");
    CHECK_VERDICT(forged(file, "format_version\":\"1", "format_version\":\"01"), "format_version is \"01\"");
    CHECK_VERDICT(forged(file, "format_version\":\"1", "format_version\":\""), "format_version is \"\"");
    CHECK_VERDICT(forged(file, "format_version\":\"1\"", "format_version\":1"), "format_version is missing");
    CHECK_VERDICT(forged(file, "\"format_version\":\"1\",", ""), "format_version is missing");
    CHECK_VERDICT(forged(file, "\"numerics_version\":\"1\",", ""), "numerics_version is missing");
}

TEST(forged_headers_are_refused) {
    const std::string file = to_bytes(small_model(true));
    const std::string loss = R"("history.loss":{"dtype":"F64","shape":[2],"data_offsets":[0,16]})";
    const std::string weight = R"("encoder.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[64,88]})";
    const std::string bias = R"("encoder.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[88,96]})";

    std::string huge = file;
    for (const std::uint64_t length :
         {std::uint64_t{0}, std::uint64_t{1} << 20U, (std::uint64_t{1} << 20U) + 1, UINT64_MAX - 7, UINT64_MAX}) {
        std::memcpy(huge.data(), &length, 8);
        CHECK(verdict(sealed(huge)).starts_with("here: "));
    }
    CHECK_VERDICT(sealed(huge), "offset 0: the header's length must be at most " + std::to_string(file.size() - 8) +
                                    "; got 18446744073709551615");
    CHECK_VERDICT(with_header(file, header_of(file) + std::string((1U << 20U), ' ')),
                  "offset 0: the header's length must be at most 1048576");
    CHECK_VERDICT(with_header(file, header_of(file) + std::string(64, ' ')),
                  "the header is not written as isthmus writes it");
    CHECK_VERDICT(with_header(file, header_of(file) + "x"), "unexpected bytes after the value");
    CHECK_VERDICT(forged(file, loss, loss + ' '), "the header is not written as isthmus writes it");
    CHECK_VERDICT(forged(file, loss, R"("history.\u006coss":{"dtype":"F64","shape":[2],"data_offsets":[0,16]})"),
                  "not written as isthmus");
    CHECK_VERDICT(forged(file, loss, R"("history.loss":{"shape":[2],"dtype":"F64","data_offsets":[0,16]})"),
                  "not written as isthmus");
    CHECK_VERDICT(forged(file, loss, R"("history.loss":{"dtype":"F64","shape":[2],"data_offsets":[0,16],"x":0})"),
                  "not written as isthmus");

    // keys
    CHECK_VERDICT(forged(file, weight, weight + ',' + weight), "duplicate key \"encoder.0.weight\"");
    CHECK_VERDICT(forged(file, "\"isthmus\":", "\"isthmus\":\"\",\"isthmus\":"), "duplicate key \"isthmus\"");
    CHECK_VERDICT(forged(file, "\"isthmus\":", "\"more\":\"\",\"isthmus\":"),
                  "__metadata__ must be digest, format_version");
    CHECK_VERDICT(forged(file, "\"isthmus\":", "\"more\":1,\"isthmus\":"),
                  "__metadata__.\"more\" must be a string; got 1");
    CHECK_VERDICT(forged(file, "\"isthmus\":", "\"isthmos\":"), "__metadata__ must be digest, format_version");
    CHECK_VERDICT(forged(file, "encoder.0.weight\":", "encoder.1.weight\":"),
                  "tensor encoder.0.weight is missing; in its place is \"encoder.1.weight\"");
    CHECK_VERDICT(forged(file, loss + ',', R"("more":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)" + loss + ','),
                  "tensor history.loss is missing; in its place is \"more\"");
    const std::string end = header_of(file).substr(0, header_of(file).size() - 1);
    const std::string total = std::to_string(file.size() - 8 - header_length(file));
    CHECK_VERDICT(
        with_header(file, end + R"(,"more":{"dtype":"F32","shape":[0],"data_offsets":[)" + total + "," + total + "]}}"),
        "tensor \"more\" does not belong to the model");

    // types, shapes, offsets
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F16","shape":[4,3],"data_offsets":[64,88]})"),
                  "dtype must be \"F32\" or \"F64\"; got \"F16\"");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F64","shape":[1,3],"data_offsets":[64,88]})"),
                  "encoder.0.weight must be F32");
    CHECK_VERDICT(forged(file, loss, R"("history.loss":{"dtype":"F32","shape":[4],"data_offsets":[0,16]})"),
                  "history.loss must be F64");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[64,88]})"),
                  "tensor encoder.0.weight: shape must be [2,3]; got [3,2]");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[6],"data_offsets":[64,88]})"),
                  "shape must be [2,3]; got [6]");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[2,3,1],"data_offsets":[64,88]})"),
                  "shape must be [2,3]; got [2,3,1]");
    CHECK_VERDICT(forged(file, loss, R"("history.loss":{"dtype":"F64","shape":[1,2],"data_offsets":[0,16]})"),
                  "history.loss: shape must be of one dimension");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[-2,-3],"data_offsets":[64,88]})"),
                  "shape must be an array of integers of at least 0");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[2.0,3],"data_offsets":[64,88]})"),
                  "shape must be an array of integers");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":{},"data_offsets":[64,88]})"),
                  "shape must be an array of integers");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","data_offsets":[64,88]})"),
                  "shape must be an array of integers of at least 0; got none");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"shape":[2,3],"data_offsets":[64,88]})"),
                  "dtype must be \"F32\" or \"F64\"; got none");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[2,3]})"),
                  "data_offsets must be an array");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":7)"), "tensor \"encoder.0.weight\": dtype must be");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[60,84]})"),
                  "data_offsets must be [64, 64 + 24]; got [60,84]");
    CHECK_VERDICT(forged(file, bias, R"("encoder.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[92,100]})"),
                  "data_offsets must be [88, 88 + 8]; got [92,100]");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[64,92]})"),
                  "data_offsets must be");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[88,64]})"),
                  "data_offsets must be");
    CHECK_VERDICT(forged(file, weight, R"("encoder.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[64]})"),
                  "data_offsets must be");
    CHECK_VERDICT(forged(file, weight + ',' + bias, bias + ',' + weight),
                  "data_offsets must be [64, 64 + 8]; got [88,96]");
}

TEST(forged_descriptions_are_refused) {
    const std::string file = to_bytes(small_model(true));
    const std::string zero = "0000000000000000";
    struct Forgery {
        std::string old, replacement, said;
    };
    const std::vector<Forgery> forgeries = {
        {R"(\"batch_size\":256)", R"(\"batch_size\":0)",
         "__metadata__.isthmus: batch_size must be an integer of at least 1; got 0"},
        {R"(\"batch_size\":256)", R"(\"batch_size\":256.0)", "batch_size must be an integer"},
        {R"(\"batch_size\":256)", R"(\"batch_size\":256,\"device\":\"cuda\")", "unknown parameter \"device\""},
        {R"(\"batch_size\":256,)", "", "not written as isthmus writes it"},
        {R"(\"batch_size\":256,)", R"(\"batch_size\": 256,)", "not written as isthmus writes it"},
        {R"(\"batch_size\":256,)", R"(\"batch_size\":256,\"batch_size\":256,)", "duplicate key \"batch_size\""},
        {R"(\"learning_rate\":0.001)", R"(\"learning_rate\":1e-3)", "not written as isthmus writes it"},
        {R"(\"kind\":\"autoencoder\")", R"(\"kind\":\"os.system\")",
         "kind must be one of \"autoencoder\", \"anomaly_detector\", \"variational_autoencoder\"; got \"os.system\""},
        {R"({\"kind\":)", R"([{\"kind\":)", "JSON, offset"},
        {R"(\"configuration\":)", R"(\"Configuration\":)", "configuration is missing"},
        {R"(\"n_features\":3)", R"(\"n_features\":0)", "n_features must be an integer of at least 1; got 0"},
        {R"(\"n_features\":3)", R"(\"n_features\":-3)", "n_features must be an integer"},
        {R"(\"n_features\":3)", R"(\"n_features\":4)", "feature_names must be None or 4 strings"},
        {R"(\"feature_names\":[)", R"(\"feature_names\":[1,)", "feature_names must be None or 3 strings"},
        {R"(\"feature_names\":[)", R"(\"feature_names\":[\"b\",)", "feature_names must be None or 3 strings"},
        {R"(\"epoch\":2)", R"(\"epoch\":3)", "history.loss has 2 entries, but epoch is 3"},
        {R"(\"epoch\":2)", R"(\"epoch\":-2)", "epoch must be an integer of at least 0"},
        {R"(\"epoch\":2)", R"(\"epoch\":4294967296)", "epoch must be an integer of at least 0 and at most 4294967295"},
        {R"(\"step\":7)", R"(\"step\":-7)", "step must be an integer of at least 0"},
        {R"(\"step\":7)", R"(\"step\":9223372036854775807)", "step must be an integer of at least 0"},
        {R"(\"step\":7)", R"(\"step\":\"7\")", "step must be an integer"},
        {R"(\"step\":7)", R"(\"steps\":7)", "step is missing"},
        {R"(\"seed\":9223372036854775809)", R"(\"seed\":-1)", "seed must be an integer of at least 0"},
        {R"(\"seed\":9223372036854775809)", R"(\"seed\":18446744073709551616)", "seed must be an integer"},
        {R"(\"training\":{)", R"(\"training\":{\"more\":0,)", "not written as isthmus writes it"},
        {R"(\"training\":{)", R"(\"training\":[{)", "JSON, offset"},
        {R"(\"step_in_epoch\":1)", R"(\"step_in_epoch\":-1)", "step_in_epoch must be an integer of at least 0"},
        {R"(\"best_wait\":1)", R"(\"best_wait\":null)", "best_wait must be an integer of at least 0"},
        {R"(\"plateau_best\":\"7ff0000000000000)", R"(\"plateau_best\":\"7ff8000000000000)",
         "plateau_best must be a number"},
        {R"(\"plateau_best\":\"7ff0000000000000)", R"(\"plateau_best\":\"7FF0000000000000)",
         "not written as isthmus writes it"},
        {R"(\"plateau_best\":\"7ff0000000000000)", R"(\"plateau_best\":\"7ff000000000000)",
         "plateau_best must be the 16 hexadecimal digits"},
        {R"(\"plateau_best\":\"7ff0000000000000\")", R"(\"plateau_best\":7)",
         "plateau_best must be the 16 hexadecimal digits"},
        {R"(\"plateau_factor\":\"3fd0000000000000)", R"(\"plateau_factor\":\"4000000000000000)",
         "plateau_factor must be a number of at least 0 and at most 1; got 2.0"},
        {R"(\"weight_sum\":\"4008000000000000)", R"(\"weight_sum\":\"c008000000000000)",
         "weight_sum must be a number of at least 0"},
        {R"(\"weight_sum\":\"4008000000000000)", R"(\"weight_sum\":\"7ff0000000000000)",
         "weight_sum must be a number of at least 0"},
        {R"("isthmus":"{)", R"("isthmus":"[{)", "__metadata__.isthmus: JSON, offset"},
        {R"("isthmus":"{)", R"("isthmus":"","x":"{)", "__metadata__ must be digest"},
    };
    for (const auto& [old, replacement, said] : forgeries) CHECK_VERDICT(forged(file, old, replacement), said);

    std::string header = header_of(file);
    const std::size_t start = header.find("\\\"training\\\":{");
    header.replace(start, header.find('}', start) + 1 - start, "\\\"training\\\":null");
    CHECK_VERDICT(with_header(file, header), "tensor \"training.m.encoder.0.weight\" does not belong to the model");
}

TEST(missing_and_swapped_tensors_are_named) {
    const std::string file = to_bytes(small_model(true));
    const SafeTensors contents = parse_safetensors(file);
    CHECK(contents.tensors.size() == 4 + 4 * 6);
    for (std::size_t i = 0; i < contents.tensors.size(); ++i) {
        SafeTensors without = contents;
        without.tensors.erase(without.tensors.begin() + static_cast<std::ptrdiff_t>(i));
        const std::string& name = contents.tensors[i].name;
        // Without its first tensor, a buffer of the training state is taken for absent, and its second for too much.
        const bool first = name.starts_with("training.") && name.ends_with("encoder.0.weight");
        CHECK_VERDICT(sealed(to_safetensors(without)), first ? "does not belong" : "tensor " + name + " is missing");
        if (i == 0) continue;
        SafeTensors swapped = contents;
        std::swap(swapped.tensors[i - 1], swapped.tensors[i]);
        CHECK(verdict(sealed(to_safetensors(swapped))).starts_with("here: tensor "));
    }
    CHECK(sealed(to_safetensors(contents)) == file);
}
