/* Ending requests from outside, in each state they can be in: cancel, the call's own time limit, a server that stalls,
 * and revoking the caller's memory while bytes flow.
 */
#include "support/engine.h"

#include <sys/mman.h>

#define SIZE (6 * MIB)

static struct server server;
static atomic_uint attempts, hung_up, wrong;

/* Says nothing more until the client has gone. */
static bool s_until_gone(struct exchange *x) {
    hang(x);
    atomic_fetch_add(&hung_up, 1);
    return false;
}

/* A little now and then: never stalled, never done. */
static bool s_trickle(struct exchange *x) {
    say_object_head(x, SIZE, "\"one\"");
    for (uint64_t at = 0; at < SIZE; at += 1000) {
        if (atomic_load(&x->server->stopping) || !send_pattern(x, at, at + 1000)) {
            break;
        }
        check_sleep_ms(5);
    }
    return false;
}

/* Reads so much of an upload, then hangs up. What comes has to be what was given. */
static bool s_take(struct exchange *x, uint64_t most) {
    uint8_t block[10000];
    uint64_t at = 0;
    for (ssize_t got; at < most && (got = read_body(x, block, sizeof(block))) > 0; at += (uint64_t)got) {
        atomic_fetch_add(&wrong, !is_pattern(block, at, (size_t)got));
    }
    return reset(x);
}

static bool s_handle(struct exchange *x) {
    atomic_fetch_add(&attempts, 1);
    if (strcmp(x->path, "/silent") == 0) {
        return s_until_gone(x);
    }
    if (strcmp(x->path, "/half") == 0) {
        return say_object_head(x, SIZE, "\"one\"") && send_pattern(x, 0, 100000) && s_until_gone(x);
    }
    if (strcmp(x->path, "/trickle") == 0) {
        return s_trickle(x);
    }
    if (strcmp(x->path, "/503") == 0) {
        return say(x, "HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 3\r\n\r\n");
    }
    if (strcmp(x->path, "/small") == 0) {
        return send_object(x, 1000, "\"s\"");
    }
    if (strncmp(x->path, "/take/", 6) == 0) {
        return s_take(x, strtoull(x->path + 6, NULL, 10));
    }
    if (strcmp(x->path, "/unread") == 0) { /* an upload that nobody reads */
        return s_until_gone(x);
    }
    return send_object(x, SIZE, "\"one\"");
}

/* ---- a request in each state ---- */

enum state {
    IN_CREDENTIALS,
    IN_QUEUED,
    IN_SENT,
    IN_BODY,
    IN_TRICKLE,
    IN_PAUSED,
    IN_PARKED,
    IN_BACKOFF,
    IN_UPLOAD,
    STATES
};
static const char *const state_names[STATES] = {"credentials", "queued", "sent",    "body",  "trickle",
                                                "paused",      "parked", "backoff", "upload"};
static const char *const paths[STATES] = {"/small",  "/small",  "/silent", "/half",  "/trickle",
                                          "/object", "/object", "/503",    "/unread"};

struct scene {
    struct cml_client *client;
    struct cml_credentials *credentials;
    struct cml_queue *wanted;
    struct call call, other;
    uint8_t *room;
    bool has_other;
};

static void s_client_for(struct scene *scene, enum state state, uint64_t stall_ms) {
    struct cml_client_options options = client_options(&server);
    options.stall_timeout_ms = stall_ms;
    options.max_connections = 1;
    if (state == IN_CREDENTIALS) {
        scene->wanted = cml_queue_new_cond();
        scene->credentials = cml_credentials_new(scene->wanted, scene);
        options.credentials = scene->credentials;
        options.region = "us-east-1";
        options.service = "s3";
    }
    scene->client = cml_client_new(&options);
}

static void s_occupy(struct scene *scene, const char *path) {
    call_new(&scene->other, scene->client, "GET", path);
    scene->has_other = true;
    call_submit(&scene->other);
}

/* Brings a request into that state and lets it stay there. */
static void s_begin(struct scene *scene, enum state state, uint64_t total_ms, uint64_t stall_ms) {
    memset(scene, 0, sizeof(*scene));
    check_detail = state_names[state];
    s_client_for(scene, state, stall_ms);
    if (state == IN_QUEUED) {
        s_occupy(scene, "/silent");
    }
    scene->room = malloc(SIZE);
    call_new(&scene->call, scene->client, state == IN_UPLOAD ? "PUT" : "GET", paths[state]);
    cml_request_set_timeout(scene->call.request, total_ms);
    if (state == IN_PAUSED || state == IN_PARKED) {
        cml_request_set_sink(scene->call.request, CML_SINK_STREAM, 0);
        CHECK(cml_request_feed(scene->call.request, scene->room, 1000));
    } else if (state == IN_UPLOAD) {
        cml_request_set_body_memory(scene->call.request, &(struct cml_bytes){.data = scene->room, .length = SIZE}, 1);
    } else {
        cml_request_set_sink(scene->call.request, CML_SINK_BUFFER, 0);
        CHECK(cml_request_feed(scene->call.request, scene->room, SIZE));
    }
    call_submit(&scene->call);
    call_watch(&scene->call, 60);
    if (state == IN_PARKED) { /* takes its connection, and gives it back to nobody */
        s_occupy(scene, "/small");
        call_wait(&scene->other, LONG_MS);
    }
    CHECK(!scene->call.progress.finished);
}

static void s_end(struct scene *scene) {
    call_free(&scene->call);
    if (scene->has_other) {
        cml_request_cancel(scene->other.request);
        CHECK(call_wait(&scene->other, LONG_MS));
        call_free(&scene->other);
    }
    cml_client_release(scene->client);
    if (scene->credentials != NULL) {
        cml_credentials_release(scene->credentials);
        struct cml_node *node = cml_queue_take_all(scene->wanted); /* it carries a reference of its own */
        CHECK(node != NULL && node->next == NULL);
        CHECK(cml_credentials_user_data_of_node(node) == scene);
        cml_queue_release(scene->wanted);
    }
    free(scene->room);
    wait_for_live(CML_LIVE_CONNECTIONS, 0);
}

static void test_cancel(void) {
    section("cancel, in each state");
    for (int state = 0; state < STATES; ++state) {
        struct scene scene;
        s_begin(&scene, state, 0, 5000);
        double before = check_now_s();
        cml_request_cancel(scene.call.request);
        cml_request_cancel(scene.call.request); /* while it is being aborted */
        memset(scene.room, 0x5a, SIZE);         /* ours again */
        CHECK(call_wait(&scene.call, LONG_MS));
        CHECK_ERROR(scene.call.progress.error, CML_ERR_CANCELLED);
        CHECK(check_now_s() - before < 1.0);
        cml_request_cancel(scene.call.request); /* after the end */
        for (size_t i = 0; i < SIZE; i += 977) {
            CHECK_EQ(scene.room[i], 0x5a);
        }
        s_end(&scene);
    }
}

static void test_total_timeout(void) {
    section("the call's own time limit, in each state");
    for (int state = 0; state < STATES; ++state) {
        struct scene scene;
        double before = check_now_s();
        s_begin(&scene, state, 300, 5000);
        CHECK(call_wait(&scene.call, LONG_MS));
        double took = check_now_s() - before;
        CHECK_ERROR(scene.call.progress.error, CML_ERR_TOTAL_TIMEOUT);
        if (!CHECK(took > 0.28 && took < 1.0)) {
            fprintf(stderr, "  took %.2f s\n", took);
        }
        s_end(&scene);
    }
}

static void test_stall(void) {
    section("servers that stall: no answer, half a body, an upload not read");
    static const enum state stalled[] = {IN_SENT, IN_BODY, IN_UPLOAD};
    for (int i = 0; i < 3; ++i) {
        struct scene scene;
        atomic_store(&attempts, 0);
        s_begin(&scene, stalled[i], 0, 150);
        CHECK(call_wait(&scene.call, LONG_MS));
        CHECK_ERROR(scene.call.progress.error, CML_ERR_STALL_TIMEOUT);
        CHECK_EQ(atomic_load(&attempts), 4);
        s_end(&scene);
    }
    struct scene scene; /* slow is not stalled */
    s_begin(&scene, IN_TRICKLE, 900, 150);
    CHECK(call_wait(&scene.call, LONG_MS));
    CHECK_ERROR(scene.call.progress.error, CML_ERR_TOTAL_TIMEOUT);
    CHECK_EQ(scene.call.progress.attempts, 1);
    s_end(&scene);
}

static void test_hangs_up(void) {
    section("cancel ends the transfer on the wire");
    struct scene scene;
    s_begin(&scene, IN_SENT, 0, 5000);
    atomic_store(&hung_up, 0);
    cml_request_cancel(scene.call.request);
    CHECK(call_wait(&scene.call, LONG_MS));
    double until = check_now_s() + 1;
    while (atomic_load(&hung_up) == 0 && check_now_s() < until) {
        check_sleep_ms(5);
    }
    CHECK_EQ(atomic_load(&hung_up), 1);
    s_end(&scene);
}

static void test_before_submission(void) {
    section("cancel and release of what was never submitted");
    struct cml_client *client = client_of(&server);
    struct call call;
    call_new(&call, client, "GET", "/object");
    cml_request_cancel(call.request);
    call_free(&call);
    call_new(&call, client, "GET", "/object");
    cml_request_cancel(call.request);
    CHECK_ERROR(call_run(&call), CML_ERR_CANCELLED);
    call_free(&call);
    call_new(&call, client, "PUT", "/small");
    cml_request_cancel(call.request);
    CHECK_ERROR(call_run(&call), CML_ERR_CANCELLED);
    call_free(&call);
    cml_client_release(client);
}

/* The memory is unmapped as soon as revoke has returned: one late write, or read for an upload, ends the program. */
static void s_revoke_once(struct cml_client *client, bool upload, unsigned after_us) {
    struct call call;
    void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    call_new(&call, client, upload ? "PUT" : "GET", "/object");
    if (upload) {
        cml_request_set_body_memory(call.request, &(struct cml_bytes){.data = memory, .length = SIZE}, 1);
    } else {
        cml_request_set_sink(call.request, CML_SINK_BUFFER, 0);
        CHECK(cml_request_feed(call.request, memory, SIZE));
    }
    call_submit(&call);
    struct timespec pause = {.tv_nsec = after_us * 1000L};
    nanosleep(&pause, NULL);
    cml_request_revoke(call.request);
    munmap(memory, SIZE);
    CHECK(!cml_request_feed(call.request, &call, 1));
    CHECK(call_wait(&call, LONG_MS));
    CHECK(call.progress.error == CML_ERR_CANCELLED || call.progress.error == CML_OK);
    call_free(&call);
}

static void test_revoke(void) {
    section("revoke while data flows: memory is unmapped at once");
    struct cml_client *client = client_of(&server);
    uint64_t seed = 3;
    for (int i = 0; i < 60; ++i) {
        s_revoke_once(client, i % 2, (unsigned)(check_random(&seed) % 4000));
    }
    cml_client_release(client);
}

static void s_cancel_what_is_read(struct cml_client *client, uint8_t *memory, unsigned after_us, unsigned most) {
    struct call call;
    char path[32];
    snprintf(path, sizeof(path), "/take/%u", most);
    call_new(&call, client, "PUT", path);
    cml_request_set_body_memory(call.request, &(struct cml_bytes){.data = memory, .length = SIZE}, 1);
    call_submit(&call);
    nanosleep(&(struct timespec){.tv_nsec = after_us * 1000L}, NULL);
    cml_request_cancel(call.request);
    memset(memory, 0x5a, SIZE);
    CHECK(call_wait(&call, LONG_MS));
    CHECK(call.progress.error == CML_ERR_CANCELLED || call.progress.error == CML_ERR_RESET);
    call_free(&call);
}

static void test_cancel_while_it_is_read(void) {
    section("cancel of uploads to a server that reads and resets: none of what the memory holds afterwards is sent");
    struct cml_client *client = client_of(&server);
    uint8_t *memory = malloc(SIZE), *pattern = malloc(SIZE);
    for (size_t i = 0; i < SIZE; ++i) {
        pattern[i] = pattern_at(i);
    }
    uint64_t seed = 5;
    for (int i = 0; i < 60; ++i) {
        memcpy(memory, pattern, SIZE);
        unsigned after_us = (unsigned)(check_random(&seed) % 10000), most = (unsigned)(check_random(&seed) % SIZE);
        s_cancel_what_is_read(client, memory, after_us, most);
    }
    CHECK_EQ(atomic_load(&wrong), 0);
    free(memory);
    free(pattern);
    cml_client_release(client);
}

int main(void) {
    engine_start(2, 64);
    server_start(&server, s_handle);
    test_cancel();
    test_total_timeout();
    test_stall();
    test_hangs_up();
    test_before_submission();
    test_revoke();
    test_cancel_while_it_is_read();
    return engine_end(&server);
}
