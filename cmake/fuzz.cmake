# SPDX-License-Identifier: Apache-2.0
# A build for libFuzzer: the library with coverage and sanitizers, and without the comparison of a model file's digest. It
# makes nothing that could be installed.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "ISTHMUS_FUZZ needs clang (CMAKE_CXX_COMPILER=clang++); this is ${CMAKE_CXX_COMPILER_ID}")
endif()
if(SKBUILD)
  message(FATAL_ERROR "ISTHMUS_FUZZ is for the fuzz targets alone: a package reads no file without its digest")
endif()
set(ISTHMUS_BASELINE_ONLY ON)
set(ISTHMUS_FUZZ_FLAGS -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
target_compile_options(isthmus_flags INTERFACE ${ISTHMUS_FUZZ_FLAGS} -fno-omit-frame-pointer -g)
target_compile_definitions(isthmus_flags INTERFACE ISTHMUS_FUZZ_SKIP_DIGEST)
target_link_options(isthmus_flags INTERFACE ${ISTHMUS_FUZZ_FLAGS})
