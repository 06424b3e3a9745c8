// SPDX-License-Identifier: Apache-2.0
// The model file: round trips, every truncation, every bit flip, and what is not written in the first place.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/configuration.hpp"
#include "core/model_file.hpp"
#include "counts.hpp"
#include "model_files.hpp"

using namespace model_files;

TEST(models_come_back_as_they_were) {
    for (const bool training : {false, true}) {
        const StoredModel model = small_model(training);
        const std::string file = to_bytes(model);
        const StoredModel read = from_bytes(file, "here");
        check_equal(read, model);
        CHECK(to_bytes(read) == file);
        CHECK(file == sealed(file));
    }
}

TEST(every_configuration_comes_back) {
    StoredModel model = small_model(false);
    model.configuration = parse_configuration(parse_json(
        R"({"encoder_layers":[2],"decoder_layers":[1],"activation":"gelu","code_activation":"tanh",
            "output_activation":"sigmoid","loss":"bce","optimizer":"adamw","learning_rate":0.1,
            "beta_1":0.3,"beta_2":0.7,"epsilon":1e-5,"momentum":0.9,"weight_decay":0.125,
            "learning_rate_schedule":"plateau","clip_norm":3,
            "input_noise":0.5,"input_noise_kind":"mask","batch_size":7,"epochs":9,"shuffle":false,
            "validation_fraction":0.1,"patience":5,"min_delta":1e-3,"restore_best":false,"precision":"bfloat16",
            "random_state":5,"warm_start":true,"verbose":2})"));
    check_equal(from_bytes(to_bytes(model), "here"), model);
}

TEST(tied_weights_are_stored_once) {
    StoredModel model = small_model(true);
    model.configuration.encoder_layers = {{2, 1}};
    model.configuration.decoder_layers.reset();
    model.configuration.tied_weights = true;
    const ParameterLayout layout = layout_of(model);
    model.state.tensors = {filled(layout, -1.0F, 0.125F), filled(layout, 1.0F, -0.5F), filled(layout, 0.0F, 0.5F)};
    model.state.best_params = filled(layout, 9.0F, -0.25F);
    const std::string file = to_bytes(model);
    check_equal(from_bytes(file, "here"), model);
    CHECK(file.find("decoder.0.bias") != std::string::npos && file.find("decoder.0.weight") == std::string::npos);
}

TEST(the_history_of_a_penalty_is_stored_where_there_is_one) {
    StoredModel model = small_model(true);
    CHECK(to_bytes(model).find("history.penalty") == std::string::npos);
    model.configuration.code_l1 = 0.5;
    CHECK_THROWS(to_bytes(model), ErrorKind::value);
    model.state.history.penalty = {0.75, 0.5};
    model.state.penalty_sum = 0.125;
    const StoredModel read = from_bytes(to_bytes(model), "here");
    check_equal(read, model);
    CHECK(read.state.history.penalty == model.state.history.penalty && read.state.penalty_sum == 0.125);
    model.configuration.code_l1 = 0.0;
    CHECK_THROWS(to_bytes(model), ErrorKind::value);
}

TEST(only_what_training_state_asks_for_is_stored) {
    StoredModel model = small_model(true);
    const std::string with = to_bytes(model);
    model.has_training_state = false;
    const std::string without = to_bytes(model);
    CHECK(with.find("training.m.encoder.0.weight") != std::string::npos);
    CHECK(without.find("training.m") == std::string::npos && without.find("step_in_epoch") == std::string::npos);
    const StoredModel read = from_bytes(without, "here");
    CHECK(read.state.tensors.m.empty() && read.state.best_params.empty() && read.state.step == 7);
    CHECK(std::isinf(read.state.best_loss) && read.state.step_in_epoch == 0);

    // Each buffer may be there or not.
    for (unsigned present = 0; present < 8; ++present) {
        StoredModel partial = small_model(true);
        if ((present & 1U) == 0) partial.state.tensors.m.clear();
        if ((present & 2U) == 0) partial.state.tensors.v.clear();
        if ((present & 4U) == 0) partial.state.best_params.clear();
        check_equal(from_bytes(to_bytes(partial), "here"), partial);
    }
}

TEST(a_new_model_has_no_history) {
    StoredModel model = small_model(false);
    model.state.epoch = 0;
    model.state.history = {};
    model.feature_names.clear();
    const StoredModel read = from_bytes(to_bytes(model), "here");
    check_equal(read, model);
    CHECK(read.state.history.loss.empty());
}

TEST(the_format_is_what_it_was) {
    // A new text of the file needs a new kFormatVersion, and a reader for the old one.
    const std::string file = to_bytes(small_model(true));
    CHECK(file.substr(8, kDigestAt - 8) == R"({"__metadata__":{"digest":"sha256:)");
    CHECK((8 + header_length(file)) % 64 == 0);
    CHECK(file.find(R"(","format_version":"1","numerics_version":"1",)"
                    R"("isthmus":"{\"configuration\":{\"kind\":\"autoencoder\",)") == kDigestAt + 64);
    CHECK(file.find(R"("history.loss":{"dtype":"F64","shape":[2],"data_offsets":[0,16]})") != std::string::npos);
    CHECK(file.find(R"("encoder.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[64,88]})") != std::string::npos);
    CHECK(file.find(R"("encoder.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[88,96]})") != std::string::npos);
    CHECK(file.find(R"("training.best.decoder.1.bias":{"dtype":"F32","shape":[3],)") != std::string::npos);
    CHECK(file.substr(kDigestAt, 64) == "a23073494cf0fef9372bada624bfacb48eb6669a6c8d410e1416f3781387d28b");
    CHECK(to_bytes(small_model(false)).substr(kDigestAt, 64) ==
          "6d389aaf31917dec836ec70f02f4c282bb1e328f72ff808fa6b9acf3642f2e47");
}

TEST(every_truncation_is_refused) {
    for (const bool training : {false, true}) {
        const std::string file = to_bytes(small_model(training));
        for (std::size_t size = 0; size < file.size(); ++size) {
            const std::string cut = file.substr(0, size);
            CHECK(verdict(cut).starts_with("here: offset "));
            CHECK(verdict(sealed(cut)).starts_with("here: "));
        }
        counted("truncated files in C++", 2 * file.size());
        CHECK_VERDICT(file + '\0', "the digest is ");
        CHECK_VERDICT(sealed(file + '\0'), "1 bytes after the last tensor");
        CHECK_VERDICT(sealed(file + file), "bytes after the last tensor");
    }
}

TEST(every_bit_flip_is_refused) {
    for (const bool training : {false, true}) {
        std::string file = to_bytes(small_model(training));
        for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
            const auto flip = static_cast<char>(1U << (bit % 8));
            file[bit / 8] = static_cast<char>(file[bit / 8] ^ flip);
            CHECK(verdict(file).starts_with("here: offset "));
            file[bit / 8] = static_cast<char>(file[bit / 8] ^ flip);
        }
        counted("single bit flips in C++", 8 * file.size());
        CHECK(verdict(file) == "accepted");
    }
}

TEST(the_digest_is_mandatory) {
    const std::string file = to_bytes(small_model(false));
    CHECK_VERDICT("", "no digest");
    CHECK_VERDICT(std::string(7, '\0'), "no digest");
    CHECK_VERDICT(forged(file, "digest", "digets"), "no digest");
    CHECK_VERDICT(forged(file, "sha256", "sha512"), "no digest");
    CHECK_VERDICT(with_header(file, R"({"__metadata__":{"format_version":"1"}})"), "no digest");
    std::string upper = file;
    std::transform(upper.begin() + kDigestAt, upper.begin() + kDigestAt + 64, upper.begin() + kDigestAt,
                   [](char c) { return static_cast<char>(std::toupper(c)); });
    CHECK_VERDICT(upper, "offset " + std::to_string(kDigestAt) + ": the digest is not 64 hexadecimal digits");
    std::string zeroed = file;
    zeroed.replace(kDigestAt, 64, std::string(64, '0'));
    CHECK_VERDICT(zeroed, "offset " + std::to_string(kDigestAt) + ": the digest is 000000");
    CHECK_VERDICT(zeroed, file.substr(kDigestAt, 64));
}

TEST(values_that_no_training_leaves_are_refused) {
    const auto refusal = [](auto&& change) {
        StoredModel model = small_model(true);
        change(model.state);
        return store_error(model);
    };
    CHECK(refusal([](TrainingState& s) { s.tensors.params[4] = kNan; }) ==
          "the model cannot be stored: encoder.0.weight[1, 1] is nan; it must be finite");
    CHECK(refusal([](TrainingState& s) { s.tensors.params[17] = -kInf; }) ==
          "the model cannot be stored: encoder.0.bias[1] is -inf; it must be finite");
    CHECK(refusal([](TrainingState& s) { s.tensors.m[0] = kInf; }).find("training.m.encoder.0.weight[0, 0] is inf") !=
          std::string::npos);
    CHECK(refusal([](TrainingState& s) {
              s.tensors.v[0] = kNan;
          }).find("training.v.encoder.0.weight[0, 0] is nan; it must be at least 0") != std::string::npos);
    CHECK(refusal([](TrainingState& s) { s.tensors.v[0] = -1.0F; }).find("training.v.encoder.0.weight[0, 0] is -1.0") !=
          std::string::npos);
    CHECK(refusal([](TrainingState& s) { s.best_params[0] = kNan; }).find("training.best.encoder.0.weight[0, 0]") !=
          std::string::npos);
    CHECK(refusal([](TrainingState& s) {
              s.tensors.params.pop_back();
          }).find("*: there are 95 values, but the network takes 96") != std::string::npos);
    CHECK(refusal([](TrainingState& s) { s.tensors.m.push_back(0.0F); }).find("training.m.*: there are 97 values") !=
          std::string::npos);
    CHECK(refusal([](TrainingState& s) {
              s.history.loss.pop_back();
          }).find("history.loss has 1 entries, but epoch is 2") != std::string::npos);
    CHECK(refusal([](TrainingState& s) { s.history.val_loss.push_back(1.0); }).find("history.val_loss has 3") !=
          std::string::npos);
    CHECK(refusal([](TrainingState& s) { s.history.val_loss.clear(); }) == "stored");
    CHECK(refusal([](TrainingState& s) { s.step = -1; }).find("step must be an integer") != std::string::npos);
    CHECK(refusal([](TrainingState& s) { s.loss_sum = std::nan(""); }).find("loss_sum must be a number") !=
          std::string::npos);

    // The same values in a file.
    const std::string file = to_bytes(small_model(true));
    const std::size_t weight = 8 + header_length(file) + 64;
    for (const float value : {kNan, kInf, -kInf}) {
        std::string changed = file;
        std::memcpy(changed.data() + weight + 20, &value, 4);
        CHECK_VERDICT(sealed(changed), "encoder.0.weight[1, 2] is ");
    }
}

TEST(scaling_is_stored_and_checked) {
    StoredModel model = small_model(true);
    model.configuration.scaling = ScalingKind::standard;
    check_equal(from_bytes(to_bytes(model), "here"), model);  // not fitted yet
    model.scaling = {{1e9, -0.0, -1e-300}, {0.25, 1.0, 1e300}};
    const std::string file = to_bytes(model);
    check_equal(from_bytes(file, "here"), model);
    CHECK(file.find(R"("scaling.scale":{"dtype":"F64","shape":[3],)") != std::string::npos);

    std::string changed = file;
    const double zero = 0.0;
    std::memcpy(changed.data() + 8 + header_length(file) + 64 + 24 + 8, &zero, 8);
    CHECK_VERDICT(sealed(changed), "scaling.scale[1] is 0.0; it must be finite and above 0");
    CHECK_VERDICT(forged(file, "\"scaling.scale", "\"scaling.scalf"),
                  "tensor scaling.scale: shape must be [3]; got [0]");
    model.scaling.shift[2] = kInf;
    CHECK(store_error(model).find("scaling.shift[2] is inf; it must be finite") != std::string::npos);
    model.scaling = {{1.0, 2.0}, {1.0, 1.0}};
    CHECK(store_error(model).find("scaling.shift: shape must be [3]; got [2]") != std::string::npos);
    model.scaling = {{1.0, 2.0, 3.0}, {1.0, 1.0, 1.0}};
    model.configuration.scaling = std::nullopt;
    CHECK(store_error(model).find("does not belong to a model with scaling=None") != std::string::npos);
}

TEST(means_are_stored_and_checked) {
    StoredModel model = small_model(true);
    model.configuration.missing = Missing::mask;
    check_equal(from_bytes(to_bytes(model), "here"), model);  // not fitted yet
    model.means = {1e9, -0.0, -1e-300};
    const std::string file = to_bytes(model);
    check_equal(from_bytes(file, "here"), model);
    CHECK(file.find(R"("missing.mean":{"dtype":"F64","shape":[3],)") != std::string::npos);

    std::string changed = file;
    const double infinity = kInf;
    std::memcpy(changed.data() + 8 + header_length(file) + 64 + 8, &infinity, 8);
    CHECK_VERDICT(sealed(changed), "missing.mean[1] is inf; it must be finite");
    model.means.pop_back();
    CHECK(store_error(model).find("missing.mean: shape must be [3]; got [2]") != std::string::npos);
    model.configuration.missing = Missing::error;
    CHECK(store_error(model).find("does not belong to a model with missing=\"error\"") != std::string::npos);
}

TEST(a_detector_is_stored_and_checked) {
    StoredModel model = small_model(false);
    model.configuration.kind = ModelKind::anomaly_detector;
    check_equal(from_bytes(to_bytes(model), "here"), model);  // not trained yet
    model.calibration = {{0.5, 1.0, 2.0}, {-1.5}, {-3.0, -2.0}};
    check_equal(from_bytes(to_bytes(model), "here"), model);
    model.calibration.held_back = {};
    check_equal(from_bytes(to_bytes(model), "here"), model);
    model.calibration.held_back = {-2.0, -3.0};
    CHECK(store_error(model).find("detector.held_back must ascend") != std::string::npos);
    model.calibration = {{0.5, 0.0, 2.0}, {-1.5}, {}};
    CHECK(store_error(model).find("detector.spread[1] is 0.0; it must be finite and above 0") != std::string::npos);
    model.calibration = {{0.5, 1.0, 2.0}, {}, {}};
    CHECK(store_error(model).find("detector.offset: shape must be [1]; got [0]") != std::string::npos);
    model.calibration = {{0.5, 1.0, 2.0}, {-1.5}, {}};
    model.configuration.kind = ModelKind::autoencoder;
    CHECK(store_error(model).find("does not belong to an autoencoder") != std::string::npos);
}

TEST(models_that_could_not_be_read_are_not_written) {
    StoredModel model = small_model(false);
    model.feature_names = {"a", "b"};
    CHECK(store_error(model).find("feature_names must be None or 3 strings") != std::string::npos);
    model.feature_names = {"a", "b", "\xFF"};
    CHECK(store_error(model).find("invalid UTF-8") != std::string::npos);
    model.feature_names = {"a", "b", std::string(2000000, 'c')};
    CHECK(store_error(model).find("at most 1048576") != std::string::npos);
    model = small_model(false);
    model.configuration.batch_size = 0;
    CHECK(store_error(model).find("batch_size must be") != std::string::npos);
    model = small_model(false);
    model.n_features = 20;
    model.feature_names.clear();
    CHECK(store_error(model).find("values, but the network takes") != std::string::npos);
    model.n_features = 0;
    CHECK(store_error(model).find("n_features must be") != std::string::npos);
}
