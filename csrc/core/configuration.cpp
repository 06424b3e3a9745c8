// SPDX-License-Identifier: Apache-2.0
// kFields is the table: name, member and rule of each parameter, in the order of the struct. Reading, writing and the
// sentence of every error follow from it.
#include "core/configuration.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "core/parameter_rules.hpp"
#include "core/parameters.hpp"
#include "math/names.hpp"

namespace isthmus {
namespace {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

enum class None : std::uint8_t { refused, is_default };

template <class T, class Rule>
struct Field {
    std::string_view name;
    T Configuration::* member;
    Rule rule;
    None none = IsOptional<T>::value ? None::is_default : None::refused;
};
template <class T, class Rule>
Field(const char*, T Configuration::*, Rule) -> Field<T, Rule>;
template <class T, class Rule>
Field(const char*, T Configuration::*, Rule, None) -> Field<T, Rule>;

using C = Configuration;
constexpr LayerWidths kEncoderWidths{1};
constexpr LayerWidths kDecoderWidths{0};
constexpr Range<double> kBelowOne{0.0, 1.0, End::included, End::excluded};
// In float32 a smaller epsilon would be lost in Adam's denominator, and 0 / 0 is no update.
constexpr Range<double> kDenominator = number_of_at_least(std::numeric_limits<float>::min());
constexpr Range<double> kContamination{0.0, 0.5, End::excluded, End::included};
constexpr Range<std::int64_t> kVerbosity{0, 2};
constexpr Range<std::uint64_t> kSeed{0, std::numeric_limits<std::uint64_t>::max()};
// An epoch keys random numbers with 32 bits; a batch beyond 2^31 rows is a slip of the pen.
constexpr Range<std::int64_t> kCount = at_least(1, std::numeric_limits<std::int32_t>::max());

constexpr std::tuple kFields{
    Field{"kind", &C::kind, OneOf<ModelKind>{}},
    Field{"encoder_layers", &C::encoder_layers, kEncoderWidths},
    Field{"decoder_layers", &C::decoder_layers, kDecoderWidths},
    Field{"activation", &C::activation, OneOf<Activation>{}},
    Field{"code_activation", &C::code_activation, OneOf<Activation>{}},
    Field{"output_activation", &C::output_activation, OneOf<Activation>{}},
    Field{"loss", &C::loss, OneOf<Loss>{}},
    Field{"optimizer", &C::optimizer, OneOf<Optimizer>{}},
    Field{"learning_rate", &C::learning_rate, number_above(0.0)},
    Field{"beta_1", &C::beta_1, kBelowOne},
    Field{"beta_2", &C::beta_2, kBelowOne},
    Field{"epsilon", &C::epsilon, kDenominator},
    Field{"momentum", &C::momentum, kBelowOne},
    Field{"weight_decay", &C::weight_decay, number_of_at_least(0.0)},
    Field{"learning_rate_schedule", &C::learning_rate_schedule, OneOf<Schedule>{}, None::is_default},
    Field{"clip_norm", &C::clip_norm, number_above(0.0)},
    Field{"input_noise", &C::input_noise, number_of_at_least(0.0)},
    Field{"input_noise_kind", &C::input_noise_kind, OneOf<NoiseKind>{}},
    Field{"code_l1", &C::code_l1, number_of_at_least(0.0)},
    Field{"code_topk", &C::code_topk, at_least(1)},
    Field{"tied_weights", &C::tied_weights, TrueOrFalse{}},
    Field{"scaling", &C::scaling, OneOf<ScalingKind>{}},
    Field{"missing", &C::missing, OneOf<Missing>{}},
    Field{"batch_size", &C::batch_size, kCount},
    Field{"epochs", &C::epochs, kCount},
    Field{"shuffle", &C::shuffle, TrueOrFalse{}},
    Field{"validation_fraction", &C::validation_fraction, kBelowOne},
    Field{"patience", &C::patience, at_least(1)},
    Field{"min_delta", &C::min_delta, number_of_at_least(0.0)},
    Field{"restore_best", &C::restore_best, TrueOrFalse{}},
    Field{"precision", &C::precision, OneOf<Precision>{}},
    Field{"random_state", &C::random_state, kSeed},
    Field{"warm_start", &C::warm_start, TrueOrFalse{}},
    Field{"verbose", &C::verbose, kVerbosity},
    Field{"contamination", &C::contamination, kContamination},
    Field{"calibration_fraction", &C::calibration_fraction, kBelowOne},
    Field{"kl_weight", &C::kl_weight, number_of_at_least(0.0)},
};

template <class Visitor>
void for_each_field(Visitor&& visit) {
    std::apply([&](const auto&... fields) { (visit(fields), ...); }, kFields);
}

void check_names(const JsonObject& members) {
    for (const auto& member : members) {
        bool found = false;
        for_each_field([&](const auto& field) { found = found || field.name == member.first; });
        if (found) continue;
        std::string known;
        for_each_field([&](const auto& field) { known += (known.empty() ? "" : ", ") + std::string(field.name); });
        throw Error(ErrorKind::value, "unknown parameter " + show(Json(member.first)) + "; known are " + known);
    }
}

template <class T>
Json write(const T& value) {
    if constexpr (IsOptional<T>::value) {
        return value ? write(*value) : Json();
    } else if constexpr (std::is_enum_v<T>) {
        return Json(std::string(math::name(value)));
    } else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>) {
        return Json(JsonArray(value.begin(), value.end()));
    } else {
        return Json(value);
    }
}

// Rules that take more than one parameter.
void check_together(const Configuration& c) {
    if (c.loss == Loss::bce && c.output_activation && *c.output_activation != Activation::sigmoid) {
        refuse(ErrorKind::value, "output_activation", "None or \"sigmoid\" with loss=\"bce\"",
               Json(std::string(math::name(*c.output_activation))));
    }
    if (c.loss == Loss::bce && c.scaling == ScalingKind::standard) {
        refuse(ErrorKind::value, "scaling", "None or \"minmax\" with loss=\"bce\"", Json(std::string("standard")));
    }
    if (c.kind == ModelKind::variational_autoencoder) {
        const std::string here = " in a variational autoencoder";
        if (c.code_activation != Activation::linear) {
            refuse(ErrorKind::value, "code_activation", "\"linear\"" + here, write(c.code_activation));
        }
        if (c.code_l1 != 0.0) refuse(ErrorKind::value, "code_l1", "0" + here, Json(c.code_l1));
        if (c.code_topk) refuse(ErrorKind::value, "code_topk", "None" + here, write(c.code_topk));
        if (c.tied_weights) refuse(ErrorKind::value, "tied_weights", "False" + here, Json(true));
    }
    if (c.input_noise_kind == NoiseKind::mask && c.input_noise > 1.0) {
        refuse(ErrorKind::value, "input_noise", "at most 1 with input_noise_kind=\"mask\"", Json(c.input_noise));
    }
}

}  // namespace

Configuration defaults_of(ModelKind kind) {
    Configuration configuration;
    configuration.kind = kind;
    if (kind == ModelKind::anomaly_detector) {
        configuration.loss = Loss::huber;
        configuration.epochs = 20;
        configuration.scaling = ScalingKind::standard;
    }
    return configuration;
}

Configuration parse_configuration(const Json& object) {
    const auto* members = object.as<JsonObject>();
    if (!members) refuse(ErrorKind::type, "a configuration", "an object of parameters by name", object);
    check_names(*members);
    ModelKind kind = ModelKind::autoencoder;
    if (const Json* value = object.find("kind")) kind = OneOf<ModelKind>{}.read("kind", "", *value);
    Configuration configuration = defaults_of(kind);
    for_each_field([&](const auto& field) {
        const Json* value = object.find(field.name);
        const bool may_be_none = field.none == None::is_default;
        if (!value) return;
        if (may_be_none && value->is_null()) {
            configuration.*field.member = Configuration{}.*field.member;  // None, whatever the kind's default
            return;
        }
        configuration.*field.member = field.rule.read(std::string(field.name), may_be_none ? "None or " : "", *value);
    });
    check_together(configuration);
    return configuration;
}

Json to_json(const Configuration& configuration) {
    JsonObject members;
    for_each_field(
        [&](const auto& field) { members.emplace_back(std::string(field.name), write(configuration.*field.member)); });
    return Json(std::move(members));
}

Widths resolve_widths(const Configuration& configuration, std::int64_t n_features) {
    // The widths need not have come through parse_configuration.
    at_least(1).read("n_features", "", Json(n_features));
    std::vector<std::int64_t> encoder;
    if (configuration.encoder_layers) {
        encoder = kEncoderWidths.read("encoder_layers", "", write(*configuration.encoder_layers));
    } else {
        const std::int64_t code = std::clamp<std::int64_t>(n_features / 4, 1, 32);
        encoder = {std::min<std::int64_t>(128, 4 * code), code};
    }
    if (configuration.code_topk && *configuration.code_topk > encoder.back()) {
        refuse(ErrorKind::value, "code_topk", "None or at most the width of the code, " + show(Json(encoder.back())),
               Json(*configuration.code_topk));
    }
    const std::vector<std::int64_t> mirrored(encoder.rbegin() + 1, encoder.rend());
    std::vector<std::int64_t> decoder = mirrored;
    if (configuration.decoder_layers) {
        decoder = kDecoderWidths.read("decoder_layers", "", write(*configuration.decoder_layers));
    }
    if (configuration.tied_weights && decoder != mirrored) {
        refuse(ErrorKind::value, "decoder_layers",
               "None or " + show(write(mirrored)) + ", the mirror of encoder_layers=" + show(write(encoder)) +
                   ", with tied_weights=True",
               write(decoder));
    }

    Widths widths;
    widths.code = encoder.size();
    widths.tied = configuration.tied_weights;
    if (configuration.kind == ModelKind::variational_autoencoder) widths.code_parts = 2;
    widths.layers.push_back(n_features);
    widths.layers.insert(widths.layers.end(), encoder.begin(), encoder.end());
    widths.layers.insert(widths.layers.end(), decoder.begin(), decoder.end());
    widths.layers.push_back(n_features);
    parameter_layout(widths);  // throws when it does not fit
    return widths;
}

Activation resolve_output_activation(const Configuration& configuration) {
    return configuration.output_activation.value_or(configuration.loss == Loss::bce ? Activation::sigmoid
                                                                                    : Activation::linear);
}

UpdateRule update_rule(const Configuration& configuration) {
    return {
        .optimizer = configuration.optimizer,
        .beta_1 = configuration.beta_1,
        .beta_2 = configuration.beta_2,
        .epsilon = configuration.epsilon,
        .momentum = configuration.momentum,
        .weight_decay = configuration.weight_decay.value_or(configuration.optimizer == Optimizer::adamw ? 0.01 : 0.0),
        .clip_norm = configuration.clip_norm};
}

}  // namespace isthmus
