/* What is worth another attempt and how long to wait for it: classification of every error code the CRT knows, of
 * statuses and S3's codes, and the bounds of the backoff.
 */
#include "engine/internal.h"
#include "support/check.h"

#include <aws/http/http.h>
#include <aws/io/io.h>

#define PACKAGES 20

static bool s_starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* By name, independently of the lists in retry.c: a certificate, a version or a handshake cannot heal. Of the others,
 * a peer that went away or was slow can, and a local failure to read or write is an ordinary reset. */
static bool s_is_tls_for_good(const char *name) {
    static const char *const passing[] = {"NEGOTIATION_TIMEOUT", "ALERT_NOT_GRACEFUL", "CLOSED_GRACEFUL",
                                          "CLOSED_ABORT", "READ_FAILURE", "WRITE_FAILURE", "INTERNAL_ERROR",
                                          "NOT_NEGOTIATED", "UNSUPPORTED"};
    if (!s_starts(name, "AWS_IO_TLS_")) {
        return false;
    }
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); ++i) {
        if (strstr(name, passing[i]) != NULL && strstr(name, "VERSION") == NULL) {
            return false;
        }
    }
    return true;
}

static bool s_one_of(int error, const int *set, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        if (set[i] == error) {
            return true;
        }
    }
    return false;
}

static void s_check_code(int code) {
    static const int at_connect[] = {CML_ERR_CONNECT, CML_ERR_DNS, CML_ERR_TLS, CML_ERR_PROXY,
                                     CML_ERR_CONNECT_TIMEOUT, CML_ERR_RESOURCES};
    static const int later[] = {CML_ERR_RESET, CML_ERR_PROTOCOL, CML_ERR_BODY_READ, CML_ERR_RESOURCES,
                                CML_ERR_STALL_TIMEOUT, CML_ERR_TLS};
    const char *name = aws_error_name(code);
    int connecting = cml_error_from_crt(code, true), after = cml_error_from_crt(code, false);
    CHECK(s_one_of(connecting, at_connect, 6));
    CHECK(s_one_of(after, later, 6));
    bool tls = connecting == CML_ERR_TLS;
    bool same = tls == s_is_tls_for_good(name) && tls == (after == CML_ERR_TLS);
    bool dns = (connecting == CML_ERR_DNS) == (s_starts(name, "AWS_IO_DNS_") && strstr(name, "CACHE") == NULL);
    if (!CHECK(same) || !CHECK(dns)) {
        fprintf(stderr, "  %s: %s, %s\n", name, cml_error_name(connecting), cml_error_name(after));
    }
}

static void test_every_code(void) {
    section("every error code of the CRT, while connecting and after");
    int known = 0;
    for (int code = 1; code < PACKAGES * (int)AWS_ERROR_ENUM_STRIDE; ++code) {
        s_check_code(code);
        known += strcmp(aws_error_name(code), "Unknown Error Code") != 0;
    }
    CHECK(known > 300); /* else the names were not registered and the walk says little */
    printf("  %d codes have names\n", known);
    CHECK_EQ(cml_error_from_crt(0, true), CML_OK);
    CHECK_EQ(cml_error_from_crt(0, false), CML_OK);
}

static void test_some_codes(void) {
    section("the codes that matter, one by one");
    CHECK_EQ(cml_error_from_crt(AWS_IO_SOCKET_CONNECTION_REFUSED, true), CML_ERR_CONNECT);
    CHECK_EQ(cml_error_from_crt(AWS_IO_SOCKET_NO_ROUTE_TO_HOST, true), CML_ERR_CONNECT);
    CHECK_EQ(cml_error_from_crt(AWS_IO_SOCKET_CLOSED, true), CML_ERR_CONNECT);
    CHECK_EQ(cml_error_from_crt(AWS_IO_SOCKET_TIMEOUT, true), CML_ERR_CONNECT_TIMEOUT);
    CHECK_EQ(cml_error_from_crt(AWS_IO_TLS_NEGOTIATION_TIMEOUT, true), CML_ERR_CONNECT_TIMEOUT);
    CHECK_EQ(cml_error_from_crt(AWS_ERROR_MAX_FDS_EXCEEDED, true), CML_ERR_RESOURCES);
    CHECK_EQ(cml_error_from_crt(AWS_ERROR_OOM, true), CML_ERR_RESOURCES);
    CHECK_EQ(cml_error_from_crt(AWS_ERROR_HTTP_PROXY_CONNECT_FAILED, true), CML_ERR_PROXY);
    CHECK_EQ(cml_error_from_crt(AWS_IO_SOCKET_CLOSED, false), CML_ERR_RESET);
    CHECK_EQ(cml_error_from_crt(AWS_ERROR_HTTP_CONNECTION_CLOSED, false), CML_ERR_RESET);
    CHECK_EQ(cml_error_from_crt(AWS_ERROR_HTTP_SERVER_CLOSED, false), CML_ERR_RESET);
    CHECK_EQ(cml_error_from_crt(AWS_ERROR_HTTP_PROTOCOL_ERROR, false), CML_ERR_PROTOCOL);
    CHECK_EQ(cml_error_from_crt(AWS_IO_STREAM_READ_FAILED, false), CML_ERR_BODY_READ);
    CHECK_EQ(cml_error_from_crt(AWS_ERROR_HTTP_OUTGOING_STREAM_LENGTH_INCORRECT, false), CML_ERR_BODY_READ);
}

static void test_retryable_errors(void) {
    section("which errors are tried again");
    static const int heal[] = {CML_ERR_CONNECT, CML_ERR_CONNECT_TIMEOUT, CML_ERR_STALL_TIMEOUT, CML_ERR_RESET,
                               CML_ERR_TRUNCATED, CML_ERR_PROTOCOL, CML_ERR_NO_LENGTH, CML_ERR_WRONG_RANGE,
                               CML_ERR_PROXY, CML_ERR_RESOURCES};
    for (int error = 0; error < CML_ERR_COUNT; ++error) {
        CHECK_EQ(cml_error_is_retryable(error), s_one_of(error, heal, sizeof(heal) / sizeof(heal[0])));
        CHECK(strcmp(cml_error_name(error), "unknown") != 0);
        for (int other = 0; other < error; ++other) {
            CHECK(strcmp(cml_error_name(error), cml_error_name(other)) != 0);
        }
    }
    CHECK(strcmp(cml_error_name(-1), "unknown") == 0 && strcmp(cml_error_name(CML_ERR_COUNT), "unknown") == 0);
    CHECK(!cml_error_is_retryable(-1) && !cml_error_is_retryable(12345));
}

static bool s_status(int status, const char *body) {
    struct cml_response response = {.status = status};
    return cml_status_is_retryable(&response, body, body != NULL ? strlen(body) : 0);
}

static void test_statuses(void) {
    section("statuses, with and without a body that says more");
    for (int status = 100; status < 600; ++status) {
        bool heals = status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
        CHECK_EQ(s_status(status, NULL), heals);
        if (status != 200) {
            CHECK_EQ(s_status(status, "<Error><Code>NoSuchKey</Code></Error>"), heals);
            CHECK_EQ(s_status(status, "plain text: SlowDown"), heals);
        }
    }
    CHECK(s_status(400, "<Error><Code>RequestTimeout</Code></Error>"));
    CHECK(!s_status(400, "<Error><Code>RequestTimeTooSkewed</Code></Error>"));
    CHECK(!s_status(403, "<Error><Code>RequestTimeout</Code></Error>"));
    CHECK(s_status(409, "<Error><Code>OperationAborted</Code></Error>"));
    CHECK(s_status(409, "<Error><Code>ConditionalRequestConflict</Code></Error>"));
    CHECK(!s_status(409, "<Error><Code>BucketNotEmpty</Code></Error>"));
    CHECK(s_status(403, "<Error><Code>SlowDown</Code></Error>"));
    CHECK(s_status(400, "<Error><Code>Throttling</Code></Error>"));
    CHECK(s_status(200, "<Error><Code>InternalError</Code></Error>"));
}

static void test_codes(void) {
    section("S3's code in a body: whole, cut, hidden, hostile");
    static const char body[] = "<?xml?><Error><Code>SlowDown</Code><Message>Code</Message></Error>";
    size_t length = sizeof(body) - 1;
    CHECK(cml_body_has_code(body, length, "SlowDown"));
    CHECK(!cml_body_has_code(body, length, "Slow"));
    CHECK(!cml_body_has_code(body, length, "SlowDownNow"));
    CHECK(!cml_body_has_code("<Code></Code>", 13, "SlowDown"));
    CHECK(!cml_body_has_code("<Code>A</Code><Code>SlowDown</Code>", 35, "SlowDown")); /* the first counts */
    CHECK(!cml_body_has_code(NULL, 0, "SlowDown"));
    for (size_t cut = 0; cut < length; ++cut) { /* an allocation of just that size: no byte beyond is read */
        char *part = malloc(cut + 1);
        memcpy(part, body, cut);
        char *exact = realloc(part, cut > 0 ? cut : 1);
        CHECK_EQ(cml_body_has_code(exact, cut, "SlowDown"), cut >= 28);
        free(exact);
    }
    uint64_t seed = 4711;
    for (int i = 0; i < 20000; ++i) {
        char noise[40];
        for (size_t at = 0; at < sizeof(noise); ++at) {
            noise[at] = "<Code>SlowDown/\0\377"[check_random(&seed) % 17];
        }
        cml_body_has_code(noise, check_random(&seed) % sizeof(noise), "SlowDown");
    }
}

static void s_check_backoff(const struct cml_client *client, uint32_t failures) {
    double cap = client->backoff_init_ms;
    for (uint32_t i = 0; i < failures && cap < client->backoff_max_ms; ++i) {
        cap *= client->backoff_base;
    }
    cap = cap > client->backoff_max_ms ? client->backoff_max_ms : cap;
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 200; ++i) {
        uint64_t wait = cml_backoff_ns(client, failures, -1);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    CHECK((double)least >= cap * 0.5e6 - 1 && (double)most <= cap * 1e6 + 1);
    CHECK(cap < 1 || (double)(most - least) > cap * 0.3e6); /* jitter does spread */
    CHECK_EQ(cml_backoff_ns(client, failures, 0) <= (uint64_t)(cap * 1e6), 1);
    for (int32_t asked = 1; asked < 100; asked += 7) {
        uint64_t wait = cml_backoff_ns(client, failures, asked), floor = (uint64_t)asked * 1000000000ull;
        CHECK(wait >= floor && (double)wait <= (double)floor + cap * 1e6);
    }
}

static void test_backoff(void) {
    section("backoff: bounds, jitter, what the server asked for");
    static const struct cml_client clients[] = {
        {.backoff_init_ms = 100, .backoff_max_ms = 15000, .backoff_base = 2},
        {.backoff_init_ms = 1, .backoff_max_ms = 1, .backoff_base = 2},
        {.backoff_init_ms = 500, .backoff_max_ms = 100, .backoff_base = 3},
        {.backoff_init_ms = 200, .backoff_max_ms = 60000, .backoff_base = 1},
        {.backoff_init_ms = 1000, .backoff_max_ms = UINT32_MAX, .backoff_base = 1e6},
    };
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); ++i) {
        for (uint32_t failures = 0; failures < 40; ++failures) {
            s_check_backoff(&clients[i], failures);
        }
        s_check_backoff(&clients[i], clients[i].backoff_base > 1 ? UINT32_MAX : 3);
    }
    struct cml_client none = {.backoff_init_ms = 0, .backoff_max_ms = 0, .backoff_base = 2};
    CHECK_EQ(cml_backoff_ns(&none, 5, -1), 0);
    CHECK(cml_backoff_ns(&none, 5, INT32_MAX) >= (uint64_t)INT32_MAX * 1000000000ull);
    CHECK_EQ(cml_backoff_ns(&none, 5, INT32_MIN), 0);
}

int main(void) {
    aws_http_library_init(aws_default_allocator()); /* registers the names */
    test_every_code();
    test_some_codes();
    test_retryable_errors();
    test_statuses();
    test_codes();
    test_backoff();
    return check_report();
}
