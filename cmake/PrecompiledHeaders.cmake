# GoogleTest and the standard library are most of a small test's compile time: parsed once a
# program. Off under ccache, which would miss on every file. Libraries and the command line gain
# nothing by it (measured with g++ 12): their time goes into code, not into parsing.
option(VRAMPLAN_PRECOMPILED_HEADERS "precompile library headers of tests" ON)
function(vramplan_precompile target)
  if(VRAMPLAN_PRECOMPILED_HEADERS AND NOT CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
    target_precompile_headers(${target} PRIVATE ${ARGN})
    # g++ 12 warns of its own string copies once they come precompiled (as GCC bug 105651).
    set(of_strings -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:${of_strings}>")
  endif()
endfunction()
