/* Pacing: what a server that throttles does to those who ask it, to those who wait, and to nobody else. */
#include "support/engine.h"

#define MOST 600
#define SIZE (6 * MIB)

static struct server server;
static struct call calls[MOST];

static atomic_uint limit; /* above so many in flight the server throttles */
static atomic_uint in_flight, refused;
static atomic_int refusal;          /* its status */
static _Atomic(const char *) words; /* and its body */
static atomic_bool held;            /* while true, /held is not answered */
static atomic_uint order[MOST];     /* /n/<number>, as they came */
static atomic_uint came;

static const char SLOW_DOWN[] = "<Error><Code>SlowDown</Code><Message>Please slow down.</Message></Error>";
static const char WORDS_ONLY[] =
    "<Error><Code>ServiceUnavailable</Code><Message>Please reduce your request rate.</Message></Error>";

static bool s_refuse(struct exchange *x) {
    const char *text = atomic_load(&words);
    atomic_fetch_add(&refused, 1);
    return say(x, "HTTP/1.1 %d Busy\r\nContent-Length: %zu\r\n\r\n%s", atomic_load(&refusal), strlen(text), text);
}

static bool s_answer(struct exchange *x) {
    unsigned number;
    if (sscanf(x->path, "/n/%u", &number) == 1) {
        order[atomic_fetch_add(&came, 1)] = number;
    }
    while (strcmp(x->path, "/held") == 0 && atomic_load(&held) && !atomic_load(&x->server->stopping)) {
        check_sleep_ms(2);
    }
    check_sleep_ms(4);
    return send_object(x, strcmp(x->path, "/large") == 0 ? SIZE : 1000, "\"one\"");
}

static bool s_handle(struct exchange *x) {
    bool too_many = atomic_fetch_add(&in_flight, 1) >= atomic_load(&limit);
    bool goes_on = too_many ? s_refuse(x) : s_answer(x);
    atomic_fetch_sub(&in_flight, 1);
    return goes_on;
}

static void s_serve(unsigned most, int status, const char *text) {
    atomic_store(&limit, most);
    atomic_store(&refusal, status);
    atomic_store(&words, text);
    atomic_store(&refused, 0);
    atomic_store(&came, 0);
    atomic_store(&held, false);
}

static struct cml_client *s_client(const char *pace_key) {
    struct cml_client_options options = client_options(&server);
    options.pace_key = pace_key;
    options.max_connections = 64;
    options.max_retries = 50;
    return cml_client_new(&options);
}

static struct cml_lane_stats s_lane(struct cml_client *client, int writes) {
    struct cml_lane_stats lanes[2];
    cml_client_pace(client, lanes);
    return lanes[writes];
}

static void s_submit(struct call *call, struct cml_client *client, const char *method, const char *path) {
    call_new(call, client, method, path);
    call_submit(call);
}

static void s_all_end_well(int from, int to) {
    for (int i = from; i < to; ++i) {
        if (CHECK(call_wait(&calls[i], 4 * LONG_MS))) {
            CHECK_ERROR(calls[i].progress.error, CML_OK);
        }
        call_free(&calls[i]);
    }
}

/* How many were refused of so many requests, sent all at once. */
static unsigned s_round(struct cml_client *client, int count) {
    atomic_store(&refused, 0);
    for (int i = 0; i < count; ++i) {
        s_submit(&calls[i], client, "GET", "/object");
    }
    s_all_end_well(0, count);
    return atomic_load(&refused);
}

/* Down to one in flight, whatever is asked. */
static void s_throttle(struct cml_client *client) {
    struct call call;
    s_serve(0, 503, SLOW_DOWN);
    s_submit(&call, client, "GET", "/object");
    while (atomic_load(&refused) < 3) {
        drain(5);
    }
    atomic_store(&limit, UINT32_MAX);
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_OK);
    call_free(&call);
    CHECK_EQ(s_lane(client, 0).window, 1);
}

/* Somebody has the only slot, until `held` is false or it is cancelled. */
static void s_hold_the_slot(struct call *call, struct cml_client *client) {
    atomic_store(&held, true);
    s_submit(call, client, "GET", "/held");
    while (s_lane(client, 0).in_flight == 0) {
        drain(5);
    }
}

static void s_wait_for_line(struct cml_client *client, unsigned count) {
    double until = check_now_s() + LONG_MS / 1000.0;
    while (s_lane(client, 0).waiting != count && check_now_s() < until) {
        drain(5);
    }
    CHECK_EQ(s_lane(client, 0).waiting, count);
}

static void test_window(int status, const char *text) {
    section("a server that bears six in flight: the window finds that, few are refused then");
    check_detail = text;
    struct cml_client *client = s_client(NULL);
    CHECK_EQ(s_lane(client, 0).window, 0);
    s_serve(6, status, text);
    unsigned burst = s_round(client, 500); /* more than one loop takes before the next is used */
    CHECK(burst >= 12);                    /* of the first 64, as far as they come at once */
    unsigned later = s_round(client, 500);
    CHECK(later < 500 / 6);
    struct cml_lane_stats lane = s_lane(client, 0);
    CHECK(lane.window >= 1 && lane.window <= 16);
    CHECK_EQ(lane.in_flight, 0);
    CHECK_EQ(lane.waiting, 0);
    struct cml_client_stats stats;
    cml_client_stats(client, &stats);
    CHECK_EQ(stats.throttled, burst + later);
    cml_client_release(client);
}

static void test_grows(void) {
    section("the window grows again, to what is in use and not beyond");
    struct cml_client *client = s_client(NULL);
    s_throttle(client);
    s_round(client, 600);
    unsigned window = s_lane(client, 0).window;
    CHECK(window >= 10 && window <= 65); /* 600 is about the sum of 1 to 34 */
    for (int i = 0; i < 50; ++i) {
        s_round(client, 1);
    }
    CHECK_EQ(s_lane(client, 0).window, window);
    cml_client_release(client);
}

static void test_others_do_not_count(void) {
    section("errors that do not ask to slow down leave the window alone");
    static const int statuses[] = {500, 502, 503, 504, 408};
    struct cml_client *client = s_client(NULL);
    for (int i = 0; i < 5; ++i) {
        s_serve(0, statuses[i], "<Error><Code>ServiceUnavailable</Code></Error>");
        s_submit(&calls[0], client, "GET", "/object");
        while (atomic_load(&refused) < 3) {
            drain(5);
        }
        atomic_store(&limit, UINT32_MAX);
        s_all_end_well(0, 1);
    }
    CHECK_EQ(s_lane(client, 0).window, 0);
    cml_client_release(client);
}

static void test_shared(void) {
    section("clients of one bucket share a window; writes and other buckets have their own");
    struct cml_client *one = s_client("a"), *two = s_client("a"), *other = s_client("b");
    s_throttle(one);
    CHECK_EQ(s_lane(two, 0).window, 1);
    CHECK_EQ(s_lane(two, 1).window, 0);
    CHECK_EQ(s_lane(other, 0).window, 0);
    struct cml_lane_stats sum;
    cml_runtime_pace(&sum);
    CHECK_EQ(sum.window, 1);
    s_hold_the_slot(&calls[0], one);
    s_submit(&calls[1], two, "GET", "/object"); /* waits for it */
    s_submit(&calls[2], one, "PUT", "/object");
    s_submit(&calls[3], other, "GET", "/object");
    s_all_end_well(2, 4);
    CHECK_EQ(s_lane(one, 0).waiting, 1);
    CHECK_EQ(calls[1].ends, 0);
    atomic_store(&held, false);
    s_all_end_well(0, 2);
    cml_client_release(one);
    cml_client_release(two);
    cml_client_release(other);
    wait_for_live(CML_LIVE_CLIENTS, 0);
    one = s_client("a");
    CHECK_EQ(s_lane(one, 0).window, 0); /* forgotten with the last client */
    cml_client_release(one);
}

static void test_order(void) {
    section("who waits is served in order, whichever loop it is on");
    struct cml_client *client = s_client(NULL);
    s_throttle(client);
    s_hold_the_slot(&calls[400], client);
    char path[32];
    for (int i = 0; i < 400; ++i) {
        snprintf(path, sizeof(path), "/n/%d", i);
        s_submit(&calls[i], client, "GET", path);
    }
    s_wait_for_line(client, 400);
    atomic_store(&held, false);
    s_all_end_well(0, 401);
    int furthest = 0;
    for (int i = 0; i < 400; ++i) {
        int off = abs((int)atomic_load(&order[i]) - i);
        furthest = off > furthest ? off : furthest;
    }
    CHECK(furthest <= 150); /* the window comes to 28, and who has a turn may still need a connection */
    CHECK(atomic_load(&order[0]) < 28);
    cml_client_release(client);
}

static void test_leaving_the_line(void) {
    section("who waits can be cancelled and has its time limit; the next gets its turn all the same");
    struct cml_client *client = s_client(NULL);
    s_throttle(client);
    s_hold_the_slot(&calls[0], client);
    for (int i = 1; i < 200; ++i) {
        call_new(&calls[i], client, "GET", "/object");
        if (i % 4 == 1) {
            cml_request_set_timeout(calls[i].request, 200);
        }
        call_submit(&calls[i]);
    }
    for (int i = 2; i < 200; i += 4) {
        cml_request_cancel(calls[i].request);
    }
    for (int i = 1; i < 200; ++i) {
        if (i % 4 == 1 || i % 4 == 2) {
            CHECK(call_wait(&calls[i], LONG_MS));
            CHECK_ERROR(calls[i].progress.error, i % 4 == 1 ? CML_ERR_TOTAL_TIMEOUT : CML_ERR_CANCELLED);
        }
    }
    s_wait_for_line(client, 99);
    cml_request_cancel(calls[0].request); /* gives its slot to the first of them */
    for (int i = 0; i < 200; ++i) {
        CHECK(call_wait(&calls[i], LONG_MS));
        CHECK(i == 0 || i % 4 == 1 || i % 4 == 2 || calls[i].progress.error == CML_OK);
        call_free(&calls[i]);
    }
    atomic_store(&held, false);
    cml_client_release(client);
}

static void test_racing_cancels(void) {
    section("cancelled while slots are handed out: none is lost");
    struct cml_client *client = s_client(NULL);
    s_throttle(client);
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < 400; ++i) {
            s_submit(&calls[i], client, "GET", "/object");
        }
        for (int i = round; i < 400; i += 2) {
            drain(i % 50 == round ? 2 : 0);
            cml_request_cancel(calls[i].request);
        }
        for (int i = 0; i < 400; ++i) {
            CHECK(call_wait(&calls[i], 2 * LONG_MS));
            call_free(&calls[i]);
        }
    }
    CHECK_EQ(s_lane(client, 0).waiting, 0);
    CHECK_EQ(s_lane(client, 0).in_flight, 0);
    s_round(client, 20);
    cml_client_release(client);
}

static void test_paused_streams_hold_nothing(void) {
    section("streams that nobody reads do not keep others waiting");
    struct cml_client *client = s_client(NULL);
    s_throttle(client);
    for (int i = 0; i < 40; ++i) {
        call_new(&calls[i], client, "GET", "/large");
        cml_request_set_sink(calls[i].request, CML_SINK_STREAM, 0);
        cml_request_set_flags(calls[i].request, CML_FLAG_ANNOUNCE_HEADERS);
        call_submit(&calls[i]);
    }
    for (int i = 0; i < 40; ++i) {
        double until = check_now_s() + 4 * LONG_MS / 1000.0;
        while (!calls[i].progress.headers_ready && check_now_s() < until) {
            drain(20);
        }
        CHECK(calls[i].progress.headers_ready);
    }
    s_submit(&calls[40], client, "GET", "/object");
    s_all_end_well(40, 41);
    for (int i = 0; i < 40; ++i) {
        cml_request_cancel(calls[i].request);
        CHECK(call_wait(&calls[i], LONG_MS));
        call_free(&calls[i]);
    }
    cml_client_release(client);
}

int main(void) {
    engine_start(2, 128);
    server_start(&server, s_handle);
    test_window(503, SLOW_DOWN);
    test_window(429, "");
    test_window(503, WORDS_ONLY);
    test_grows();
    test_others_do_not_count();
    test_shared();
    test_order();
    test_leaving_the_line();
    test_racing_cancels();
    test_paused_streams_hold_nothing();
    return engine_end(&server);
}
