// SPDX-License-Identifier: Apache-2.0
// A registry is one list of types, in the order of its enum; visit turns the run-time enum into the type, on the host:
// a kernel is a template over the type.
#pragma once

#include <cstddef>

#include "math/host_device.hpp"

namespace isthmus::math {

template <class... Ts>
struct TypeList {
    static constexpr std::size_t size = sizeof...(Ts);
};

// f(T{}) for the T of the list whose id is `id`, and what f returns; every f(T{}) returns the same type. The enum is
// closed and the list complete, so the last type needs no comparison.
template <class First, class... Rest, class Id, class F>
ISTHMUS_HOST auto visit(TypeList<First, Rest...>, Id id, F&& f) {
    if constexpr (sizeof...(Rest) > 0) {
        if (id != First::id) return visit(TypeList<Rest...>{}, id, f);
    }
    return f(First{});
}

// Whether the ids of the list are 0, 1, 2 ... up to `last`: in the order of the enum, and all of it.
template <class Id, class... Ts>
constexpr bool covers(TypeList<Ts...>, Id last) {
    std::size_t next = 0;
    return ((static_cast<std::size_t>(Ts::id) == next++) && ...) && next == static_cast<std::size_t>(last) + 1;
}

}  // namespace isthmus::math
