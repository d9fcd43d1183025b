# `_native`: Cython's output, the engine and the CRT in one shared object that exports PyInit__native and nothing else.

# Cython as a module of this Python, so that a build environment's own copy is the one that runs.
execute_process(
    COMMAND "${Python_EXECUTABLE}" -m cython --version
    RESULT_VARIABLE _cython_status OUTPUT_VARIABLE _cython_version ERROR_VARIABLE _cython_version
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE
)
if(NOT _cython_status EQUAL 0)
    message(FATAL_ERROR "${Python_EXECUTABLE} has no Cython: ${_cython_version}")
endif()
message(STATUS "${_cython_version}")

# Everything is included from the one .pyx, so a change to any of these is a change to its C file.
file(GLOB_RECURSE _cython_inputs CONFIGURE_DEPENDS
    "${CUMULO_EXTENSION_DIR}/*.pyx" "${CUMULO_EXTENSION_DIR}/*.pxi" "${CUMULO_EXTENSION_DIR}/*.pxd")
set(_native_c "${CMAKE_CURRENT_BINARY_DIR}/_native.c")
set(_cython_flags -3 --module-name cumulo._native -I "${CUMULO_EXTENSION_DIR}")
if(CUMULO_DEBUG)
    list(APPEND _cython_flags --line-directives)
endif()
add_custom_command(
    OUTPUT "${_native_c}"
    # Through a second name: an interrupted Cython must not leave something newer than its inputs.
    COMMAND "${Python_EXECUTABLE}" -m cython ${_cython_flags} -o "${_native_c}.new.c"
        "${CUMULO_EXTENSION_DIR}/_native.pyx"
    COMMAND "${CMAKE_COMMAND}" -E rename "${_native_c}.new.c" "${_native_c}"
    DEPENDS ${_cython_inputs}
    COMMENT "Cython extension/_native.pyx"
    VERBATIM
)

python_add_library(_native MODULE WITH_SOABI "${_native_c}" ${CUMULO_ENGINE_SOURCES})
cumulo_configure(_native)
set_target_properties(_native PROPERTIES LINK_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map")

# The CRT brings aws-lc's EVP_* and X509_* and s2n's s2n_*: visible, they could be taken for Python's OpenSSL's own, or for
# those of an `awscrt` in the same process.
if(APPLE)
    set(_exports "${CMAKE_CURRENT_BINARY_DIR}/exports.txt")
    file(WRITE "${_exports}" "_PyInit__native\n")
    target_link_options(_native PRIVATE "LINKER:-exported_symbols_list,${_exports}" "LINKER:-dead_strip")
else()
    target_link_options(_native PRIVATE
        "LINKER:--version-script=${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map"
        "LINKER:--exclude-libs,ALL" "LINKER:--gc-sections"
    )
endif()

install(TARGETS _native LIBRARY DESTINATION cumulo)
if(SKBUILD_METADATA_DIR AND EXISTS "${CUMULO_CRT_LICENSES}")
    install(DIRECTORY "${CUMULO_CRT_LICENSES}/" DESTINATION "${SKBUILD_METADATA_DIR}/licenses/crt")
endif()
