/* What consumers rely on: headers before the body, room in many pieces with gaps, news on another queue, checksums,
 * conditions of their own, and a child after fork.
 */
#include "support/engine.h"

#include <poll.h>
#include <sched.h>
#include <sys/wait.h>

static struct server server;
static struct cml_client *client;
static atomic_uint attempts;

/* "123456789" and its CRC32C (RevEng's catalogue), or another. */
static bool s_say_sum(struct exchange *x, bool right) {
    return say(x, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: \"n\"\r\nx-amz-checksum-crc32c: %s\r\n\r\n",
               right ? "4waSgw==" : "AAAAAA==");
}

static bool s_sums(struct exchange *x, unsigned attempt) {
    static const char digits[] = "123456789";
    uint64_t from, end;
    if (asked_range(x, 9, &from, &end)) {
        return say_object_head(x, 9, "\"n\"") && send_bytes(x, digits + from, end - from);
    }
    bool right = strcmp(x->path, "/sum/right") == 0 || strcmp(x->path, "/sum/cut") == 0 ||
                 (strcmp(x->path, "/sum/once") == 0 && attempt > 0);
    bool cut = strstr(x->path, "cut") != NULL;
    s_say_sum(x, right);
    return send_bytes(x, digits, cut ? 4 : 9) && !cut;
}

/* Another length at each attempt, and no ETag to tell by. */
static bool s_changes(struct exchange *x, unsigned attempt) {
    say(x, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", 1000 * (attempt + 1));
    return send_pattern(x, 0, attempt == 0 ? 10 : 1000 * (attempt + 1)) && attempt > 0;
}

static bool s_handle(struct exchange *x) {
    unsigned attempt = atomic_fetch_add(&attempts, 1);
    if (strncmp(x->path, "/sum/", 5) == 0) {
        return s_sums(x, attempt);
    }
    if (strcmp(x->path, "/changes") == 0) {
        return s_changes(x, attempt);
    }
    if (strcmp(x->path, "/head-only") == 0) {
        /* aws-c-http tells of the headers' end with the first byte of the body. */
        return say_object_head(x, 1000, "\"one\"") && send_pattern(x, 0, 1) && hang(x);
    }
    if (strcmp(x->path, "/slow") == 0) {
        say_object_head(x, 1000, "\"one\"");
        send_pattern(x, 0, 10);
        check_sleep_ms(200);
        return send_pattern(x, 10, 1000);
    }
    if (strcmp(x->path, "/cut") == 0 && attempt == 0) {
        return say_object_head(x, 1000, "\"one\"") && send_pattern(x, 0, 500) && false;
    }
    if (strcmp(x->path, "/cut") == 0) { /* one condition, whoever made it */
        const char *match = header(x, "If-Match");
        const char *second = match != NULL ? strcasestr(strcasestr(x->head, "If-Match:") + 1, "If-Match:") : NULL;
        CHECK(match != NULL && strcmp(match, "\"one\"") == 0 && second == NULL);
    }
    if (strcmp(x->path, "/error") == 0) {
        return say(x, "HTTP/1.1 200 OK\r\nContent-Length: 31\r\nx-amz-request-id: 42\r\n\r\n"
                      "<Error><Code>Foo</Code></Error>");
    }
    return send_object(x, 100000, "\"one\"");
}

static void test_headers_first(void) {
    section("headers are announced before the body");
    struct call call;
    call_new(&call, client, "GET", "/head-only");
    cml_request_set_sink(call.request, CML_SINK_STREAM, 0);
    cml_request_set_flags(call.request, CML_FLAG_ANNOUNCE_HEADERS);
    call_submit(&call);
    double until = check_now_s() + 5;
    while (!call.progress.headers_ready && check_now_s() < until) {
        drain(50);
    }
    CHECK(call.progress.headers_ready && !call.progress.finished && call.news == 1);
    struct cml_response_view view;
    cml_request_response(call.request, &view);
    CHECK(view.status == 200 && view.content_length == 1000);
    cml_request_cancel(call.request);
    CHECK(call_wait(&call, LONG_MS));
    call_free(&call);
}

/* Ranges that lie close share one response: the bytes between them are nobody's. */
static void test_gaps(void) {
    section("a hundred pieces of room with gaps between them");
    enum { PIECES = 100, STEP = 1000, WANTED = 600 };
    static uint8_t room[PIECES][WANTED];
    struct call call;
    call_new(&call, client, "GET", "/object");
    cml_request_set_sink(call.request, CML_SINK_BUFFER, 0);
    CHECK(cml_request_reserve_pieces(call.request, 10));
    CHECK(cml_request_reserve_pieces(call.request, 2 * PIECES));
    CHECK(cml_request_reserve_pieces(call.request, 2));
    for (int i = 0; i < PIECES; ++i) {
        CHECK(cml_request_feed(call.request, room[i], WANTED));
        CHECK(cml_request_feed(call.request, NULL, STEP - WANTED));
    }
    CHECK(!cml_request_feed(call.request, room, 1));
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK_EQ(call.progress.pieces_done, 2 * PIECES);
    for (uint64_t i = 0; i < PIECES; ++i) {
        CHECK(is_pattern(room[i], i * STEP, WANTED));
    }
    call_free(&call);
}

static void test_retarget(void) {
    section("news follow a request to another queue");
    struct call call;
    struct cml_queue *other = cml_queue_new_cond();
    call_new(&call, client, "GET", "/slow");
    cml_request_set_flags(call.request, CML_FLAG_ANNOUNCE_HEADERS);
    call_submit(&call);
    check_sleep_ms(60); /* its headers are news on the first queue by then */
    CHECK(cml_request_retarget(call.request, other));
    CHECK(cml_queue_wait(other, 5000));
    struct cml_node *node = cml_queue_take_all(other);
    bool last = false;
    CHECK(node != NULL && node->next == NULL && cml_request_of_node(node, &last) == call.request && last);
    cml_request_release(call.request);
    drain(20);
    CHECK_EQ(call.news, 0); /* what sat there is stale */
    CHECK(!cml_request_retarget(call.request, queue)); /* no more news: it has ended */
    call_free(&call);
    cml_queue_release(other);
}

static void test_note_never_read(void) {
    section("a note that nobody reads keeps nothing but itself, and goes with its queue");
    struct call call;
    struct cml_queue *unread = cml_queue_new_fd();
    call_new(&call, client, "GET", "/slow");
    cml_request_set_flags(call.request, CML_FLAG_ANNOUNCE_HEADERS);
    cml_request_submit(call.request, unread);
    struct pollfd fd = {.fd = cml_queue_fd(unread), .events = POLLIN};
    CHECK_EQ(poll(&fd, 1, 5000), 1); /* its headers; never drained */
    CHECK(cml_request_retarget(call.request, queue));
    CHECK(call_wait(&call, LONG_MS));
    CHECK_EQ(call.news, 1);
    call_free(&call);
    wait_for_live(CML_LIVE_REQUESTS, 0); /* with the stale note still there */
    cml_queue_release(unread);               /* and the leak check that there is none of it left */
}

/* A request that is pointed from one queue to another and back while a thread drains both. */
struct crossing {
    struct cml_request *request;
    struct cml_queue *queues[2];
    atomic_uint ends;
    atomic_bool stop;
};

static void *s_drain_both(void *arg) {
    struct crossing *crossing = arg;
    while (!atomic_load(&crossing->stop)) {
        for (int i = 0; i < 2; ++i) {
            for (struct cml_node *node = cml_queue_take_all(crossing->queues[i]); node != NULL;) {
                struct cml_node *next = node->next;
                bool last = false;
                struct cml_request *request = cml_request_of_node(node, &last);
                if (request != NULL) {
                    CHECK(request == crossing->request);
                    atomic_fetch_add(&crossing->ends, last);
                    cml_request_release(request);
                }
                node = next;
            }
        }
        sched_yield();
    }
    return NULL;
}

static void test_retarget_while_drained(void) {
    section("a request is pointed here and there while both queues are drained: one end at most");
    for (int round = 0; round < 200; ++round) {
        struct call call;
        struct crossing crossing = {.queues = {cml_queue_new_cond(), cml_queue_new_cond()}};
        pthread_t thread;
        call_new(&call, client, "GET", "/object");
        cml_request_set_flags(call.request, CML_FLAG_ANNOUNCE_HEADERS);
        uint8_t *room = call_into_buffer(&call, 100000);
        crossing.request = call.request;
        cml_request_submit(call.request, crossing.queues[0]);
        pthread_create(&thread, NULL, s_drain_both, &crossing);
        bool running = true;
        for (int i = 1; running && atomic_load(&crossing.ends) == 0; ++i) {
            running = cml_request_retarget(call.request, crossing.queues[i % 2]);
        }
        atomic_store(&crossing.stop, true);
        pthread_join(thread, NULL);
        CHECK(atomic_load(&crossing.ends) <= 1);
        cml_request_release(call.request);
        wait_for_live(CML_LIVE_REQUESTS, 0);
        cml_queue_release(crossing.queues[0]);
        cml_queue_release(crossing.queues[1]);
        free(room);
    }
}

static void s_check_sum(const char *path, int error, unsigned tries) {
    struct call call;
    check_detail = path;
    atomic_store(&attempts, 0);
    call_new(&call, client, "GET", path);
    cml_request_set_flags(call.request, CML_FLAG_VERIFY);
    uint8_t *room = call_into_buffer(&call, 9);
    CHECK_ERROR(call_run(&call), error);
    CHECK_EQ(call.progress.attempts, tries);
    CHECK(error != CML_OK || memcmp(room, "123456789", 9) == 0);
    call_free(&call);
    free(room);
}

static void test_checksums(void) {
    section("checksums of bodies: right, wrong once, wrong, of a body in two parts");
    s_check_sum("/sum/right", CML_OK, 1);
    s_check_sum("/sum/once", CML_OK, 2);
    s_check_sum("/sum/wrong", CML_ERR_CHECKSUM, 2);
    s_check_sum("/sum/cut", CML_OK, 2);
    s_check_sum("/sum/cut/wrong", CML_ERR_CHECKSUM, 4);
}

static void test_changed_without_etag(void) {
    section("an object of another size, once its headers were shown");
    struct call call;
    for (int shown = 0; shown < 2; ++shown) {
        atomic_store(&attempts, 0);
        call_new(&call, client, "GET", "/changes");
        cml_request_set_flags(call.request, shown ? CML_FLAG_ANNOUNCE_HEADERS : 0);
        uint8_t *room = call_into_buffer(&call, 5000);
        CHECK_ERROR(call_run(&call), shown ? CML_ERR_CHANGED : CML_OK);
        CHECK(shown || (call.progress.delivered == 2000 && is_pattern(room, 0, 2000)));
        call_free(&call);
        free(room);
    }
}

static void test_conditions(void) {
    section("a continuation says If-Match once, also when the caller said it");
    struct call call;
    atomic_store(&attempts, 0);
    call_new(&call, client, "GET", "/cut");
    cml_request_add_header(call.request, "If-Match", 8, "\"one\"", 5);
    uint8_t *room = call_into_buffer(&call, 1000);
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK(call.progress.attempts == 2 && is_pattern(room, 0, 1000));
    call_free(&call);
    free(room);
    section("headers of a 200 that is an error are there to be read");
    call_new(&call, client, "POST", "/error");
    cml_request_set_flags(call.request, CML_FLAG_ERROR_IN_200);
    CHECK_ERROR(call_run(&call), CML_ERR_STATUS);
    struct cml_response_view view;
    const char *body;
    size_t length;
    cml_request_failure(call.request, &view, &body, &length);
    CHECK(view.status == 200 && length == 31);
    CHECK(view.headers != NULL && memmem(view.headers, view.headers_len, "request-id\0" "42", 13) != NULL);
    call_free(&call);
}

/* ---- fork: the child starts anew and leaves alone what it has of its parent ---- */

static MAYBE_UNUSED int s_in_child(struct call *inherited) {
    alarm(20);
    unsigned before = atomic_load(&check_failures);
    CHECK(!cml_runtime_running());
    CHECK(!cml_request_feed(inherited->request, inherited, 1));
    cml_request_cancel(inherited->request);
    cml_client_release(client); /* its parent's: must not reach the parent's loops */
    struct cml_runtime_options options = {.threads = 1, .max_connections = 4};
    CHECK_EQ(cml_runtime_start(&options), 0);
    queue = cml_queue_new_cond();
    client = client_of(&server);
    struct call call;
    call_new(&call, client, "GET", "/object");
    uint8_t *room = call_into_buffer(&call, 100000);
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK(is_pattern(room, 0, 100000));
    call_free(&call);
    CHECK(cml_runtime_quiesce(2000));
    _exit(atomic_load(&check_failures) > before);
}

static void test_fork(void) {
#ifdef __SANITIZE_THREAD__
    printf("  (the thread sanitizer does not survive threads in a forked child: fork is not tested here)\n");
#else
    section("a forked child starts anew; the parent goes on");
    struct call call;
    call_new(&call, client, "GET", "/head-only");
    uint8_t *room = call_into_buffer(&call, 1000);
    call_submit(&call);
    call_watch(&call, 50);
    pid_t child = fork();
    if (child == 0) {
        s_in_child(&call);
    }
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    struct call other;
    call_new(&other, client, "GET", "/object");
    CHECK_ERROR(call_run(&other), CML_OK);
    call_free(&other);
    CHECK(!call.progress.finished);
    cml_request_cancel(call.request);
    CHECK(call_wait(&call, LONG_MS));
    call_free(&call);
    free(room);
#endif
}

int main(void) {
    cml_runtime_watch_forks();
    engine_start(2, 64);
    server_start(&server, s_handle);
    client = client_of(&server);
    test_headers_first();
    test_gaps();
    test_retarget();
    test_note_never_read();
    test_retarget_while_drained();
    test_checksums();
    test_changed_without_etag();
    test_conditions();
    test_fork();
    cml_client_release(client);
    return engine_end(&server);
}
