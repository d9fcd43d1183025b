/* The end of the process with requests in every state: all end at once as shut down, their memory is the caller's from
 * then on, and what is submitted later is refused.
 */
#include "support/engine.h"

#include <sys/mman.h>

#define EACH 8
#define SIZE (6 * MIB)

static struct server server;

enum state {
    IN_CREDENTIALS,
    IN_QUEUED,
    IN_SENT,
    IN_HEAD,
    IN_BODY,
    IN_PAUSED,
    IN_PARKED,
    IN_BACKOFF,
    IN_UPLOAD,
    STATES
};
static const char *const paths[STATES] = {"/object", "/object",  "/silent", "/head", "/trickle",
                                          "/object", "/closing", "/503",    "/slow"};
static struct call calls[STATES][EACH];
static void *memory[STATES][EACH];
static struct cml_client *clients[STATES];

/* Headers one by one: some come after the end. */
static bool s_head_slowly(struct exchange *x) {
    say(x, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 2000 && say(x, "X-Header-%d: something of some length\r\n", i); ++i) {
        check_sleep_ms(1);
    }
    return false;
}

static bool s_trickle(struct exchange *x) {
    say_object_head(x, SIZE, "\"one\"");
    for (uint64_t at = 0; at < SIZE && send_pattern(x, at, at + 4096); at += 4096) {
        check_sleep_ms(1);
    }
    return false;
}

static bool s_read_slowly(struct exchange *x) {
    char some[16384];
    while (read_body(x, some, sizeof(some)) > 0) {
        check_sleep_ms(1);
    }
    return false;
}

static bool s_handle(struct exchange *x) {
    if (strcmp(x->path, "/silent") == 0) {
        return hang(x);
    }
    if (strcmp(x->path, "/head") == 0) {
        return s_head_slowly(x);
    }
    if (strcmp(x->path, "/trickle") == 0) {
        return s_trickle(x);
    }
    if (strcmp(x->path, "/slow") == 0) {
        return s_read_slowly(x);
    }
    if (strcmp(x->path, "/503") == 0) {
        return say(x, "HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 9\r\n\r\n");
    }
    if (strcmp(x->path, "/closing") == 0) { /* paused by its consumer, then closed by us: parked */
        say_object_head(x, SIZE, "\"one\"");
        send_pattern(x, 0, 100000);
        return false;
    }
    return send_object(x, SIZE, "\"one\"");
}

static void s_begin(enum state state, struct cml_credentials *nothing) {
    struct cml_client_options options = client_options(&server);
    options.max_connections = state == IN_QUEUED ? 1 : EACH;
    if (state == IN_CREDENTIALS) {
        options.credentials = nothing;
        options.region = "us-east-1";
        options.service = "s3";
    }
    clients[state] = cml_client_new(&options);
    for (int i = 0; i < EACH; ++i) {
        bool upload = state == IN_UPLOAD, stream = state == IN_PAUSED || state == IN_PARKED;
        struct call *call = &calls[state][i];
        void *room = memory[state][i] = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        call_new(call, clients[state], upload ? "PUT" : "GET",
                 state == IN_QUEUED && i == 0 ? "/silent" : paths[state]);
        if (upload) {
            cml_request_set_body_memory(call->request, &(struct cml_bytes){.data = room, .length = SIZE}, 1);
        } else {
            cml_request_set_sink(call->request, stream ? CML_SINK_STREAM : CML_SINK_BUFFER, 0);
            cml_request_feed(call->request, room, stream ? 1000 : SIZE);
        }
        call_submit(call);
    }
}

/* All that are to back off do: the others are where they are to be by then, or near it. */
static void s_wait_for_scene(void) {
    struct cml_client_stats stats = {0};
    double until = check_now_s() + 10;
    while (stats.retries < EACH && check_now_s() < until) {
        call_watch(&calls[0][0], 200);
        cml_client_stats(clients[IN_BACKOFF], &stats);
    }
    CHECK_EQ(stats.retries, EACH);
}

/* The memory goes as soon as the end is announced, while connections are still at it. */
static void s_check_ended(void) {
    for (int state = 0; state < STATES; ++state) {
        for (int i = 0; i < EACH; ++i) {
            struct call *call = &calls[state][i];
            check_detail = paths[state];
            CHECK(call_wait(call, LONG_MS));
            CHECK_ERROR(call->progress.error, CML_ERR_SHUTDOWN);
            munmap(memory[state][i], SIZE);
            failure_status(call); /* what it read, it may read in peace */
            call_free(call);
        }
    }
}

int main(void) {
    engine_start(2, 256);
    server_start(&server, s_handle);
    section("exit with requests in every state");
    struct cml_queue *wanted = cml_queue_new_cond();
    struct cml_credentials *nothing = cml_credentials_new(wanted, NULL);
    for (int state = 0; state < STATES; ++state) {
        s_begin(state, nothing);
    }
    s_wait_for_scene();
    double before = check_now_s();
    CHECK(cml_runtime_quiesce(5000));
    CHECK(check_now_s() - before < 1.0);
    s_check_ended();
    check_sleep_ms(100); /* late callbacks come now */
    section("a request after the end is refused");
    struct call late;
    call_new(&late, clients[IN_SENT], "GET", "/object");
    before = check_now_s();
    CHECK_ERROR(call_run(&late), CML_ERR_SHUTDOWN);
    CHECK(check_now_s() - before < 1.0);
    call_free(&late);
    for (int state = 0; state < STATES; ++state) {
        cml_client_release(clients[state]);
    }
    cml_credentials_release(nothing);
    cml_credentials_user_data_of_node(cml_queue_take_all(wanted));
    cml_queue_release(wanted);
    return engine_end(&server);
}
