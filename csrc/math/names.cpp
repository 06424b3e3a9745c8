// SPDX-License-Identifier: Apache-2.0
#include "math/names.hpp"

#include <array>

#include "math/registry.hpp"

namespace isthmus::math {

namespace {

template <class... Ts>
constexpr std::array<std::string_view, sizeof...(Ts)> names_of(TypeList<Ts...>) {
    return {Ts::name...};
}

constexpr auto kActivations = names_of(Activations{});
constexpr auto kLosses = names_of(Losses{});
constexpr auto kOptimizers = names_of(Optimizers{});

// The rest have no formula and so no registry: arrays in the order of the enum, complete up to its last value.
constexpr std::array<std::string_view, 5> kSchedules = {"constant", "cosine", "linear", "exponential", "plateau"};
static_assert(kSchedules.size() == static_cast<std::size_t>(Schedule::plateau) + 1);
constexpr std::array<std::string_view, 2> kNoiseKinds = {"gaussian", "mask"};
static_assert(kNoiseKinds.size() == static_cast<std::size_t>(NoiseKind::mask) + 1);
constexpr std::array<std::string_view, 2> kScalingKinds = {"standard", "minmax"};
static_assert(kScalingKinds.size() == static_cast<std::size_t>(ScalingKind::minmax) + 1);
constexpr std::array<std::string_view, 2> kMissing = {"error", "mask"};
static_assert(kMissing.size() == static_cast<std::size_t>(Missing::mask) + 1);
constexpr std::array<std::string_view, 3> kPrecisions = {"float32", "tf32", "bfloat16"};
static_assert(kPrecisions.size() == static_cast<std::size_t>(Precision::bfloat16) + 1);
constexpr std::array<std::string_view, 2> kPenaltyKinds = {"code_l1", "kl"};
static_assert(kPenaltyKinds.size() == static_cast<std::size_t>(PenaltyKind::kl) + 1);
constexpr std::array<std::string_view, 3> kModelKinds = {"autoencoder", "anomaly_detector", "variational_autoencoder"};
static_assert(kModelKinds.size() == static_cast<std::size_t>(ModelKind::variational_autoencoder) + 1);

}  // namespace

template <>
std::span<const std::string_view> names<Activation>() {
    return kActivations;
}
template <>
std::span<const std::string_view> names<Loss>() {
    return kLosses;
}
template <>
std::span<const std::string_view> names<Optimizer>() {
    return kOptimizers;
}
template <>
std::span<const std::string_view> names<Schedule>() {
    return kSchedules;
}
template <>
std::span<const std::string_view> names<NoiseKind>() {
    return kNoiseKinds;
}
template <>
std::span<const std::string_view> names<ScalingKind>() {
    return kScalingKinds;
}
template <>
std::span<const std::string_view> names<Missing>() {
    return kMissing;
}
template <>
std::span<const std::string_view> names<Precision>() {
    return kPrecisions;
}
template <>
std::span<const std::string_view> names<PenaltyKind>() {
    return kPenaltyKinds;
}
template <>
std::span<const std::string_view> names<ModelKind>() {
    return kModelKinds;
}

}  // namespace isthmus::math
