# SPDX-License-Identifier: Apache-2.0
# Whether this build has a CUDA part, and for which GPUs. Sets ISTHMUS_CUDA_FOUND and, unless they are given,
# CMAKE_CUDA_ARCHITECTURES; the compiler is that of CMAKE_CUDA_COMPILER, CUDACXX, the PATH, or CUDA's usual place.
#
#   AUTO  for the GPUs of this machine; none, or no nvcc: without CUDA, and a line says so
#   ON    for every GPU from sm_80 on: machine code for sm_80 and sm_90a, PTX for the others. No nvcc is an error
#   OFF   without
set(ISTHMUS_CUDA AUTO CACHE STRING "Build the CUDA device: AUTO (for the GPUs of this machine), ON (for all) or OFF")
set_property(CACHE ISTHMUS_CUDA PROPERTY STRINGS AUTO ON OFF)
set(ISTHMUS_CUDA_ARCHITECTURES_OF_ALL 80-real 80-virtual 90a-real)

# Architectures of the GPUs of this machine, as nvidia-smi names their compute capability; "" where there is none.
function(isthmus_native_architectures result)
  set(${result} "" PARENT_SCOPE)
  find_program(ISTHMUS_NVIDIA_SMI nvidia-smi HINTS /usr/lib/wsl/lib)
  mark_as_advanced(ISTHMUS_NVIDIA_SMI)
  if(NOT ISTHMUS_NVIDIA_SMI)
    return()
  endif()
  execute_process(COMMAND ${ISTHMUS_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
                  OUTPUT_VARIABLE capabilities ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    return()
  endif()
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" capabilities "${capabilities}")
  list(REMOVE_DUPLICATES capabilities)
  set(architectures "")
  foreach(capability IN LISTS capabilities)
    if(capability VERSION_EQUAL 9.0)
      list(APPEND architectures 90a-real)  # wgmma and TMA are of sm_90a alone
    elseif(capability VERSION_GREATER 9.0)
      list(APPEND architectures 80-virtual)  # the driver makes the code; this nvcc may not know the GPU
    elseif(capability VERSION_GREATER_EQUAL 8.0)
      list(APPEND architectures 80-real)  # the code of 8.0 runs on every 8.x
    endif()
  endforeach()
  list(REMOVE_DUPLICATES architectures)
  set(${result} "${architectures}" PARENT_SCOPE)
endfunction()

set(ISTHMUS_CUDA_FOUND FALSE)
if(ISTHMUS_CUDA STREQUAL "AUTO")
  set(isthmus_why_not "")
  isthmus_native_architectures(isthmus_architectures)
  if(NOT isthmus_architectures)
    set(isthmus_why_not "this machine has no GPU of compute capability 8.0 or newer")
  endif()
elseif(ISTHMUS_CUDA)
  set(isthmus_why_not "")
  set(isthmus_architectures ${ISTHMUS_CUDA_ARCHITECTURES_OF_ALL})
else()
  set(isthmus_why_not "ISTHMUS_CUDA=${ISTHMUS_CUDA}")
endif()
if(NOT isthmus_why_not AND CMAKE_VERSION VERSION_LESS 3.25.2)
  set(isthmus_why_not "CMake ${CMAKE_VERSION} does not know C++20 of nvcc; 3.25.2 does")
endif()

if(NOT isthmus_why_not)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(ISTHMUS_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
    mark_as_advanced(ISTHMUS_NVCC)
    if(ISTHMUS_NVCC)
      set(CMAKE_CUDA_COMPILER ${ISTHMUS_NVCC} CACHE FILEPATH "CUDA compiler")
    endif()
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES ${isthmus_architectures})  # in no cache: it follows ISTHMUS_CUDA
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0)
      set(isthmus_why_not "nvcc ${CMAKE_CUDA_COMPILER_VERSION} is older than 12.0")
    else()
      set(ISTHMUS_CUDA_FOUND TRUE)
    endif()
  else()
    set(isthmus_why_not "no nvcc was found (CMAKE_CUDA_COMPILER, CUDACXX, PATH, CUDA_HOME, /usr/local/cuda)")
  endif()
endif()

if(ISTHMUS_CUDA_FOUND)
  message(STATUS "isthmus: with CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")
elseif(ISTHMUS_CUDA STREQUAL "AUTO" OR NOT ISTHMUS_CUDA)
  message(STATUS "isthmus: without CUDA: ${isthmus_why_not}; ISTHMUS_CUDA=ON builds it for every GPU")
else()
  message(FATAL_ERROR "isthmus: ISTHMUS_CUDA=${ISTHMUS_CUDA}, but ${isthmus_why_not}")
endif()
