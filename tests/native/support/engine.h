/* What the tests of the real engine share: a runtime, a client of a scripted server, and waiting for news of requests.
 *
 * All waiting is on the main thread; `struct call` is one request and what has been heard of it.
 */
#ifndef CML_TEST_ENGINE_H
#define CML_TEST_ENGINE_H

#include "server.h"

#include "engine/engine.h"

/* The CRT is not instrumented, so the thread sanitizer does not see its reference counts. Reports come of that: the last
 * release of credentials wipes what the loop that released them before has read; the last release of one of aws-c-s3's
 * requests destroys a mutex that others held, and a message and lists that they read. Nor does it see who joins the
 * threads of its clients, which end by themselves. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void); /* for the runtime to find */
const char *__tsan_default_suppressions(void) {
    return "race:aws_secure_zero\n"
           "race:aws_mutex_clean_up\n"
           "race:aws_http_message_release\n"
           "race:aws_http_headers_clear\n"
           "race:aws_array_list_clean_up\n"
           "thread:aws_thread_launch\n";
}

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define LONG_MS 10000 /* nothing here takes that long unless it hangs */

static struct cml_queue *queue;
static unsigned next_client_key;

struct call {
    struct cml_request *request;
    struct cml_progress progress;
    unsigned news, ends;
};

static MAYBE_UNUSED void engine_start(uint32_t threads, uint32_t max_connections) {
    struct cml_runtime_options options = {.threads = threads, .max_connections = max_connections};
    if (cml_runtime_start(&options) != 0) {
        fprintf(stderr, "no runtime\n");
        exit(2);
    }
    queue = cml_queue_new_cond();
}

/* Quick to give up and quick to clean up; tests change what they are about. */
static MAYBE_UNUSED struct cml_client_options client_options(const struct server *server) {
    static char keys[64][16];
    char *key = keys[next_client_key++ % 64];
    snprintf(key, sizeof(keys[0]), "key %u", next_client_key);
    return (struct cml_client_options){
        .key = key,
        .host = "127.0.0.1",
        .port = server->port,
        .max_connections = 8,
        .max_idle = UINT32_MAX,
        .connect_timeout_ms = 3000,
        .idle_timeout_ms = 50,
        .stall_timeout_ms = 5000,
        .max_retries = 3,
        .retry_timeout_ms = 20000,
        .backoff_init_ms = 4,
        .backoff_max_ms = 20,
        .backoff_base = 2,
        .host_header = "test.example",
    };
}

static MAYBE_UNUSED struct cml_client *client_of(struct server *server) {
    struct cml_client_options options = client_options(server);
    return cml_client_new(&options);
}

/* ---- calls ---- */

static MAYBE_UNUSED void call_new(struct call *call, struct cml_client *client, const char *method, const char *path) {
    memset(call, 0, sizeof(*call));
    call->request = cml_request_new(client, method, path, strlen(path));
    cml_request_set_user_data(call->request, call);
}

static MAYBE_UNUSED void call_submit(struct call *call) {
    cml_request_submit(call->request, queue);
}

/* Takes what the queue has, waiting at most timeout_ms for anything. */
static MAYBE_UNUSED void drain(int timeout_ms) {
    cml_queue_wait(queue, timeout_ms);
    for (struct cml_node *node = cml_queue_take_all(queue); node != NULL;) {
        struct cml_node *next = node->next; /* read first: it may be pushed again at once */
        bool last = false;
        struct cml_request *request = cml_request_of_node(node, &last);
        if (request != NULL) {
            struct call *call = cml_request_user_data(request);
            call->news++;
            CHECK_EQ(call->ends, 0); /* nothing may come after the end */
            call->ends += last;
            cml_request_progress(request, &call->progress);
            cml_request_release(request);
        }
        node = next;
    }
}

/* For the last news, which come when nothing else will: before them, a call must not be freed. */
static MAYBE_UNUSED bool call_wait(struct call *call, unsigned timeout_ms) {
    double until = check_now_s() + timeout_ms / 1000.0;
    while (call->ends == 0 && check_now_s() < until) {
        drain(50);
    }
    cml_request_progress(call->request, &call->progress);
    return call->ends > 0;
}

/* Until so many pieces of room are done, or the end. */
static MAYBE_UNUSED bool call_wait_pieces(struct call *call, uint64_t pieces) {
    double until = check_now_s() + LONG_MS / 1000.0;
    while (call->progress.pieces_done < pieces && !call->progress.finished && check_now_s() < until) {
        drain(50);
    }
    cml_request_progress(call->request, &call->progress);
    return call->progress.pieces_done >= pieces;
}

/* Hears of it for that long, whatever happens. */
static MAYBE_UNUSED void call_watch(struct call *call, unsigned ms) {
    double until = check_now_s() + ms / 1000.0;
    while (check_now_s() < until) {
        drain(10);
        cml_request_progress(call->request, &call->progress);
    }
}

static MAYBE_UNUSED int call_run(struct call *call) {
    call_submit(call);
    return CHECK(call_wait(call, LONG_MS)) ? call->progress.error : -1;
}

static MAYBE_UNUSED void call_free(struct call *call) {
    cml_request_release(call->request);
    call->request = NULL;
}

static MAYBE_UNUSED int call_status(struct call *call) {
    struct cml_response_view view;
    cml_request_response(call->request, &view);
    return view.status;
}

static MAYBE_UNUSED int failure_status(struct call *call) {
    struct cml_response_view view;
    const char *body;
    size_t length;
    cml_request_failure(call->request, &view, &body, &length);
    return view.status;
}

/* A GET into room of just that size. */
static MAYBE_UNUSED uint8_t *call_into_buffer(struct call *call, size_t capacity) {
    uint8_t *room = malloc(capacity);
    memset(room, 0, capacity);
    cml_request_set_sink(call->request, CML_SINK_BUFFER, 0);
    CHECK(cml_request_feed(call->request, room, capacity));
    return room;
}

#define CHECK_ERROR(actual, expected) check_error(__FILE__, __LINE__, actual, expected)

static MAYBE_UNUSED bool check_error(const char *file, int line, int actual, int expected) {
    char text[100];
    snprintf(text, sizeof(text), "error is %s, expected %s", cml_error_name(actual), cml_error_name(expected));
    return check_true(file, line, text, actual == expected);
}

/* ---- the end ---- */

static MAYBE_UNUSED bool wait_for_live(enum cml_live kind, int64_t count) {
    double until = check_now_s() + 5;
    while (cml_live_get(kind) != count && check_now_s() < until) {
        drain(5);
    }
    return CHECK_EQ(cml_live_get(kind), count);
}

/* Nothing may be left of what a test made once its client and calls are released. */
static MAYBE_UNUSED void check_nothing_left(void) {
    wait_for_live(CML_LIVE_REQUESTS, 0);
    wait_for_live(CML_LIVE_CONNECTIONS, 0);
    wait_for_live(CML_LIVE_CLIENTS, 0);
    wait_for_live(CML_LIVE_BUFFERS, 0);
    CHECK_EQ(cml_live_get(CML_LIVE_QUEUES), 1);
}

/* The last thing a program does. */
static MAYBE_UNUSED int engine_end(struct server *server) {
    section("all live counters are back; the runtime quiesces");
    check_nothing_left();
    CHECK(cml_runtime_quiesce(5000));
    CHECK(cml_runtime_quiesce(5000));
    cml_queue_release(queue);
    CHECK_EQ(cml_live_get(CML_LIVE_QUEUES), 0);
    server_stop(server);
    return check_report();
}

#endif
