# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=nm -DLIBRARY=libisthmus.so -DHEADER=isthmus.h -P exports.cmake: the library shows the functions that the
# header declares, each of them, and nothing else.
execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE output RESULT_VARIABLE failed)
string(REGEX MATCHALL "[^ \n]+\n" exported "${output}")
list(TRANSFORM exported STRIP)
file(READ ${HEADER} text)
string(REGEX MATCHALL "ISTHMUS_API [^(]*[ *](isthmus_[a-z_]+)\\(" declarations "${text}")
list(TRANSFORM declarations REPLACE ".*[ *](isthmus_[a-z_]+)\\($" "\\1" OUTPUT_VARIABLE declared)
list(SORT exported)
list(SORT declared)
list(LENGTH declared count)
if(failed OR count LESS 30 OR NOT exported STREQUAL declared)
  message(FATAL_ERROR "${LIBRARY} exports\n${exported}\nand ${HEADER} declares\n${declared}")
endif()
