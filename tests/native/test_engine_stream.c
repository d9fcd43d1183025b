/* Streams: bodies that are read as fast as their consumer makes room and no faster. Pausing, parking, giving the
 * connection to others and going on later; none of it may lose, repeat or invent a byte, or wait for ever.
 */
#include "support/engine.h"

#define SIZE (6 * MIB) /* more than is fetched before anybody asks for it */

static struct server server;
static atomic_uint attempts;
static atomic_ullong sent;
static atomic_bool held; /* a slow server sends no more until this is false */

/* Sends slowly enough that what is counted as sent was taken by the client or the kernel. */
static bool s_send_counted(struct exchange *x, uint64_t from, uint64_t end) {
    while (from < end) {
        uint64_t next = from + 32 * KIB < end ? from + 32 * KIB : end;
        if (!send_pattern(x, from, next)) {
            return false;
        }
        atomic_fetch_add(&sent, next - from);
        from = next;
    }
    return true;
}

static bool s_chunked(struct exchange *x) {
    bool ok = say(x, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (uint64_t at = 0; ok && at < SIZE; at += 64 * KIB) {
        ok = say(x, "%x\r\n", (unsigned)(64 * KIB)) && send_pattern(x, at, at + 64 * KIB) && say(x, "\r\n");
    }
    return ok && say(x, "0\r\n\r\n");
}

static bool s_say_all_of_it(struct exchange *x, uint64_t until) {
    return say(x, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\nETag: \"one\"\r\n\r\n", (unsigned long long)SIZE) &&
           send_pattern(x, 0, until);
}

#define SLOW_SIZE (2 * MIB)

static bool s_slow(struct exchange *x, unsigned attempt, uint64_t from, uint64_t end) {
    end = end < SLOW_SIZE ? end : SLOW_SIZE;
    bool ok = say_object_head(x, SLOW_SIZE, strcmp(x->path, "/slow-weak") == 0 ? "W/\"one\"" : "\"one\"");
    if (attempt > 0) {
        return ok && send_pattern(x, from, end);
    }
    ok = ok && send_pattern(x, 0, 70000);
    while (ok && atomic_load(&held) && !atomic_load(&x->server->stopping)) {
        check_sleep_ms(1);
    }
    bool breaks = strcmp(x->path, "/slow") != 0;
    return ok && send_pattern(x, 70000, breaks ? 150000 : end) && !breaks;
}

static bool s_handle(struct exchange *x) {
    unsigned attempt = atomic_fetch_add(&attempts, 1);
    uint64_t from, end;
    asked_range(x, SIZE, &from, &end);
    if (strcmp(x->path, "/chunked") == 0) {
        return s_chunked(x);
    }
    if (strcmp(x->path, "/start") == 0) { /* more than the window, and no more than that */
        return say_object_head(x, SIZE, "\"one\"") && send_pattern(x, 0, 80 * KIB) && hang(x);
    }
    if (strcmp(x->path, "/weak") == 0) {
        return say_object_head(x, SIZE, "W/\"one\"") && s_send_counted(x, from, end);
    }
    if (strcmp(x->path, "/breaks") == 0 && attempt < 3) { /* 300,000 bytes an attempt */
        say_object_head(x, SIZE, "\"one\"");
        send_pattern(x, from, from + 300000);
        return false;
    }
    if (strcmp(x->path, "/resumes-with-200") == 0 && attempt == 0) {
        s_say_all_of_it(x, 200000);
        return false;
    }
    if (strcmp(x->path, "/resumes-with-200") == 0) {
        s_say_all_of_it(x, attempt == 1 ? 250000 : SIZE);
        return attempt == 1 ? hang(x) : true;
    }
    if (strncmp(x->path, "/slow", 5) == 0) { /* breaks in the middle: /slow-breaks, and /slow-weak with nothing to go on by */
        return s_slow(x, attempt, from, end);
    }
    if (strncmp(x->path, "/small/", 7) == 0) {
        return send_object(x, strtoull(x->path + 7, NULL, 10), "\"s\"");
    }
    return say_object_head(x, SIZE, "\"one\"") && s_send_counted(x, from, end);
}

static struct cml_client *s_client(uint32_t connections, uint64_t stall_ms) {
    struct cml_client_options options = client_options(&server);
    options.max_connections = connections;
    options.stall_timeout_ms = stall_ms;
    return cml_client_new(&options);
}

static void s_stream(struct call *call, struct cml_client *client, const char *path) {
    atomic_store(&attempts, 0);
    atomic_store(&sent, 0);
    call_new(call, client, "GET", path);
    cml_request_set_sink(call->request, CML_SINK_STREAM, 0);
    call_submit(call);
}

/* Room for one piece more; waits until it is filled, or holds the last bytes, and checks them. */
static bool s_read(struct call *call, uint64_t at, size_t length) {
    uint8_t *room = malloc(length);
    cml_request_progress(call->request, &call->progress);
    uint64_t done = call->progress.pieces_done;
    bool ok = CHECK(cml_request_feed(call->request, room, length));
    cml_request_progress(call->request, &call->progress); /* what waited fills it at once, without news */
    ok = ok && CHECK(call_wait_pieces(call, done + 1));
    uint64_t got = call->progress.delivered - at;
    ok = ok && CHECK(got <= length) && CHECK(is_pattern(room, at, (size_t)got));
    if (!ok) {
        fprintf(stderr, "  at %llu, %llu waiting: %s\n", (unsigned long long)at,
                (unsigned long long)call->progress.waiting, cml_error_name(call->progress.error));
        cml_request_cancel(call->request);
        call_wait(call, LONG_MS);
    }
    free(room);
    return ok;
}

static void s_read_all(struct call *call, uint64_t at, uint64_t end, size_t step) {
    while (at < end && s_read(call, at, step)) {
        at = call->progress.delivered;
        CHECK(call->progress.waiting <= 192 * KIB);
    }
    CHECK_EQ(at, end);
    CHECK(call_wait(call, LONG_MS));
    CHECK_ERROR(call->progress.error, CML_OK);
}

static void test_pieces(void) {
    section("pieces of many sizes, one at a time");
    struct cml_client *client = s_client(2, 5000);
    static const size_t steps[] = {4096, 65536, 100000, 1 << 20, 8 << 20};
    for (size_t i = 0; i < 5; ++i) {
        struct call call;
        s_stream(&call, client, i % 2 ? "/object" : "/chunked");
        s_read_all(&call, 0, SIZE, steps[i]);
        CHECK_EQ(call.progress.attempts, 1);
        call_free(&call);
    }
    cml_client_release(client);
}

static void test_four_pieces(void) {
    section("four pieces at a time, the fifth is refused; they come back in order");
    struct cml_client *client = s_client(2, 5000);
    struct call call;
    call_new(&call, client, "GET", "/object");
    cml_request_set_sink(call.request, CML_SINK_STREAM, 0);
    uint8_t *room = malloc(SIZE);
    CHECK(!cml_request_feed(call.request, room, 0)); /* no room is no piece */
    uint64_t step = SIZE / 16, given = 0;
    for (; given < 4; ++given) {
        CHECK(cml_request_feed(call.request, room + given * step, step));
    }
    CHECK(!cml_request_feed(call.request, room, step));
    call_submit(&call);
    while (given < 16 && CHECK(call_wait_pieces(&call, given - 3))) {
        while (given < 16 && given - call.progress.pieces_done < 4) {
            CHECK(cml_request_feed(call.request, room + given++ * step, step));
        }
    }
    CHECK(call_wait(&call, LONG_MS));
    CHECK_EQ(call.progress.pieces_done, 16);
    CHECK(is_pattern(room, 0, SIZE));
    call_free(&call);
    free(room);
    cml_client_release(client);
}

/* As when the budget is used up. Returns the limit to set again. */
static uint64_t s_no_prefetch(void) {
    struct cml_pool_stats stats;
    cml_pool_stats(&stats);
    cml_pool_set_limit(0);
    return stats.limit_bytes;
}

static void test_room_after_the_end(void) {
    section("a small body waits for its room, also past the end of the response");
    uint64_t limit = s_no_prefetch();
    struct cml_client *client = s_client(2, 5000);
    struct call call;
    s_stream(&call, client, "/small/50000");
    CHECK(call_wait(&call, LONG_MS));
    CHECK(call.progress.waiting == 50000 && call.progress.delivered == 0 && call.progress.pieces_done == 0);
    uint8_t *room = malloc(60000);
    CHECK(cml_request_feed(call.request, room, 20000));
    cml_request_progress(call.request, &call.progress);
    CHECK(call.progress.pieces_done == 1 && call.progress.delivered == 20000 && call.progress.waiting == 30000);
    CHECK(cml_request_feed(call.request, room + 20000, 40000));
    cml_request_progress(call.request, &call.progress);
    CHECK(call.progress.pieces_done == 2 && call.progress.delivered == 50000 && call.progress.waiting == 0);
    CHECK(is_pattern(room, 0, 50000));
    call_free(&call);
    free(room);
    s_stream(&call, client, "/small/0");
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_OK);
    CHECK_EQ(call.progress.delivered + call.progress.waiting, 0);
    call_free(&call);
    cml_client_release(client);
    cml_pool_set_limit(limit);
}

static void test_prefetch(void) {
    section("a short body is fetched whole unasked, but not over room that was given");
    struct cml_client *client = s_client(2, 5000);
    struct call call;
    s_stream(&call, client, "/small/200000");
    CHECK(call_wait(&call, LONG_MS));
    struct cml_buffer *body = cml_request_prefetched(call.request);
    if (CHECK(body != NULL)) {
        CHECK(body->length == 200000 && is_pattern(body->data, 0, 200000));
        CHECK(call.progress.pieces_done == 1 && call.progress.delivered == 200000 && call.progress.waiting == 0);
    }
    call_free(&call);
    CHECK(body != NULL && is_pattern(body->data, 0, 200000)); /* a reference of its own */
    cml_buffer_release(body);
    uint8_t *room = malloc(200000);
    call_new(&call, client, "GET", "/small/200000");
    cml_request_set_sink(call.request, CML_SINK_STREAM, 0);
    cml_request_feed(call.request, room, 200000);
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK(cml_request_prefetched(call.request) == NULL && is_pattern(room, 0, 200000));
    call_free(&call);
    free(room);
    cml_client_release(client);
}

/* Waits until the bytes before `at` are here, as a consumer does. */
static bool s_claim(struct call *call, const struct cml_buffer *body, uint64_t at) {
    uint64_t due;
    while ((due = cml_request_claim_before(call->request, at)) > 0 && call_wait_pieces(call, due)) {
    }
    cml_request_progress(call->request, &call->progress);
    return CHECK_EQ(due, 0) && CHECK(call->progress.delivered >= at) && CHECK(is_pattern(body->data, 0, (size_t)at));
}

static struct cml_buffer *s_slow_body(struct call *call, struct cml_client *client, const char *path) {
    atomic_store(&held, true);
    s_stream(call, client, path);
    while (call->progress.delivered < 1000 && !call->progress.finished) {
        drain(10);
        cml_request_progress(call->request, &call->progress);
    }
    return cml_request_prefetched(call->request);
}

static void test_claims(void) {
    section("what is fetched unasked is its consumer's as it comes, while the server still sends");
    struct cml_client *client = s_client(2, 5000);
    struct call call;
    struct cml_buffer *body = s_slow_body(&call, client, "/slow");
    call_watch(&call, 50); /* the loop waits for a large piece by then */
    CHECK(s_claim(&call, body, 1));
    CHECK(s_claim(&call, body, 65536));
    CHECK(s_claim(&call, body, 65536));
    CHECK_EQ(cml_request_claim_before(call.request, 80000), call.progress.pieces_done + 1);
    CHECK_EQ(cml_request_claim_before(call.request, 80000), call.progress.pieces_done + 1); /* cut once */
    CHECK(!call.progress.finished);
    atomic_store(&held, false);
    for (uint64_t at = 80000; at < SLOW_SIZE && s_claim(&call, body, at); at += 30000) {
    }
    CHECK(s_claim(&call, body, SLOW_SIZE));
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_OK);
    CHECK_EQ(call.progress.attempts, 1);
    CHECK(is_pattern(body->data, 0, SLOW_SIZE));
    cml_buffer_release(body);
    call_free(&call);
    cml_client_release(client);
}

static void s_check_break(const char *path, uint64_t claimed, int error) {
    struct cml_client *client = s_client(2, 5000);
    struct call call;
    struct cml_buffer *body = s_slow_body(&call, client, path);
    CHECK(claimed == 0 || s_claim(&call, body, claimed));
    bool waits = cml_request_claim_before(call.request, 200000) > 0;
    CHECK(waits);
    atomic_store(&held, false);
    CHECK(error != CML_OK || s_claim(&call, body, 200000));
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, error);
    CHECK_EQ(call.progress.attempts, error == CML_OK ? 2 : 1);
    CHECK(is_pattern(body->data, 0, error == CML_OK ? SLOW_SIZE : claimed));
    cml_buffer_release(body);
    call_free(&call);
    cml_client_release(client);
}

static void test_claims_and_breaks(void) {
    section("a connection that ends while some of it is claimed and more is waited for");
    s_check_break("/slow-breaks", 60000, CML_OK);
    s_check_break("/slow-breaks", 0, CML_OK);
    section("the same with nothing to go on by: what is claimed is not fetched anew");
    s_check_break("/slow-weak", 0, CML_OK);
    s_check_break("/slow-weak", 60000, CML_ERR_TRUNCATED);
    section("a cancel in the middle");
    struct cml_client *client = s_client(2, 5000);
    struct call call;
    struct cml_buffer *body = s_slow_body(&call, client, "/slow");
    CHECK(s_claim(&call, body, 60000));
    CHECK(cml_request_claim_before(call.request, 200000) > 0);
    cml_request_cancel(call.request);
    CHECK(cml_request_claim_before(call.request, 200000) > 0);
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_ERR_CANCELLED);
    CHECK(cml_request_claim_before(call.request, 200000) > 0);
    atomic_store(&held, false);
    cml_buffer_release(body);
    call_free(&call);
    cml_client_release(client);
}

/* The stall timeout is the server's: a consumer may take as long as it likes. */
static void s_check_pause(const char *path) {
    struct cml_client *client = s_client(2, 200);
    struct call call;
    s_stream(&call, client, path);
    s_read(&call, 0, 10000);
    call_watch(&call, 700);
    CHECK(!call.progress.finished);
    CHECK_EQ(call.progress.attempts, 1);
    CHECK(call.progress.waiting <= 64 * KIB);
    s_read_all(&call, 10000, SIZE, 300000);
    CHECK_EQ(call.progress.attempts, 1);
    call_free(&call);
    cml_client_release(client);
}

static void test_slow_consumer(void) {
    section("a consumer slower than the stall timeout: length known");
    s_check_pause("/object");
    section("a consumer slower than the stall timeout: chunked");
    s_check_pause("/chunked");
    section("a consumer slower than the stall timeout: not resumable");
    s_check_pause("/weak");
}

/* Room may come at any moment between submission and the first bytes: whatever the order on the loop, a stream that
 * waits for its consumer is not stalled. */
static void test_room_at_any_moment(void) {
    section("room that comes while the headers do");
    enum { COUNT = 60 };
    struct cml_client *client = s_client(COUNT, 1500);
    static struct call calls[COUNT];
    static uint8_t room[COUNT][1000];
    uint64_t seed = 99;
    for (int i = 0; i < COUNT; ++i) {
        s_stream(&calls[i], client, "/start");
        for (uint64_t spin = check_random(&seed) % 20000; spin > 0; --spin) {
            atomic_signal_fence(memory_order_seq_cst);
        }
        cml_request_feed(calls[i].request, room[i], sizeof(room[i]));
    }
    call_watch(&calls[0], 3200);
    for (int i = 0; i < COUNT; ++i) {
        cml_request_progress(calls[i].request, &calls[i].progress);
        CHECK(!calls[i].progress.finished);
        CHECK_EQ(calls[i].progress.attempts, 1);
        cml_request_cancel(calls[i].request);
    }
    for (int i = 0; i < COUNT; ++i) {
        CHECK(call_wait(&calls[i], LONG_MS));
        call_free(&calls[i]);
    }
    cml_client_release(client);
}

static void test_evict(void) {
    section("a paused stream gives its connection to others and goes on later");
    struct cml_client *client = s_client(1, 5000);
    struct call stream, other;
    s_stream(&stream, client, "/object");
    s_read(&stream, 0, 100000);
    for (int i = 0; i < 3; ++i) {
        call_new(&other, client, "GET", "/small/1000");
        CHECK_ERROR(call_run(&other), CML_OK);
        call_free(&other);
        s_read(&stream, stream.progress.delivered, 100000);
    }
    s_read_all(&stream, stream.progress.delivered, SIZE, 100000);
    CHECK(stream.progress.attempts >= 3 && stream.progress.attempts <= 4);
    call_free(&stream);
    section("one that cannot go on keeps it");
    s_stream(&stream, client, "/weak");
    s_read(&stream, 0, 100000);
    call_new(&other, client, "GET", "/small/1000");
    call_submit(&other);
    call_watch(&other, 200);
    CHECK(!other.progress.finished);
    s_read_all(&stream, 100000, SIZE, 100000);
    CHECK_EQ(stream.progress.attempts, 1);
    CHECK(call_wait(&other, LONG_MS));
    call_free(&stream);
    call_free(&other);
    cml_client_release(client);
}

/* Each small step of the consumer follows an eviction: what waits must not grow by a window each time. */
static void test_bounded_memory(void) {
    section("what waits for room stays bounded however often the stream is evicted");
    struct cml_client *client = s_client(1, 5000);
    struct call stream, other;
    s_stream(&stream, client, "/object");
    s_read(&stream, 0, 4096);
    for (int i = 0; i < 20; ++i) {
        call_new(&other, client, "GET", "/small/1000");
        CHECK_ERROR(call_run(&other), CML_OK);
        call_free(&other);
        s_read(&stream, stream.progress.delivered, 4096);
        call_watch(&stream, 10);
        CHECK(stream.progress.waiting <= 160 * KIB);
    }
    s_read_all(&stream, stream.progress.delivered, SIZE, 300000);
    call_free(&stream);
    cml_client_release(client);
}

static void test_breaks(void) {
    section("connections that end while the consumer reads, or has no room");
    struct cml_client *client = s_client(2, 5000);
    struct call stream;
    s_stream(&stream, client, "/breaks");
    s_read_all(&stream, 0, SIZE, SIZE);
    CHECK_EQ(stream.progress.attempts, 4);
    call_free(&stream);
    s_stream(&stream, client, "/breaks");
    for (uint64_t at = 0; at < SIZE && s_read(&stream, at, 70000); at = stream.progress.delivered) {
        call_watch(&stream, 20); /* the server has ended by then */
    }
    CHECK_EQ(stream.progress.delivered, SIZE);
    CHECK(call_wait(&stream, LONG_MS));
    call_free(&stream);
    cml_client_release(client);
}

static void test_skipping(void) {
    section("a continuation answered with all of it, by a server that then stalls");
    struct cml_client *client = s_client(2, 300);
    struct call stream;
    s_stream(&stream, client, "/resumes-with-200");
    s_read(&stream, 0, 300000);
    s_read_all(&stream, 300000, SIZE, SIZE);
    CHECK_EQ(stream.progress.attempts, 3);
    call_free(&stream);
    cml_client_release(client);
}

int main(void) {
    engine_start(2, 512);
    server_start(&server, s_handle);
    test_pieces();
    test_four_pieces();
    test_room_after_the_end();
    test_prefetch();
    test_claims();
    test_claims_and_breaks();
    test_slow_consumer();
    test_room_at_any_moment();
    test_evict();
    test_bounded_memory();
    test_breaks();
    test_skipping();
    return engine_end(&server);
}
