// SPDX-License-Identifier: Apache-2.0
// A shadow of the CUDA runtime, found before the real header when the sources of csrc/cuda are compiled by a C++
// compiler with ISTHMUS_CUDA_EMULATED. It has what those sources use and nothing else, so that what is missing here is
// seen at compile time. The environment chooses how adversarial a run is: see README.md.
#pragma once

#if !defined(ISTHMUS_CUDA_EMULATED)
#error "the emulator's cuda_runtime.h needs ISTHMUS_CUDA_EMULATED"
#endif

#include "cuda_emulator/device.hpp"
#include "cuda_emulator/hopper.hpp"
#include "cuda_emulator/launch.hpp"
#include "cuda_emulator/runtime_api.hpp"
#include "cuda_emulator/tensor_cores.hpp"
#include "cuda_emulator/types.hpp"
