/* What every test program shares: CHECK, named sections, the exit status, and what the sanitizers are to leave out.
 *
 * A failed CHECK is printed and counted and the program goes on, so that one run shows all that is wrong. Any thread
 * may check. main() ends with `return check_report();`.
 */
#ifndef CML_TEST_CHECK_H
#define CML_TEST_CHECK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAYBE_UNUSED __attribute__((unused))

static atomic_uint check_failures;
static atomic_ulong check_count;
static const char *check_section = "", *check_detail = ""; /* what is being looked at; for failures */

static MAYBE_UNUSED void check_failed(const char *file, int line, const char *what) {
    if (atomic_fetch_add(&check_failures, 1) < 50) {
        fprintf(stderr, "FAILED %s:%d [%s] %s %s\n", file, line, check_section, check_detail, what);
    }
}

static MAYBE_UNUSED bool check_true(const char *file, int line, const char *what, bool holds) {
    atomic_fetch_add_explicit(&check_count, 1, memory_order_relaxed);
    if (!holds) {
        check_failed(file, line, what);
    }
    return holds;
}

#define CHECK(condition) check_true(__FILE__, __LINE__, #condition, (condition))

/* With the two values in the message: most of what fails here is a number that is not the one expected. */
#define CHECK_EQ(actual, expected) check_equal(__FILE__, __LINE__, #actual, (long long)(actual), (long long)(expected))

static MAYBE_UNUSED bool check_equal(const char *file, int line, const char *what, long long actual,
                                     long long expected) {
    atomic_fetch_add_explicit(&check_count, 1, memory_order_relaxed);
    if (actual == expected) {
        return true;
    }
    char text[300];
    snprintf(text, sizeof(text), "%s is %lld, expected %lld", what, actual, expected);
    check_failed(file, line, text);
    return false;
}

static MAYBE_UNUSED double check_now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static MAYBE_UNUSED void check_sleep_ms(unsigned ms) {
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
    nanosleep(&pause, NULL);
}

static double check_section_since;
static unsigned long check_section_count;

static MAYBE_UNUSED void check_end_section(void) {
    unsigned long count = atomic_load(&check_count);
    if (check_section[0] != 0) {
        printf("  %-72s %9lu checks %6.2f s\n", check_section, count - check_section_count,
               check_now_s() - check_section_since);
        fflush(stdout);
    }
    check_section_count = count;
    check_section_since = check_now_s();
}

/* Names what comes next, in the report and in failures. Main thread only. */
static MAYBE_UNUSED void section(const char *name) {
    check_end_section();
    check_section = name;
    check_detail = "";
}

static MAYBE_UNUSED int check_report(void) {
    check_end_section();
    unsigned failures = atomic_load(&check_failures);
    printf("%s: %lu checks, %u failed\n", failures ? "FAILED" : "passed", atomic_load(&check_count), failures);
    return failures ? 1 : 0;
}

/* A small generator of our own: the same walk on every machine for the same seed. */
static MAYBE_UNUSED uint64_t check_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
