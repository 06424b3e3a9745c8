// SPDX-License-Identifier: Apache-2.0
#include "core/resumption.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/configuration.hpp"
#include "core/fingerprint.hpp"
#include "core/parameter_rules.hpp"

namespace isthmus {
namespace {

// They change no bit of a fit that is resumed; epochs may only grow.
constexpr std::array<std::string_view, 3> kMayChange = {"epochs", "warm_start", "verbose"};

std::vector<std::string> differences(const Configuration& before, const Configuration& now, std::int64_t last_epoch,
                                     std::int64_t first_epoch) {
    std::vector<std::string> found;
    const Json old_json = to_json(before);
    const Json new_json = to_json(now);
    for (const auto& [name, old_value] : *old_json.as<JsonObject>()) {
        const Json& new_value = *new_json.find(name);
        if (std::ranges::find(kMayChange, name) != kMayChange.end() || old_value.dump() == new_value.dump()) continue;
        found.push_back(name + " was " + show(old_value) + " and now is " + show(new_value));
    }
    const std::int64_t epochs = last_epoch - first_epoch;
    if (now.epochs < epochs) {
        found.push_back("epochs was " + std::to_string(epochs) + " and now is " + std::to_string(now.epochs));
    }
    return found;
}

}  // namespace

void check_resumable(const Configuration& before, const TrainingState& state, const Configuration& now,
                     const Samples& training, const Samples* validation, Stop* stop) {
    if (state.fit_last_epoch == 0) {
        throw Error(ErrorKind::value, "there is no fit to resume: none was interrupted");
    }
    std::vector<std::string> found = differences(before, now, state.fit_last_epoch, state.fit_first_epoch);
    if (!state.data.empty()) {
        const std::vector<std::string> of_data = differences(state.data, print_of(training, validation, stop));
        found.insert(found.end(), of_data.begin(), of_data.end());
    }
    if (found.empty()) return;
    std::string all;
    for (const std::string& each : found) all += (all.empty() ? "" : "; ") + each;
    throw Error(ErrorKind::value, "the fit cannot be resumed, since it was begun otherwise: " + all +
                                      ". Only epochs (upward), max_seconds, max_memory, device, n_threads, warm_start, "
                                      "verbose and callbacks may change");
}

}  // namespace isthmus
