# Warnings, sanitizers and the helper that makes one library a folder.
add_library(vramplan_options INTERFACE)
set(warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wsign-compare -Wnon-virtual-dtor)
if(VRAMPLAN_WERROR)
  list(APPEND warnings -Werror)
endif()
target_compile_options(vramplan_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>"
  # g++ 12 reports impossible overlaps inside std::string (GCC bug 105651).
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>)
if(VRAMPLAN_SANITIZE)
  target_compile_options(vramplan_options INTERFACE -fsanitize=${VRAMPLAN_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(vramplan_options INTERFACE -fsanitize=${VRAMPLAN_SANITIZE})
endif()

# vramplan_library(<folder> [DEPENDS our folders...] [LINK third-party targets...])
# Every .cc of the folder and its sub-folders named in SUBDIRS.
function(vramplan_library folder)
  cmake_parse_arguments(A "" "" "DEPENDS;LINK;SUBDIRS" ${ARGN})
  set(patterns ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  foreach(sub ${A_SUBDIRS})
    list(APPEND patterns ${CMAKE_CURRENT_SOURCE_DIR}/${sub}/*.cc)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  add_library(vramplan_${folder} STATIC ${sources})
  add_library(vramplan::${folder} ALIAS vramplan_${folder})
  set_target_properties(vramplan_${folder} PROPERTIES EXPORT_NAME ${folder})
  target_include_directories(vramplan_${folder} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/vramplan>)
  target_compile_features(vramplan_${folder} PUBLIC cxx_std_20)
  target_link_libraries(vramplan_${folder} PRIVATE $<BUILD_INTERFACE:vramplan_options> ${A_LINK})
  foreach(dependency ${A_DEPENDS})
    target_link_libraries(vramplan_${folder} PUBLIC vramplan_${dependency})
  endforeach()
endfunction()
