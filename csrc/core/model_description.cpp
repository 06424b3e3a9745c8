// SPDX-License-Identifier: Apache-2.0
#include "core/model_description.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/configuration.hpp"
#include "core/json.hpp"
#include "core/parameter_rules.hpp"

namespace isthmus {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Range<double> kNotNan{-kInfinity, kInfinity};
constexpr Range<double> kNotNegative{0.0, std::numeric_limits<double>::max()};
constexpr Range<double> kFactor{0.0, 1.0};  // 0 after a thousand halvings
// An epoch keys random numbers with 32 bits; the other counters stay exact in a double, as Adam's correction needs.
constexpr Range<std::int64_t> kEpoch{0, std::numeric_limits<std::uint32_t>::max()};
constexpr Range<std::int64_t> kCounter{0, std::int64_t{1} << 53U};
constexpr Range<std::uint64_t> kSeed{0, std::numeric_limits<std::uint64_t>::max()};

template <class T>
struct Counter {
    const char* name;
    T Counters::* member;
    Range<T> range;
};
template <class T>  // implied by C++20; clang before 17 does not know it
Counter(const char*, T Counters::*, Range<T>) -> Counter<T>;

constexpr std::tuple kCounters{
    Counter{"epoch", &Counters::epoch, kEpoch},
    Counter{"step", &Counters::step, kCounter},
    Counter{"seed", &Counters::seed, kSeed},
};
constexpr std::tuple kTrainingCounters{
    Counter{"step_in_epoch", &Counters::step_in_epoch, kCounter},
    Counter{"loss_sum", &Counters::loss_sum, kNotNan},
    Counter{"weight_sum", &Counters::weight_sum, kNotNegative},
    Counter{"penalty_sum", &Counters::penalty_sum, kNotNan},
    Counter{"seconds", &Counters::seconds, kNotNegative},
    Counter{"fit_first_epoch", &Counters::fit_first_epoch, kEpoch},
    Counter{"fit_first_step", &Counters::fit_first_step, kCounter},
    Counter{"fit_last_epoch", &Counters::fit_last_epoch, kEpoch},
    Counter{"plateau_factor", &Counters::plateau_factor, kFactor},
    Counter{"plateau_best", &Counters::plateau_best, kNotNan},
    Counter{"plateau_wait", &Counters::plateau_wait, kCounter},
    Counter{"best_loss", &Counters::best_loss, kNotNan},
    Counter{"best_wait", &Counters::best_wait, kCounter},
};

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorKind::model_format, what); }

// A double is the 16 hexadecimal digits of its bits: infinity is a value here, and JSON has none.
Json bits_of(double value) {
    auto bits = std::bit_cast<std::uint64_t>(value);
    std::string digits(16, '0');
    for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, bits >>= 4U) {
        *digit = "0123456789abcdef"[bits & 0xFU];
    }
    return Json(std::move(digits));
}

double from_bits(const std::string& name, const Json& value) {
    const auto* digits = value.as<std::string>();
    std::uint64_t bits = 0;
    if (digits && digits->size() == 16) {
        const auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), bits, 16);
        if (error == std::errc{} && end == digits->data() + digits->size()) return std::bit_cast<double>(bits);
    }
    fail(name + " must be the 16 hexadecimal digits of a double's bits; got " + summary(value));
}

const Json& member(const Json& object, const char* name) {
    const Json* found = object.find(name);
    if (!found) fail(std::string(name) + " is missing");
    return *found;
}

template <class Which>
void write_counters(const Progress& progress, const Which& counters, JsonObject& members) {
    const auto write = [&]<class T>(const Counter<T>& counter) {
        const T value = progress.*counter.member;
        if constexpr (std::is_same_v<T, double>) {
            members.emplace_back(counter.name, bits_of(value));
        } else {
            members.emplace_back(counter.name, Json(value));
        }
    };
    std::apply([&](const auto&... all) { (write(all), ...); }, counters);
}

template <class Which>
void read_counters(const Json& object, const Which& counters, Progress& progress) {
    const auto read = [&]<class T>(const Counter<T>& counter) {
        const Json& value = member(object, counter.name);
        if constexpr (std::is_same_v<T, double>) {
            progress.*counter.member = counter.range.read(counter.name, "", Json(from_bits(counter.name, value)));
        } else {
            progress.*counter.member = counter.range.read(counter.name, "", value);
        }
    };
    std::apply([&](const auto&... all) { (read(all), ...); }, counters);
}

std::vector<std::string> read_names(const Json& value, std::int64_t n_features) {
    std::vector<std::string> names;
    if (value.is_null()) return names;
    const auto* items = value.as<JsonArray>();
    for (std::size_t i = 0; items && i < items->size(); ++i) {
        if (const auto* name = (*items)[i].as<std::string>()) names.push_back(*name);
    }
    if (!items || names.size() != items->size() || static_cast<std::int64_t>(names.size()) != n_features) {
        refuse(ErrorKind::model_format, "feature_names", "None or " + std::to_string(n_features) + " strings", value);
    }
    return names;
}

}  // namespace

std::string describe(const StoredModel& model) {
    JsonObject members;
    members.emplace_back("configuration", to_json(model.configuration));
    members.emplace_back("n_features", Json(model.n_features));
    members.emplace_back("feature_names", Json());
    if (!model.feature_names.empty()) {
        members.back().second = Json(JsonArray(model.feature_names.begin(), model.feature_names.end()));
    }
    write_counters(model.state, kCounters, members);
    members.emplace_back("training", Json());
    if (model.has_training_state) {
        JsonObject training;
        write_counters(model.state, kTrainingCounters, training);
        training.emplace_back("data", to_json(model.state.data));
        members.back().second = Json(std::move(training));
    }
    return Json(std::move(members)).dump();
}

StoredModel parse_description(std::string_view text) {
    const Json object = parse_json(text);
    StoredModel model;
    model.configuration = parse_configuration(member(object, "configuration"));
    model.n_features = at_least(1).read("n_features", "", member(object, "n_features"));
    model.feature_names = read_names(member(object, "feature_names"), model.n_features);
    read_counters(object, kCounters, model.state);
    const Json& training = member(object, "training");
    model.has_training_state = !training.is_null();
    if (model.has_training_state) {
        read_counters(training, kTrainingCounters, model.state);
        model.state.data = parse_data_print(member(training, "data"));
    }

    const std::string expected = describe(model);
    if (text != expected) {
        const auto differs = std::mismatch(text.begin(), text.end(), expected.begin(), expected.end()).first;
        fail("JSON, offset " + std::to_string(differs - text.begin()) + ": not written as isthmus writes it");
    }
    return model;
}

}  // namespace isthmus
