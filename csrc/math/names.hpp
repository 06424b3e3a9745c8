// SPDX-License-Identifier: Apache-2.0
// The names of every enum, as people write them. Those of activations, losses and optimizers come from the registries.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "isthmus/types.hpp"

namespace isthmus::math {

// All names, in the order of the enum. E is Activation, Loss, Optimizer, Schedule, NoiseKind, ScalingKind, Missing,
// Precision, PenaltyKind or ModelKind.
template <class E>
std::span<const std::string_view> names();

template <class E>
std::string_view name(E value) {
    return names<E>()[static_cast<std::size_t>(value)];
}

template <class E>
std::optional<E> parse(std::string_view text) {
    const std::span<const std::string_view> all = names<E>();
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (all[i] == text) return static_cast<E>(i);
    }
    return std::nullopt;
}

template <>
std::span<const std::string_view> names<Activation>();
template <>
std::span<const std::string_view> names<Loss>();
template <>
std::span<const std::string_view> names<Optimizer>();
template <>
std::span<const std::string_view> names<Schedule>();
template <>
std::span<const std::string_view> names<NoiseKind>();
template <>
std::span<const std::string_view> names<ScalingKind>();
template <>
std::span<const std::string_view> names<Missing>();
template <>
std::span<const std::string_view> names<Precision>();
template <>
std::span<const std::string_view> names<PenaltyKind>();
template <>
std::span<const std::string_view> names<ModelKind>();

}  // namespace isthmus::math
