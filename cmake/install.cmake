# What users get: the program, one shared library with all folders inside, the public headers, and
# the files by which find_package(tern) and pkg-config find them. The libraries of the single
# folders are internal: nothing of them is installed or visible.
include(CMakePackageConfigHelpers)

foreach(folder base tensor formats hub quant kernels state model text engine demo)
  get_target_property(type tern_${folder} TYPE)
  if(NOT type STREQUAL "INTERFACE_LIBRARY")
    set_target_properties(tern_${folder} PROPERTIES CXX_VISIBILITY_PRESET hidden)
  endif()
endforeach()

# The sources that hold the public functions; the folders' libraries supply the rest.
add_library(tern_library SHARED src/engine/api.cpp src/engine/c_api.cpp src/base/error.cpp)
set_target_properties(tern_library PROPERTIES
  OUTPUT_NAME tern EXPORT_NAME tern CXX_VISIBILITY_PRESET hidden
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_compile_features(tern_library INTERFACE cxx_std_23)
target_include_directories(tern_library INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(tern_library PRIVATE tern_engine)
if(NOT APPLE)
  target_link_options(tern_library PRIVATE -Wl,--exclude-libs,ALL
                      -Wl,--version-script,${PROJECT_SOURCE_DIR}/cmake/tern.map)
  set_target_properties(tern_library PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/tern.map)
endif()
add_library(tern::tern ALIAS tern_library)

install(TARGETS tern_program COMPONENT program)
install(TARGETS tern_library EXPORT tern-targets COMPONENT library)
install(DIRECTORY include/tern DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tern)
install(EXPORT tern-targets NAMESPACE tern:: FILE tern-config.cmake DESTINATION ${package_dir}
        COMPONENT library)
write_basic_package_version_file(tern-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tern-config-version.cmake DESTINATION ${package_dir}
        COMPONENT library)
configure_file(cmake/tern.pc.in tern.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/tern.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
        COMPONENT library)
if(EXISTS ${PROJECT_SOURCE_DIR}/LICENSE)
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
