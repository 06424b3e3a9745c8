// SPDX-License-Identifier: Apache-2.0
// Each constructor parameter, good and bad; the defaults; what follows from them for the network.
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "core/configuration.hpp"
#include "core/parameters.hpp"
#include "math/names.hpp"

using namespace isthmus;

namespace {

struct Case {
    std::vector<std::pair<std::string, std::string>> good;  // what is written, and what to_json makes of it
    std::vector<std::string> bad_values;
    std::vector<std::string> bad_types;
};

template <class E>
Case names_of() {
    Case names{{}, {R"("")", R"("Relu")", R"("relu ")", R"("\u0000")"}, {"0", "true", "[]", "{}", "1.5"}};
    for (const std::string_view name : math::names<E>()) {
        names.good.emplace_back('"' + std::string(name) + '"', '"' + std::string(name) + '"');
    }
    return names;
}

const std::vector<std::string> kNoNumbers = {"\"1\"", "true", "false", "[1]", "[]", "{}"};
const std::vector<std::string> kNoIntegers = {"\"3\"", "true", "false", "[1]", "{}", "1.5", "1.0", "nan", "inf", "1e3"};
const std::vector<std::string> kNoFlags = {"0", "1", "\"True\"", "0.0", "[]"};
const std::vector<std::string> kNoSequences = {"32",    "\"32\"", "true",    "{}",     "1.5",
                                               "[1.0]", "[true]", "[\"1\"]", "[null]", "[[1]]"};

Case with_none(Case c, const std::string& written = "null") {
    c.good.emplace_back("null", written);
    return c;
}

Case without_none(Case c) {
    c.bad_types.emplace_back("null");
    return c;
}

std::map<std::string, Case> cases() {
    const Case positive{{{"1e-3", "0.001"}, {"1", "1.0"}, {"1e30", "1e+30"}},
                        {"0", "-0.0", "-1", "nan", "inf", "-inf", "1e39", "18446744073709551615e30"},
                        kNoNumbers};
    const Case not_negative{
        {{"0", "0.0"}, {"0.5", "0.5"}, {"3", "3.0"}}, {"-1e-9", "-1", "nan", "inf", "-inf", "1e39"}, kNoNumbers};
    const Case below_one{{{"0", "0.0"}, {"0.999", "0.999"}},
                         {"1", "1.0", "-0.1", "nan", "inf", "-inf", "18446744073709551615"},
                         kNoNumbers};
    const Case count{
        {{"1", "1"}, {"2147483647", "2147483647"}}, {"0", "-1", "2147483648", "9223372036854775808"}, kNoIntegers};
    const Case flag{{{"true", "true"}, {"false", "false"}}, {}, kNoFlags};
    return {
        {"kind", without_none(names_of<ModelKind>())},
        {"encoder_layers", with_none({{{"[1]", "[1]"}, {"[128,32]", "[128,32]"}},
                                      {"[]", "[0]", "[4,-1]", "[9223372036854775808]"},
                                      kNoSequences})},
        {"decoder_layers",
         with_none({{{"[]", "[]"}, {"[3]", "[3]"}}, {"[0]", "[4,-1]", "[9223372036854775808]"}, kNoSequences})},
        {"activation", without_none(names_of<Activation>())},
        {"code_activation", without_none(names_of<Activation>())},
        {"output_activation", with_none(names_of<Activation>())},
        {"loss", without_none(names_of<Loss>())},
        {"optimizer", without_none(names_of<Optimizer>())},
        {"learning_rate", without_none(positive)},
        {"beta_1", without_none(below_one)},
        {"beta_2", without_none(below_one)},
        {"epsilon", without_none({{{"1e-8", "1e-08"}, {"1", "1.0"}}, {"0", "1e-39", "-1", "nan", "inf"}, kNoNumbers})},
        {"momentum", without_none(below_one)},
        {"weight_decay", with_none(not_negative)},
        {"learning_rate_schedule", with_none(names_of<Schedule>(), "\"constant\"")},
        {"clip_norm", with_none(positive)},
        {"input_noise", without_none(not_negative)},
        {"input_noise_kind", without_none(names_of<NoiseKind>())},
        {"code_l1", without_none(not_negative)},
        {"code_topk", with_none({{{"1", "1"}, {"9223372036854775807", "9223372036854775807"}},
                                 {"0", "-1", "9223372036854775808"},
                                 kNoIntegers})},
        {"tied_weights", without_none(flag)},
        {"scaling", with_none(names_of<ScalingKind>())},
        {"missing", without_none(names_of<Missing>())},
        {"batch_size", without_none(count)},
        {"epochs", without_none(count)},
        {"shuffle", without_none(flag)},
        {"validation_fraction", without_none(below_one)},
        {"patience", with_none({{{"1", "1"}, {"9223372036854775807", "9223372036854775807"}},
                                {"0", "-1", "9223372036854775808"},
                                kNoIntegers})},
        {"min_delta", without_none(not_negative)},
        {"restore_best", without_none(flag)},
        {"precision", without_none(names_of<Precision>())},
        {"random_state", with_none({{{"0", "0"}, {"18446744073709551615", "18446744073709551615"}},
                                    {"-1", "-9223372036854775808"},
                                    kNoIntegers})},
        {"warm_start", without_none(flag)},
        {"verbose", without_none({{{"0", "0"}, {"2", "2"}}, {"-1", "3", "18446744073709551615"}, kNoIntegers})},
        {"contamination", without_none({{{"0.5", "0.5"}, {"1e-9", "1e-09"}}, {"0", "0.51", "-1", "nan"}, kNoNumbers})},
        {"calibration_fraction", without_none(below_one)},
        {"kl_weight", without_none(not_negative)},
    };
}

// JSON, and the three numbers that JSON has not.
Json value_of(const std::string& text) {
    if (text == "nan") return Json(std::numeric_limits<double>::quiet_NaN());
    if (text == "inf") return Json(std::numeric_limits<double>::infinity());
    if (text == "-inf") return Json(-std::numeric_limits<double>::infinity());
    return parse_json(text);
}

Configuration parse_one(const std::string& name, const std::string& text) {
    JsonObject parameters;
    parameters.emplace_back(name, value_of(text));
    return parse_configuration(Json(std::move(parameters)));
}

std::string message_of(const std::string& json) {
    try {
        parse_configuration(parse_json(json));
        return "accepted";
    } catch (const Error& error) {
        return error.what();
    }
}

Configuration parse(const std::string& json) { return parse_configuration(parse_json(json)); }

void check_refused(const std::string& name, const std::string& text, ErrorKind kind) {
    try {
        parse_one(name, text);
        check::report(false, __FILE__, __LINE__, (name + "=" + text + " was accepted").c_str());
    } catch (const Error& error) {
        const std::string message = error.what();
        const bool says_it = message.starts_with(name) && message.find(" must be ") != std::string::npos &&
                             message.find("; got ") != std::string::npos;
        check::report(error.kind() == kind && says_it, __FILE__, __LINE__,
                      (name + "=" + text + ": " + message).c_str());
    }
}

}  // namespace

TEST(every_parameter_has_a_case) {
    const Json all = to_json(Configuration{});
    const auto& members = *all.as<JsonObject>();
    const auto table = cases();
    CHECK(members.size() == table.size());
    for (const auto& [name, value] : members) CHECK(table.contains(name));
}

TEST(good_values_are_kept) {
    for (const auto& [name, one] : cases()) {
        for (const auto& [written, expected] : one.good) {
            const Json json = to_json(parse_one(name, written));
            check::report(json.find(name)->dump() == expected, __FILE__, __LINE__, (name + "=" + written).c_str());
            CHECK(to_json(parse_configuration(json)).dump() == json.dump());
        }
    }
}

TEST(bad_values_are_refused) {
    for (const auto& [name, one] : cases()) {
        for (const std::string& text : one.bad_values) check_refused(name, text, ErrorKind::value);
        for (const std::string& text : one.bad_types) check_refused(name, text, ErrorKind::type);
    }
}

TEST(defaults_are_those_of_the_struct) {
    const Configuration none = parse("{}");
    CHECK(to_json(none).dump() == to_json(Configuration{}).dump());
    CHECK(
        to_json(none).dump() ==
        R"({"kind":"autoencoder","encoder_layers":null,"decoder_layers":null,"activation":"relu",)"
        R"("code_activation":"linear","output_activation":null,"loss":"mse","optimizer":"adam","learning_rate":0.001,)"
        R"("beta_1":0.9,"beta_2":0.999,"epsilon":1e-08,"momentum":0.0,"weight_decay":null,)"
        R"("learning_rate_schedule":"constant","clip_norm":null,"input_noise":0.0,"input_noise_kind":"gaussian",)"
        R"("code_l1":0.0,"code_topk":null,"tied_weights":false,"scaling":null,"missing":"error",)"
        R"("batch_size":256,"epochs":100,"shuffle":true,"validation_fraction":0.0,"patience":null,"min_delta":0.0,)"
        R"("restore_best":true,"precision":"float32","random_state":null,"warm_start":false,"verbose":0,)"
        R"("contamination":0.1,"calibration_fraction":0.0,"kl_weight":1.0})");
}

TEST(messages_say_what_is_allowed) {
    CHECK(message_of(R"({"batch_size":0})") == "batch_size must be an integer of at least 1; got 0");
    CHECK(message_of(R"({"batch_size":2147483648})") ==
          "batch_size must be an integer of at least 1 and at most 2147483647; got 2147483648");
    CHECK(message_of(R"({"epochs":1.5})") == "epochs must be an integer of at least 1; got 1.5");
    CHECK(message_of(R"({"verbose":3})") == "verbose must be an integer of at least 0 and at most 2; got 3");
    CHECK(message_of(R"({"patience":"3"})") == "patience must be None or an integer of at least 1; got \"3\"");
    CHECK(message_of(R"({"random_state":-1})") ==
          "random_state must be None or an integer of at least 0 and at most 18446744073709551615; got -1");
    CHECK(message_of(R"({"learning_rate":0})") == "learning_rate must be a number greater than 0; got 0");
    CHECK(message_of(R"({"learning_rate":null})") == "learning_rate must be a number greater than 0; got None");
    CHECK(message_of(R"({"beta_1":1})") == "beta_1 must be a number of at least 0 and less than 1; got 1");
    CHECK(message_of(R"({"shuffle":1})") == "shuffle must be True or False; got 1");
    CHECK(message_of(R"({"encoder_layers":32})") ==
          "encoder_layers must be None or a sequence of integers, not empty; got 32");
    CHECK(message_of(R"({"encoder_layers":[]})") ==
          "encoder_layers must be None or a sequence of integers, not empty; got []");
    CHECK(message_of(R"({"encoder_layers":[8,0]})") == "encoder_layers[1] must be an integer of at least 1; got 0");
    CHECK(message_of(R"({"encoder_layers":[true]})") == "encoder_layers[0] must be an integer of at least 1; got True");
    CHECK(message_of(R"({"loss":"mes"})") == R"(loss must be one of "mse", "bce", "mae", "huber"; got "mes")");
    CHECK(message_of(R"({"learning_rate_schedule":2})")
              .starts_with("learning_rate_schedule must be None or one of \"constant\""));
    CHECK(message_of(R"({"epoch":3})").starts_with("unknown parameter \"epoch\"; known are kind, encoder_layers, "));
    CHECK(message_of("[]").starts_with("a configuration must be an object"));
    CHECK(message_of(R"({"loss":")" + std::string(1000, 'x') + "\"}").size() < 200);
    CHECK_THROWS(parse(R"({"epoch":3})"), ErrorKind::value);
    CHECK_THROWS(parse("3"), ErrorKind::type);
}

TEST(bce_goes_with_sigmoid_only) {
    for (const std::string_view name : math::names<Activation>()) {
        const std::string json = R"({"loss":"bce","output_activation":")" + std::string(name) + "\"}";
        if (name == "sigmoid") {
            CHECK(message_of(json) == "accepted");
        } else {
            CHECK(message_of(json) ==
                  "output_activation must be None or \"sigmoid\" with loss=\"bce\"; got \"" + std::string(name) + "\"");
            CHECK_THROWS(parse(json), ErrorKind::value);
        }
    }
    CHECK(resolve_output_activation(parse(R"({"loss":"bce"})")) == Activation::sigmoid);
    CHECK(resolve_output_activation(parse(R"({"loss":"mae"})")) == Activation::linear);
    CHECK(resolve_output_activation(parse(R"({"output_activation":"tanh"})")) == Activation::tanh);
}

TEST(mask_noise_is_a_fraction) {
    CHECK(parse(R"({"input_noise":1,"input_noise_kind":"mask"})").input_noise == 1.0);
    CHECK(parse(R"({"input_noise":1.5})").input_noise == 1.5);
    CHECK(message_of(R"({"input_noise":1.5,"input_noise_kind":"mask"})") ==
          "input_noise must be at most 1 with input_noise_kind=\"mask\"; got 1.5");
    CHECK_THROWS(parse(R"({"input_noise":1.5,"input_noise_kind":"mask"})"), ErrorKind::value);
}

TEST(widths_have_defaults_and_mirror) {
    using Layers = std::vector<std::int64_t>;
    const auto layers = [](const std::string& json, std::int64_t n) { return resolve_widths(parse(json), n).layers; };
    CHECK((layers("{}", 1) == Layers{1, 4, 1, 4, 1}));
    CHECK((layers("{}", 7) == Layers{7, 4, 1, 4, 7}));
    CHECK((layers("{}", 64) == Layers{64, 64, 16, 64, 64}));
    CHECK((layers("{}", 127) == Layers{127, 124, 31, 124, 127}));
    CHECK((layers("{}", 784) == Layers{784, 128, 32, 128, 784}));
    CHECK((layers(R"({"encoder_layers":[32]})", 784) == Layers{784, 32, 784}));
    CHECK((layers(R"({"encoder_layers":[9,5,3]})", 10) == Layers{10, 9, 5, 3, 5, 9, 10}));
    CHECK((layers(R"({"encoder_layers":[9,5,3],"decoder_layers":[]})", 10) == Layers{10, 9, 5, 3, 10}));
    CHECK((layers(R"({"decoder_layers":[6,7,8]})", 64) == Layers{64, 64, 16, 6, 7, 8, 64}));
    CHECK(resolve_widths(parse("{}"), 64).code == 2);
    CHECK(resolve_widths(parse(R"({"encoder_layers":[3],"decoder_layers":[4,5]})"), 64).code == 1);
    CHECK_THROWS(resolve_widths(Configuration{}, 0), ErrorKind::value);
    CHECK_THROWS(resolve_widths(Configuration{}, -1), ErrorKind::value);
    Configuration unchecked;
    unchecked.encoder_layers = Layers{};
    CHECK_THROWS(resolve_widths(unchecked, 3), ErrorKind::value);
    unchecked.encoder_layers = Layers{4, -4};
    CHECK_THROWS(resolve_widths(unchecked, 3), ErrorKind::value);
    unchecked.encoder_layers = Layers{4};
    unchecked.decoder_layers = Layers{0};
    CHECK_THROWS(resolve_widths(unchecked, 3), ErrorKind::value);
}

TEST(tied_decoders_mirror_the_encoder) {
    const auto layers = [](const std::string& json) { return resolve_widths(parse(json), 64).layers; };
    CHECK((layers(R"({"tied_weights":true})") == layers("{}")));
    CHECK((layers(R"({"tied_weights":true,"encoder_layers":[9,5],"decoder_layers":[9]})").size() == 5));
    CHECK(resolve_widths(parse(R"({"tied_weights":true})"), 64).tied && !resolve_widths(parse("{}"), 64).tied);
    for (const char* decoder : {"[]", "[5]", "[9,9]"}) {
        const std::string json =
            std::string(R"({"tied_weights":true,"encoder_layers":[9,5],"decoder_layers":)") + decoder + "}";
        CHECK_THROWS(layers(json), ErrorKind::value);
        try {
            layers(json);
        } catch (const Error& error) {
            CHECK(error.what() ==
                  "decoder_layers must be None or [9], the mirror of encoder_layers=[9,5], with "
                  "tied_weights=True; got " +
                      std::string(decoder));
        }
    }
}

TEST(a_code_keeps_at_most_its_units) {
    const auto widths = [](const std::string& json) { return resolve_widths(parse(json), 64); };
    CHECK(widths(R"({"encoder_layers":[9,5],"code_topk":5})").layers.size() == 5);
    CHECK_THROWS(widths(R"({"encoder_layers":[9,5],"code_topk":6})"), ErrorKind::value);
    CHECK_THROWS(widths(R"({"code_topk":17})"), ErrorKind::value);
    try {
        widths(R"({"code_topk":17})");
    } catch (const Error& error) {
        CHECK(std::string(error.what()) == "code_topk must be None or at most the width of the code, 16; got 17");
    }
}

TEST(a_variational_autoencoder_refuses_by_name_what_it_has_not) {
    const auto message = [](const std::string& rest) {
        return message_of(R"({"kind":"variational_autoencoder",)" + rest + "}");
    };
    const std::string here = " in a variational autoencoder; got ";
    CHECK(message(R"("code_activation":"relu")") == "code_activation must be \"linear\"" + here + "\"relu\"");
    CHECK(message(R"("code_l1":0.5)") == "code_l1 must be 0" + here + "0.5");
    CHECK(message(R"("code_topk":3)") == "code_topk must be None" + here + "3");
    CHECK(message(R"("tied_weights":true)") == "tied_weights must be False" + here + "True");
    const Widths widths = resolve_widths(parse(R"({"kind":"variational_autoencoder","encoder_layers":[9,5]})"), 64);
    CHECK(widths.code_parts == 2 && widths.layers[2] == 5);
    CHECK(parameter_layout(widths).parameters[2].rows == 10 && parameter_layout(widths).parameters[4].cols == 5);
}

TEST(networks_too_large_to_address_are_refused) {
    const auto network = [](std::int64_t width, std::int64_t n) {
        Configuration configuration;
        configuration.encoder_layers = {{width}};
        return resolve_widths(configuration, n);
    };
    constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
    CHECK(network(1 << 30, 1 << 29).layers.size() == 3);                       // 2^60 weights, 2^62 bytes
    CHECK_THROWS(network(1 << 30, std::int64_t{1} << 30U), ErrorKind::value);  // 2^61 weights, 2^63 bytes
    CHECK_THROWS(network(kMax, 1), ErrorKind::value);
    CHECK_THROWS(network(1, kMax), ErrorKind::value);
    CHECK_THROWS(network(kMax, kMax), ErrorKind::value);
    // 2^64 weights: 0, if the product wrapped.
    CHECK_THROWS(network(std::int64_t{1} << 32U, std::int64_t{1} << 32U), ErrorKind::value);
    CHECK_THROWS(network(kMax / 4, 1), ErrorKind::value);
    try {
        network(3000000000, 4000000000);
        CHECK(false);
    } catch (const Error& error) {
        CHECK(error.what() == std::string("encoder_layers, decoder_layers: a network of widths "
                                          "[4000000000,3000000000,4000000000] takes 9.60e+19 bytes of weights; at most "
                                          "2^63 - 1 can be addressed"));
    }
}

TEST(parameters_lie_on_cache_lines) {
    const Widths widths = resolve_widths(parse(R"({"encoder_layers":[9,5,3],"decoder_layers":[17]})"), 10);
    const ParameterLayout layout = parameter_layout(widths);
    CHECK(layout.parameters.size() == 10);
    std::int64_t end = 0;
    for (std::size_t i = 0; i < layout.parameters.size(); ++i) {
        const Parameter& parameter = layout.parameters[i];
        CHECK(parameter.offset % 16 == 0 && parameter.offset >= end && parameter.offset < end + 16);
        CHECK(parameter.rows == widths.layers[i / 2 + 1]);
        CHECK(parameter.cols == (i % 2 == 0 ? widths.layers[i / 2] : 1));
        end = parameter.offset + parameter.size();
    }
    CHECK(layout.flat_size % 16 == 0 && layout.flat_size >= end && layout.flat_size < end + 16);
    const Widths tied = resolve_widths(parse(R"({"encoder_layers":[9,5,3],"tied_weights":true})"), 10);
    const ParameterLayout shared = parameter_layout(tied);
    CHECK(shared.parameters.size() == 9 && shared.layers.size() == 6);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(!shared.layers[i].transposed && shared.layers[5 - i].transposed);
        CHECK(shared.layers[i].weight == 2 * i && shared.layers[5 - i].weight == 2 * i);
        CHECK(shared.parameters[shared.layers[3 + i].bias].rows == tied.layers[4 + i]);
    }
    CHECK(parameter_names(tied)[5] == "encoder.2.bias" && parameter_names(tied)[8] == "decoder.2.bias");
    CHECK(parameter_name(0, 3, false) == "encoder.0.weight");
    CHECK(parameter_name(2, 3, true) == "encoder.2.bias");
    CHECK(parameter_name(3, 3, false) == "decoder.0.weight");
    CHECK(parameter_name(14, 3, true) == "decoder.11.bias");
}

TEST(update_rules_resolve_the_weight_decay) {
    CHECK(update_rule(parse("{}")).weight_decay == 0.0);
    CHECK(update_rule(parse(R"({"optimizer":"adamw"})")).weight_decay == 0.01);
    CHECK(update_rule(parse(R"({"optimizer":"adamw","weight_decay":0})")).weight_decay == 0.0);
    const UpdateRule rule =
        update_rule(parse(R"({"optimizer":"sgd","weight_decay":0.5,"beta_1":0.1,"beta_2":0.2,"epsilon":0.25,)"
                          R"("momentum":0.75,"clip_norm":2})"));
    CHECK(rule.optimizer == Optimizer::sgd && rule.weight_decay == 0.5 && rule.beta_1 == 0.1 && rule.beta_2 == 0.2);
    CHECK(rule.epsilon == 0.25 && rule.momentum == 0.75 && rule.clip_norm == 2.0);
}
