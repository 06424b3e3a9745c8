# SPDX-License-Identifier: Apache-2.0
# cmake -DOBJDUMP=objdump -DOBJECTS="a.o;b.o" -P avx_free.cmake: no instruction in these objects is one of AVX or later,
# which would end a program on a CPU without it: their names begin with v, their registers are ymm, zmm and k.
# -DPLANTED=avx2.o is an object in which that is found, or the test could not fail.
function(count_avx objects result)
  execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${objects}
                  COMMAND grep -cE "\tv[a-z]|%[yz]mm[0-9]|%k[0-7]"
                  OUTPUT_VARIABLE count OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(${result} ${count} PARENT_SCOPE)
endfunction()

count_avx("${PLANTED}" planted)
if(NOT planted GREATER 100)
  message(FATAL_ERROR "of the AVX instructions of ${PLANTED} ${planted} were found")
endif()
foreach(object IN LISTS OBJECTS)
  count_avx("${object}" found)
  if(NOT found EQUAL 0)
    message(FATAL_ERROR "${object} has ${found} instructions of AVX or later")
  endif()
endforeach()
