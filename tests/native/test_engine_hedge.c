/* Hedging: when a twin is sent, that its answer is used, and that nothing of either is left. */
#include "support/engine.h"

#define MOST 400
#define SIZE (40 * KIB)

static struct server server;
static struct call calls[MOST];
static uint8_t *rooms[MOST];

static atomic_uint slow_first; /* so many requests to /slow are not answered before the client leaves */
static atomic_uint slow_ms;    /* and so long is each other request to it */
static atomic_uint abandoned, to_slow, one_in;
static atomic_bool twin_fails;

static bool s_abandoned(struct exchange *x) {
    hang(x);
    atomic_fetch_add(&abandoned, 1);
    return false;
}

static bool s_handle(struct exchange *x) {
    unsigned every = atomic_load(&one_in);
    if (strcmp(x->path, "/slow") == 0) {
        unsigned number = atomic_fetch_add(&to_slow, 1);
        if (number < atomic_load(&slow_first)) {
            return s_abandoned(x);
        }
        if (number == 1 && atomic_load(&twin_fails)) {
            return say(x, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
        }
        check_sleep_ms(atomic_load(&slow_ms));
    } else if (every != 0 && x->number % every == 0) {
        check_sleep_ms(60);
    }
    return send_object(x, SIZE, "\"one\"");
}

static void s_serve(unsigned first, unsigned ms) {
    atomic_store(&slow_first, first);
    atomic_store(&slow_ms, ms);
    atomic_store(&to_slow, 0);
    atomic_store(&abandoned, 0);
    atomic_store(&twin_fails, false);
    atomic_store(&one_in, 0);
}

static struct cml_client *s_client(bool hedge) {
    struct cml_client_options options = client_options(&server);
    options.hedge = hedge;
    options.max_connections = 32;
    return cml_client_new(&options);
}

static struct cml_client_stats learnt; /* as it was then: on a busy machine, learning has its own slow answers */

/* Since the client has learnt. */
static struct cml_client_stats s_stats(struct cml_client *client) {
    struct cml_client_stats stats;
    cml_client_stats(client, &stats);
    stats.requests -= learnt.requests;
    stats.attempts -= learnt.attempts;
    stats.hedges -= learnt.hedges;
    stats.hedges_won -= learnt.hedges_won;
    return stats;
}

static void s_submit(int i, struct cml_client *client, const char *path) {
    call_new(&calls[i], client, "GET", path);
    rooms[i] = call_into_buffer(&calls[i], SIZE);
    call_submit(&calls[i]);
}

static void s_end_well(int i) {
    if (CHECK(call_wait(&calls[i], LONG_MS))) {
        CHECK_ERROR(calls[i].progress.error, CML_OK);
        CHECK(is_pattern(rooms[i], 0, SIZE));
    }
    call_free(&calls[i]);
    free(rooms[i]);
}

/* So many quick answers, one after the other: all of them on the first loop. */
static void s_ask(struct cml_client *client, int count) {
    for (int i = 0; i < count; ++i) {
        s_submit(0, client, "/object");
        s_end_well(0);
    }
}

/* Until a run of answers has used up no twin for itself: then some are saved up, and what is slow is really slow. */
static void s_learn(struct cml_client *client) {
    for (int round = 0; round < 20; ++round) {
        struct cml_client_stats before;
        cml_client_stats(client, &before);
        s_ask(client, 150);
        cml_client_stats(client, &learnt);
        if (learnt.hedges == before.hedges) {
            break;
        }
    }
}

static void s_wait_for(atomic_uint *what, unsigned count) {
    double until = check_now_s() + LONG_MS / 1000.0;
    while (atomic_load(what) < count && check_now_s() < until) {
        drain(5);
    }
    CHECK(atomic_load(what) >= count);
}

static void test_off(void) {
    section("off: nothing is sent twice");
    struct cml_client *client = s_client(false);
    s_serve(0, 50);
    s_learn(client);
    s_submit(0, client, "/slow");
    s_end_well(0);
    CHECK_EQ(s_stats(client).attempts, 1);
    CHECK_EQ(s_stats(client).hedges, 0);
    cml_client_release(client);
}

static void test_not_before_it_knows(void) {
    section("not before fifty answers");
    struct cml_client *client = s_client(true);
    memset(&learnt, 0, sizeof(learnt));
    s_serve(0, 50);
    s_ask(client, 45);
    s_submit(0, client, "/slow");
    s_end_well(0);
    CHECK_EQ(s_stats(client).hedges, 0);
    cml_client_release(client);
}

static void test_the_twin_wins(void) {
    section("the twin's answer is used, the slow one is ended on the wire");
    uint64_t won = 0;
    for (int round = 0; round < 4; ++round) {
        struct cml_client *client = s_client(true);
        s_learn(client);
        s_serve(1, 0);
        s_submit(0, client, "/slow");
        s_end_well(0);
        s_wait_for(&abandoned, 1);
        CHECK_EQ(s_stats(client).hedges, 1);
        CHECK_EQ(s_stats(client).requests, 1);
        CHECK_EQ(s_stats(client).attempts, 2);
        CHECK_EQ(s_stats(client).errors, 0);
        won += s_stats(client).hedges_won;
        s_ask(client, 5); /* on what is left of the connections */
        cml_client_release(client);
    }
    CHECK(won >= 1); /* on a busy machine the twin may come to the server first, and be the slow one */
}

static void test_streams(void) {
    section("the same for a stream");
    uint8_t *room = malloc(SIZE);
    uint64_t won = 0;
    for (int round = 0; round < 4; ++round) {
        struct cml_client *client = s_client(true);
        s_learn(client);
        s_serve(1, 0);
        memset(room, 0, SIZE);
        call_new(&calls[0], client, "GET", "/slow");
        cml_request_set_sink(calls[0].request, CML_SINK_STREAM, 0);
        CHECK(cml_request_feed(calls[0].request, room, SIZE));
        CHECK_EQ(call_run(&calls[0]), CML_OK);
        CHECK(is_pattern(room, 0, SIZE));
        CHECK_EQ(s_stats(client).hedges, 1);
        won += s_stats(client).hedges_won;
        call_free(&calls[0]);
        cml_client_release(client);
    }
    CHECK(won >= 1);
    free(room);
}

static void test_the_first_wins_after_all(void) {
    section("the first is answered while its twin waits; or the twin gets an error");
    for (int fails = 0; fails < 2; ++fails) {
        struct cml_client *client = s_client(true);
        s_learn(client);
        s_serve(0, 150);
        atomic_store(&twin_fails, fails);
        s_submit(0, client, "/slow");
        s_end_well(0);
        CHECK_EQ(s_stats(client).hedges, 1);
        CHECK_EQ(s_stats(client).errors, 0);
        s_ask(client, 5);
        cml_client_release(client);
    }
}

static void test_share(void) {
    section("at most one in twenty, however slow the server becomes");
    struct cml_client *client = s_client(true);
    s_serve(0, 40);
    s_ask(client, 100);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 100; ++i) {
            s_submit(i, client, "/slow");
        }
        for (int i = 0; i < 100; ++i) {
            s_end_well(i);
        }
    }
    struct cml_client_stats stats;
    cml_client_stats(client, &stats);
    CHECK_EQ(stats.requests, 400);
    CHECK(stats.hedges >= 1);
    CHECK(stats.hedges <= 400 / 20);
    cml_client_release(client);
}

static void test_only_reads(void) {
    section("nothing but GETs of objects");
    struct cml_client *client = s_client(true);
    s_learn(client);
    s_serve(0, 60);
    static const char *const methods[] = {"HEAD", "PUT", "POST", "DELETE", "GET"}; /* the last one gathers, as lists do */
    for (int i = 0; i < 5; ++i) {
        call_new(&calls[0], client, methods[i], "/slow");
        CHECK_EQ(call_run(&calls[0]), CML_OK);
        call_free(&calls[0]);
    }
    CHECK_EQ(s_stats(client).hedges, 0);
    cml_client_release(client);
}

static void test_both_are_ended(void) {
    section("cancelled, or out of time, with a twin under way: both are ended");
    for (int late = 0; late < 2; ++late) {
        struct cml_client *client = s_client(true);
        s_learn(client);
        s_serve(2, 0);
        call_new(&calls[0], client, "GET", "/slow");
        rooms[0] = call_into_buffer(&calls[0], SIZE);
        if (late) {
            cml_request_set_timeout(calls[0].request, 1500);
        }
        call_submit(&calls[0]);
        s_wait_for(&to_slow, 2);
        if (!late) {
            cml_request_cancel(calls[0].request);
        }
        CHECK(call_wait(&calls[0], LONG_MS));
        CHECK_ERROR(calls[0].progress.error, late ? CML_ERR_TOTAL_TIMEOUT : CML_ERR_CANCELLED);
        s_wait_for(&abandoned, 2);
        call_free(&calls[0]);
        free(rooms[0]);
        cml_client_release(client);
        wait_for_live(CML_LIVE_REQUESTS, 0);
    }
}

static void test_many(void) {
    section("hundreds at once, one in ten slow, some cancelled: all is right and all is given back");
    struct cml_client *client = s_client(true);
    uint64_t seed = 20261122;
    s_serve(0, 0);
    s_learn(client);
    atomic_store(&one_in, 10);
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < MOST; ++i) { /* on both loops */
            s_submit(i, client, "/object");
        }
        for (int i = 0; i < MOST; ++i) {
            if (check_random(&seed) % 8 == 0) {
                drain(1);
                cml_request_cancel(calls[i].request);
            }
        }
        for (int i = 0; i < MOST; ++i) {
            CHECK(call_wait(&calls[i], 2 * LONG_MS));
            CHECK(calls[i].progress.error == CML_ERR_CANCELLED || is_pattern(rooms[i], 0, SIZE));
            call_free(&calls[i]);
            free(rooms[i]);
        }
    }
    struct cml_client_stats stats;
    cml_client_stats(client, &stats);
    CHECK(stats.hedges >= 1);
    CHECK(stats.hedges <= stats.requests / 20);
    cml_client_release(client);
}

int main(void) {
    engine_start(2, 128);
    server_start(&server, s_handle);
    test_off();
    test_not_before_it_knows();
    test_the_twin_wins();
    test_streams();
    test_the_first_wins_after_all();
    test_share();
    test_only_reads();
    test_both_are_ended();
    test_many();
    return engine_end(&server);
}
