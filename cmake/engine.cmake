# The C engine (extension/engine/*.c): its sources, and the flags that it is compiled with wherever it is compiled.

set(CUMULO_EXTENSION_DIR "${CMAKE_CURRENT_SOURCE_DIR}/extension")
file(GLOB CUMULO_ENGINE_SOURCES CONFIGURE_DEPENDS "${CUMULO_EXTENSION_DIR}/engine/*.c")

# Gives `target` the engine's settings. Warnings are on for our own C only, hence as an option of each source.
function(cumulo_configure target)
    target_include_directories(${target} PRIVATE "${CUMULO_EXTENSION_DIR}")
    target_compile_definitions(${target} PRIVATE CUMULO_DEBUG=$<BOOL:${CUMULO_DEBUG}>)
    if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
        target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
    endif()
    target_link_libraries(${target} PRIVATE cumulo::crt)
endfunction()

set(_engine_warnings -Wall -Wextra)
if(CUMULO_WERROR)
    list(APPEND _engine_warnings -Werror)
endif()
set_source_files_properties(${CUMULO_ENGINE_SOURCES} PROPERTIES COMPILE_OPTIONS "${_engine_warnings}")

# `make lint` builds this one: the engine again, with warnings as errors.
if(CUMULO_ENGINE_SOURCES)
    add_library(engine_lint OBJECT EXCLUDE_FROM_ALL ${CUMULO_ENGINE_SOURCES})
    cumulo_configure(engine_lint)
    target_compile_options(engine_lint PRIVATE -Werror)
else()
    add_custom_target(engine_lint)
endif()
