# Rules of the house, the installed package, and the header self-containment build.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
foreach(check includes mirror lengths libraries words format self)
  add_test(NAME repository.${check} COMMAND ${Python3_EXECUTABLE}
    ${CMAKE_CURRENT_SOURCE_DIR}/repository/house_rules.py ${PROJECT_SOURCE_DIR} ${check})
endforeach()
add_test(NAME package.outside_project COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/package/run.sh
  ${PROJECT_BINARY_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/package)
set_tests_properties(package.outside_project PROPERTIES TIMEOUT 300)

# Every public header compiles alone: one with a .cc of its name does so there, as its first include
# (repository.includes holds to that).
file(GLOB headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
  ${PROJECT_SOURCE_DIR}/modelcards/*.h ${PROJECT_SOURCE_DIR}/planner/*.h ${PROJECT_SOURCE_DIR}/kernels/*.h
  ${PROJECT_SOURCE_DIR}/executor/*.h ${PROJECT_SOURCE_DIR}/reports/*.h)
set(header_sources "")
foreach(header ${headers})
  string(REGEX REPLACE "\\.h$" ".cc" twin ${header})
  if(EXISTS ${PROJECT_SOURCE_DIR}/${twin})
    continue()
  endif()
  string(REPLACE "/" "_" name ${header})
  set(file ${PROJECT_BINARY_DIR}/headers/${name}.cc)
  if(NOT EXISTS ${file})
    file(WRITE ${file} "#include \"${header}\"\n")
  endif()
  list(APPEND header_sources ${file})
endforeach()
add_library(header_check OBJECT ${header_sources})
target_compile_options(header_check PRIVATE -O0)
target_link_libraries(header_check PRIVATE vramplan_options vramplan_reports nlohmann_json::nlohmann_json)
