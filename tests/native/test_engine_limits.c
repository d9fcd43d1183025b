/* Connections: how many there are, who gets the next one, and what becomes of those that nobody needs. The runtime here
 * has four in all, two a loop: endpoints compete for them.
 */
#include "support/engine.h"

#include <sys/resource.h>

#define SIZE (6 * MIB)
#define MOST 600

static struct server server, slow_server;
static struct call calls[MOST];

static bool s_handle(struct exchange *x) {
    if (strcmp(x->path, "/large") == 0) {
        return send_object(x, SIZE, "\"one\"");
    }
    check_sleep_ms(x->server == &slow_server ? 20 : 1);
    return send_object(x, 1000, "\"one\"");
}

static struct cml_client *s_client(struct server *of, uint32_t connections) {
    struct cml_client_options options = client_options(of);
    options.max_connections = connections;
    return cml_client_new(&options);
}

static void s_submit(struct call *call, struct cml_client *client, bool stream) {
    call_new(call, client, "GET", "/object");
    cml_request_set_sink(call->request, stream ? CML_SINK_STREAM : CML_SINK_COLLECT, 10000);
    call_submit(call);
}

static void s_all_end_well(int count) {
    for (int i = 0; i < count; ++i) {
        if (!CHECK(call_wait(&calls[i], LONG_MS))) {
            cml_request_cancel(calls[i].request);
            call_wait(&calls[i], LONG_MS);
        } else {
            CHECK_ERROR(calls[i].progress.error, CML_OK);
        }
        call_free(&calls[i]);
    }
}

/* Counted on our side: the server sees a close later than it happens. */
static void s_check_live(uint32_t limit) {
    for (int i = 0; i < 100; ++i) {
        drain(2);
        CHECK(cml_live_get(CML_LIVE_CONNECTIONS) <= (int64_t)limit);
    }
}

static void test_limit(void) {
    section("no more connections than the client may have, whatever the number of loops");
    static const uint32_t limits[] = {1, 2, 3, 4};
    for (int i = 0; i < 4; ++i) {
        struct cml_client *client = s_client(&server, limits[i]);
        for (int at = 0; at < MOST; ++at) { /* more than one loop takes before the next is used */
            s_submit(&calls[at], client, at % 3 == 0);
        }
        s_check_live(limits[i]);
        s_all_end_well(MOST);
        cml_client_release(client);
        wait_for_live(CML_LIVE_CONNECTIONS, 0);
    }
}

static void test_runtime_limit(void) {
    section("endpoints share the runtime's connections: all of them get on");
    struct cml_client *clients[5];
    for (int i = 0; i < 5; ++i) {
        clients[i] = s_client(&server, 8);
    }
    for (int i = 0; i < 200; ++i) {
        s_submit(&calls[i], clients[i % 5], i % 2);
    }
    s_all_end_well(200);
    CHECK(cml_runtime_connections() <= 4);
    for (int i = 0; i < 20; ++i) { /* one after the other: each finds the others' idle connections in its way */
        s_submit(&calls[0], clients[i % 5], i % 3 == 0);
        s_all_end_well(1);
    }
    for (int i = 0; i < 5; ++i) {
        cml_client_release(clients[i]);
    }
}

/* As a copy does: it reads from one store only when the other has taken what it read before. */
static void test_paused_elsewhere(void) {
    section("paused streams of one endpoint make room for requests of another");
    struct cml_client *source = s_client(&server, 8), *target = s_client(&slow_server, 8);
    struct call streams[4];
    static uint8_t room[4][1000];
    for (int i = 0; i < 4; ++i) {
        call_new(&streams[i], source, "GET", "/large");
        cml_request_set_sink(streams[i].request, CML_SINK_STREAM, 0);
        cml_request_feed(streams[i].request, room[i], 1000);
        call_submit(&streams[i]);
    }
    for (int i = 0; i < 4; ++i) {
        call_watch(&streams[i], 20);
    }
    for (int i = 0; i < 10; ++i) {
        s_submit(&calls[i], target, false);
    }
    s_all_end_well(10);
    for (int i = 0; i < 4; ++i) {
        CHECK_EQ(streams[i].progress.finished, 0);
        cml_request_cancel(streams[i].request);
        CHECK(call_wait(&streams[i], LONG_MS));
        call_free(&streams[i]);
    }
    cml_client_release(source);
    cml_client_release(target);
}

/* Two dozen requests at any time, each replaced as it ends. The one on trial must not wait for the others' end. */
static void s_under_load(struct cml_client *load, struct cml_client *trial, bool stream) {
    struct call one;
    memset(&one, 0, sizeof(one));
    double begin = check_now_s();
    for (int i = 0; i < 24; ++i) {
        s_submit(&calls[i], load, !stream);
    }
    while (one.ends == 0 && check_now_s() < begin + 3) {
        if (one.request == NULL && check_now_s() > begin + 0.1) {
            s_submit(&one, trial, stream);
        }
        drain(5);
        for (int i = 0; i < 24; ++i) {
            if (calls[i].ends > 0) {
                call_free(&calls[i]);
                s_submit(&calls[i], load, !stream);
            }
        }
    }
    CHECK(one.ends == 1);
    CHECK(check_now_s() - begin < 1.5);
    call_wait(&one, LONG_MS);
    call_free(&one);
    s_all_end_well(24);
}

static void test_fairness(void) {
    struct cml_client *load = s_client(&server, 1), *other = s_client(&slow_server, 8), *wide = s_client(&server, 8);
    section("a stream gets its turn among buffers without end, and the other way round");
    s_under_load(load, load, true);
    s_under_load(load, load, false);
    section("an endpoint gets its turn when another uses all connections without end");
    s_under_load(wide, other, false);
    s_under_load(wide, other, true);
    cml_client_release(load);
    cml_client_release(other);
    cml_client_release(wide);
    wait_for_live(CML_LIVE_CONNECTIONS, 0);
}

static void test_closed_while_idle(void) {
    section("connections that the server closes while they are idle");
    struct cml_client_options options = client_options(&server);
    options.idle_timeout_ms = 60000;
    struct cml_client *client = cml_client_new(&options);
    for (int round = 0; round < 5; ++round) {
        s_submit(&calls[0], client, false);
        s_submit(&calls[1], client, true);
        s_all_end_well(2);
        CHECK(cml_live_get(CML_LIVE_CONNECTIONS) > 0);
        server_close_all(&server);
        if (round % 2) { /* seen by the client, or found out by using it */
            wait_for_live(CML_LIVE_CONNECTIONS, 0);
        }
    }
    s_submit(&calls[0], client, false);
    s_all_end_well(1);
    server_close_all(&server);
    cml_client_release(client);
    wait_for_live(CML_LIVE_CONNECTIONS, 0);
}

static void test_unused(void) {
    section("connections whose request was cancelled before they were there");
    struct cml_client *client = s_client(&server, 4);
    for (int i = 0; i < 40; ++i) {
        s_submit(&calls[i], client, i % 2);
        cml_request_cancel(calls[i].request);
    }
    for (int i = 0; i < 40; ++i) {
        CHECK(call_wait(&calls[i], LONG_MS));
        CHECK_ERROR(calls[i].progress.error, CML_ERR_CANCELLED);
        call_free(&calls[i]);
    }
    cml_client_release(client);
    wait_for_live(CML_LIVE_CONNECTIONS, 0);
}

static void test_refused(void) {
    section("nobody listens");
    struct server gone;
    server_start(&gone, s_handle);
    server_stop(&gone);
    struct cml_client *client = s_client(&gone, 4);
    for (int i = 0; i < 20; ++i) {
        s_submit(&calls[i], client, i % 2);
    }
    for (int i = 0; i < 20; ++i) {
        CHECK(call_wait(&calls[i], LONG_MS));
        CHECK_ERROR(calls[i].progress.error, CML_ERR_CONNECT);
        call_free(&calls[i]);
    }
    cml_client_release(client);
}

/* No descriptor is to be had but those in use. */
static void s_exhaust(struct rlimit *before) {
    getrlimit(RLIMIT_NOFILE, before);
    int next = dup(0);
    close(next);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before->rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
}

static void test_no_descriptors(void) {
    struct rlimit before;
    section("no descriptors: requests fail, and do not spin or hang");
    struct cml_client *client = s_client(&server, 4);
    s_exhaust(&before);
    for (int i = 0; i < 20; ++i) {
        s_submit(&calls[i], client, i % 2);
    }
    for (int i = 0; i < 20; ++i) {
        CHECK(call_wait(&calls[i], LONG_MS));
        CHECK_ERROR(calls[i].progress.error, CML_ERR_RESOURCES);
        call_free(&calls[i]);
    }
    setrlimit(RLIMIT_NOFILE, &before);
    section("no descriptors: what is connected already serves all");
    s_submit(&calls[0], client, false);
    s_all_end_well(1);
    s_exhaust(&before);
    for (int i = 0; i < 20; ++i) {
        s_submit(&calls[i], client, false);
    }
    s_all_end_well(20);
    setrlimit(RLIMIT_NOFILE, &before);
    cml_client_release(client);
}

int main(void) {
    engine_start(2, 4);
    server_start(&server, s_handle);
    server_start(&slow_server, s_handle);
    test_limit();
    test_runtime_limit();
    test_paused_elsewhere();
    test_fairness();
    test_closed_while_idle();
    test_unused();
    test_refused();
    test_no_descriptors();
    check_nothing_left();
    server_stop(&slow_server);
    return engine_end(&server);
}
