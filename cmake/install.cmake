# What `cmake --install` and `cpack` make: the program with its models, libcadre with its headers and CMake package, the man page
# and the shell completion; as one Debian package.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Every floor but the command line, in one shared library of the same objects as the program.
get_property(floors GLOBAL PROPERTY CADRE_FLOORS)
add_library(libcadre SHARED)
foreach(floor ${floors})
  target_sources(libcadre PRIVATE $<TARGET_OBJECTS:cadre_${floor}>)
endforeach()
set_target_properties(libcadre PROPERTIES OUTPUT_NAME cadre EXPORT_NAME cadre LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_libraries(libcadre
  PRIVATE PkgConfig::sentencepiece PkgConfig::zstd PkgConfig::zlib PkgConfig::uring PkgConfig::libcurl PkgConfig::openssl
  PUBLIC fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json Threads::Threads)
target_compile_features(libcadre PUBLIC cxx_std_20)
target_include_directories(libcadre PUBLIC $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/cadre>)

install(TARGETS libcadre EXPORT cadre-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT cadre-targets NAMESPACE cadre:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cadre)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cadre FILES_MATCHING PATTERN "*.h"
  PATTERN "cli" EXCLUDE PATTERN "*_inl.h" EXCLUDE PATTERN "*test*" EXCLUDE)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/cadre-config.cmake.in ${PROJECT_BINARY_DIR}/cadre-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cadre)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cadre-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cadre-config.cmake ${PROJECT_BINARY_DIR}/cadre-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cadre)
install(FILES ${PROJECT_SOURCE_DIR}/docs/cadre.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_SOURCE_DIR}/completions/cadre DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME cadre)
set(CPACK_PACKAGE_VENDOR "The Cadre authors")
set(CPACK_PACKAGE_CONTACT "The Cadre authors <cadre@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Mixture-of-Experts language models of the Mixtral family")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libfmt-dev, libspdlog-dev, nlohmann-json3-dev, cmake")
include(CPack)
