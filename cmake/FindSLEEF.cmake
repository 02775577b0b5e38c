# SPDX-License-Identifier: MIT
# Finds SLEEF (vector math) and its shared library's file and name, which the wheel carries.
# Defines SLEEF::sleef, SLEEF_RUNTIME (the file) and SLEEF_SONAME (the name it is loaded by).
find_path(SLEEF_INCLUDE_DIR sleef.h)
find_library(SLEEF_LIBRARY sleef)
if(SLEEF_LIBRARY)
  file(REAL_PATH "${SLEEF_LIBRARY}" SLEEF_RUNTIME)
  # libsleef.so.3.5.1 is loaded as libsleef.so.3
  string(REGEX REPLACE "^.*/(libsleef\\.so\\.[0-9]+).*$" "\\1" SLEEF_SONAME "${SLEEF_RUNTIME}")
endif()
if(SLEEF_INCLUDE_DIR)
  file(STRINGS "${SLEEF_INCLUDE_DIR}/sleef.h" _lines REGEX "#define SLEEF_VERSION_(MAJOR|MINOR|PATCHLEVEL) ")
  string(REGEX REPLACE "[^0-9;]" "" _numbers "${_lines}")
  list(JOIN _numbers "." SLEEF_VERSION)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(SLEEF REQUIRED_VARS SLEEF_LIBRARY SLEEF_INCLUDE_DIR VERSION_VAR SLEEF_VERSION
  REASON_FAILURE_MESSAGE "install it with: apt-get install libsleef-dev")
if(SLEEF_FOUND AND NOT TARGET SLEEF::sleef)
  add_library(SLEEF::sleef SHARED IMPORTED)
  set_target_properties(SLEEF::sleef PROPERTIES IMPORTED_LOCATION "${SLEEF_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${SLEEF_INCLUDE_DIR}"
    INTERFACE_COMPILE_DEFINITIONS "DUALTAPE_SLEEF_VERSION=\"${SLEEF_VERSION}\"")
endif()
