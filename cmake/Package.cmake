# cmake --install: the program, the libraries with their headers, and a package that
# find_package(vramplan) reads. tests/package builds an outside project against it.
include(CMakePackageConfigHelpers)
set(vramplan_libraries vramplan_modelcards vramplan_planner vramplan_kernels vramplan_executor vramplan_reports)
if(TARGET vramplan_cuda)
  list(APPEND vramplan_libraries vramplan_cuda)
endif()
install(TARGETS ${vramplan_libraries} EXPORT vramplanTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(folder modelcards planner kernels executor reports)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vramplan
    FILES_MATCHING PATTERN "*.h")
endforeach()
set(package_directory ${CMAKE_INSTALL_LIBDIR}/cmake/vramplan)
install(EXPORT vramplanTargets NAMESPACE vramplan:: DESTINATION ${package_directory})
configure_package_config_file(cmake/vramplanConfig.cmake.in
  ${PROJECT_BINARY_DIR}/vramplanConfig.cmake INSTALL_DESTINATION ${package_directory})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vramplanConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vramplanConfig.cmake ${PROJECT_BINARY_DIR}/vramplanConfigVersion.cmake
  DESTINATION ${package_directory})
