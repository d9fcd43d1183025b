# The engine's tests in C: each tests/native/*.c is a program of its own, linked with the engine and the CRT and without
# Python, under the sanitizers that CUMULO_SANITIZE names. It passes when it exits with 0. Run by `make debug` with ctest.

enable_testing()
file(GLOB _native_tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/tests/native/*.c")

set(_sanitize "")
if(CUMULO_SANITIZE STREQUAL "address")
    set(_sanitize -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(CUMULO_SANITIZE)
    set(_sanitize "-fsanitize=${CUMULO_SANITIZE}")
endif()

# A sanitizer that this compiler or kernel can't run is left out with a word, not a failure.
if(_sanitize)
    include(CheckCSourceRuns)
    set(CMAKE_REQUIRED_FLAGS "${_sanitize}")
    string(REPLACE ";" " " CMAKE_REQUIRED_FLAGS "${CMAKE_REQUIRED_FLAGS}")
    check_c_source_runs("int main(void) { return 0; }" CUMULO_SANITIZER_RUNS)
    unset(CMAKE_REQUIRED_FLAGS)
    if(NOT CUMULO_SANITIZER_RUNS)
        message(WARNING "The ${CUMULO_SANITIZE} sanitizer does not run here: its tests are left out.")
        return()
    endif()
endif()

if(NOT CUMULO_ENGINE_SOURCES OR NOT _native_tests)
    return()
endif()
add_library(engine_under_test STATIC ${CUMULO_ENGINE_SOURCES})
cumulo_configure(engine_under_test)
target_compile_options(engine_under_test PRIVATE ${_sanitize})

foreach(source IN LISTS _native_tests)
    get_filename_component(name "${source}" NAME_WE)
    add_executable(${name} "${source}")
    target_link_libraries(${name} PRIVATE engine_under_test)
    cumulo_configure(${name})
    target_compile_options(${name} PRIVATE -Wall -Wextra ${_sanitize})
    target_link_options(${name} PRIVATE ${_sanitize})
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES
        TIMEOUT 120
        # Only what our own code says counts: the CRT is not instrumented.
        ENVIRONMENT "ASAN_OPTIONS=detect_leaks=1;UBSAN_OPTIONS=print_stacktrace=1;TSAN_OPTIONS=halt_on_error=1"
    )
endforeach()

# All of its tests run three times, once for each way to a file; under the thread sanitizer that takes two minutes.
set_tests_properties(test_engine_file PROPERTIES TIMEOUT 300)
