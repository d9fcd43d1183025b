/* Responses of servers that behave and of servers that do not, on the real engine: bodies into memory, ranges, errors,
 * and what is tried again.
 */
#include "support/engine.h"

static struct server server;
static struct cml_client *client;
static atomic_uint attempts; /* since the last call */
static char seen[4][600];    /* "Range / If-Match" of the first attempts */

static void s_see(struct exchange *x, unsigned attempt) {
    if (attempt < 4) {
        const char *range = header(x, "Range");
        size_t used = (size_t)snprintf(seen[attempt], 300, "%s", range != NULL ? range : "-");
        const char *match = header(x, "If-Match");
        snprintf(seen[attempt] + used, 300, " %s", match != NULL ? match : "-");
    }
}

/* ---- the scripts, one a path ---- */

static bool s_broken_body(struct exchange *x, unsigned attempt, bool with_reset) {
    uint64_t from, end;
    asked_range(x, 400000, &from, &end);
    if (attempt < 2) { /* 100,000 bytes more at each attempt */
        say_object_head(x, 400000, "\"one\"");
        send_pattern(x, from, from + 100000);
        check_sleep_ms(30);
        return with_reset ? reset(x) : false;
    }
    return send_object(x, 400000, "\"one\"");
}

static bool s_changes(struct exchange *x, unsigned attempt) {
    if (attempt == 0) {
        say_object_head(x, 400000, "\"one\"");
        send_pattern(x, 0, 100000);
        check_sleep_ms(30);
        return false;
    }
    if (strcmp(x->path, "/changes/412") == 0) {
        return say(x, "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n");
    }
    return send_object(x, 400000, "\"two\""); /* a server that ignores If-Match */
}

static bool s_one_odd_answer(struct exchange *x) {
    static const struct {
        const char *path, *answer;
    } answers[] = {
        {"/no-length", "HTTP/1.1 200 OK\r\n\r\nhello"},
        {"/both", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
        {"/garbage", "HELLO THERE\r\n\r\n"},
        {"/404", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot there"},
        {"/304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"},
        {"/204", "HTTP/1.1 204 No Content\r\n\r\n"},
        {"/empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
        {"/100", "HTTP/1.1 100 Continue\r\nX-Not: this\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"},
        {"/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n"},
        {"/chunked-cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n"},
        {"/503", "HTTP/1.1 503 Slow\r\nContent-Length: 3\r\nRetry-After: 0\r\n\r\nno!"},
        {"/huge", "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\nhello"},
        {"/206", "HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/9\r\n\r\nhello"},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); ++i) {
        if (strcmp(answers[i].path, x->path) == 0) {
            say(x, "%s", answers[i].answer);
            return strstr(answers[i].path, "cut") == NULL && x->path[1] != 'n' && x->path[1] != 'h';
        }
    }
    return say(x, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
}

static bool s_handle(struct exchange *x) {
    unsigned attempt = atomic_fetch_add(&attempts, 1);
    s_see(x, attempt);
    if (strncmp(x->path, "/object/", 8) == 0) {
        return send_object(x, strtoull(x->path + 8, NULL, 10), "\"one\"");
    }
    if (strcmp(x->path, "/truncated") == 0 || strcmp(x->path, "/resets") == 0) {
        return s_broken_body(x, attempt, x->path[1] == 'r');
    }
    if (strncmp(x->path, "/changes", 8) == 0) {
        return s_changes(x, attempt);
    }
    if (strcmp(x->path, "/ignores-range") == 0 || (strcmp(x->path, "/resumes-with-200") == 0 && attempt > 0)) {
        say(x, "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\nETag: \"one\"\r\n\r\n");
        return send_pattern(x, 0, 400000);
    }
    if (strcmp(x->path, "/resumes-with-200") == 0) {
        return s_broken_body(x, 0, false);
    }
    if (strcmp(x->path, "/no-etag") == 0) {
        say_object_head(x, 400000, NULL);
        return send_pattern(x, 0, attempt == 0 ? 100000 : 400000) && attempt > 0;
    }
    if (strcmp(x->path, "/recovers") == 0 && attempt < 2) {
        return say(x, "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno");
    }
    if (strcmp(x->path, "/silent") == 0 && attempt < 2) {
        return reset(x);
    }
    return x->path[1] == 'r' || x->path[1] == 's' ? send_object(x, 1000, "\"one\"") : s_one_odd_answer(x);
}

/* ---- the checks ---- */

static int s_get(struct call *call, const char *path, uint8_t **room, size_t capacity) {
    atomic_store(&attempts, 0);
    memset(seen, 0, sizeof(seen));
    call_new(call, client, "GET", path);
    *room = call_into_buffer(call, capacity);
    return call_run(call);
}

/* A GET of all of it, right at the end whatever happened on the way. */
static void s_gets(const char *path, size_t size, unsigned tries) {
    struct call call;
    uint8_t *room;
    CHECK_ERROR(s_get(&call, path, &room, size), CML_OK);
    CHECK_EQ(call.progress.attempts, tries);
    CHECK_EQ(call.progress.delivered, size);
    CHECK_EQ(call.progress.pieces_done, size > 0);
    CHECK(is_pattern(room, 0, size));
    call_free(&call);
    free(room);
}

static void s_fails(const char *path, int error, unsigned tries) {
    struct call call;
    uint8_t *room;
    check_detail = path;
    CHECK_ERROR(s_get(&call, path, &room, 400000), error);
    CHECK_EQ(atomic_load(&attempts), tries);
    call_free(&call);
    free(room);
}

static void test_whole(void) {
    section("GET into a buffer, sizes up to 3 MiB");
    static const size_t sizes[] = {1, 2, 1000, 16384, 65535, 65536, 65537, 262144, 262145, 3 * MIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        char path[40];
        snprintf(path, sizeof(path), "/object/%zu", sizes[i]);
        s_gets(path, sizes[i], 1);
    }
    section("GET of less and of more than there is room for");
    struct call call;
    uint8_t *room;
    CHECK_ERROR(s_get(&call, "/object/1000", &room, 5000), CML_OK);
    CHECK(call.progress.delivered == 1000 && call.progress.pieces_done == 1 && is_pattern(room, 0, 1000));
    CHECK_EQ(room[1000], 0);
    call_free(&call);
    free(room);
    CHECK_ERROR(s_get(&call, "/object/300000", &room, 299999), CML_ERR_TOO_LARGE);
    CHECK_EQ(atomic_load(&attempts), 1);
    call_free(&call);
    free(room);
}

static void s_collect(const char *path, uint64_t limit, int error, size_t length) {
    struct call call;
    atomic_store(&attempts, 0);
    call_new(&call, client, "GET", path);
    cml_request_set_sink(call.request, CML_SINK_COLLECT, limit);
    CHECK_ERROR(call_run(&call), error);
    struct cml_buffer *body = cml_request_take_body(call.request);
    if (error == CML_OK && length > 0 && CHECK(body != NULL)) {
        CHECK_EQ(body->length, length);
        CHECK(path[1] != 'o' || is_pattern(body->data, 0, length));
    }
    cml_buffer_release(body);
    call_free(&call);
}

static void test_collect(void) {
    section("the engine gathers the body, up to a limit");
    s_collect("/object/1", 100, CML_OK, 1);
    s_collect("/object/200000", 200000, CML_OK, 200000);
    s_collect("/object/200001", 200000, CML_ERR_TOO_LARGE, 0);
    s_collect("/huge", UINT64_MAX, CML_ERR_TRUNCATED, 0); /* no memory is taken for bytes that have not come */
    s_collect("/huge", 1000, CML_ERR_TRUNCATED, 0);
    s_collect("/chunked", 100, CML_OK, 5);
    s_collect("/empty", 100, CML_OK, 0);
    s_collect("/204", 100, CML_OK, 0);
    s_collect("/100", 100, CML_OK, 2);
    s_collect("/no-etag", 400000, CML_OK, 400000);
    s_collect("/truncated", 400000, CML_OK, 400000);
}

static void test_breaks(void) {
    section("a body cut short or reset goes on by Range and If-Match");
    s_gets("/truncated", 400000, 3);
    CHECK(strcmp(seen[0], "- -") == 0);
    CHECK(strcmp(seen[1], "bytes=100000-399999 \"one\"") == 0);
    CHECK(strcmp(seen[2], "bytes=200000-399999 \"one\"") == 0);
    s_gets("/resets", 400000, 3);
    CHECK(strncmp(seen[1], "bytes=", 6) == 0 && strstr(seen[1], "\"one\"") != NULL);
    section("a server that answers the continuation with all of it");
    s_gets("/resumes-with-200", 400000, 2);
    section("without an ETag it starts anew");
    s_gets("/no-etag", 400000, 2);
    CHECK(strcmp(seen[1], "- -") == 0);
    section("an object that changed meanwhile is an error, not a mixture");
    s_fails("/changes/412", CML_ERR_CHANGED, 2);
    s_fails("/changes/200", CML_ERR_CHANGED, 2);
    section("errors of the server that pass, resets before any answer");
    s_gets("/recovers", 1000, 3);
    s_gets("/silent", 1000, 3);
}

static void s_range(enum cml_range kind, uint64_t a, uint64_t b, uint64_t from, uint64_t end, const char *sent) {
    struct call call;
    atomic_store(&attempts, 0);
    call_new(&call, client, "GET", "/object/1000");
    cml_request_set_range(call.request, kind, a, b);
    uint8_t *room = call_into_buffer(&call, 1000);
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK_EQ(call.progress.delivered, end - from);
    CHECK(is_pattern(room, from, (size_t)(end - from)));
    CHECK(strncmp(seen[0], sent, strlen(sent)) == 0);
    struct cml_response_view view;
    cml_request_response(call.request, &view);
    CHECK(view.status == 206 && view.has_range && view.total == 1000);
    CHECK(view.range_start == from && view.range_end == end);
    call_free(&call);
    free(room);
}

static void test_ranges(void) {
    section("ranges");
    s_range(CML_RANGE_BOUNDED, 0, 1, 0, 1, "bytes=0-0 ");
    s_range(CML_RANGE_BOUNDED, 100, 900, 100, 900, "bytes=100-899 ");
    s_range(CML_RANGE_BOUNDED, 900, 5000, 900, 1000, "bytes=900-4999 ");
    s_range(CML_RANGE_OFFSET, 10, 0, 10, 1000, "bytes=10- ");
    s_range(CML_RANGE_SUFFIX, 0, 10, 990, 1000, "bytes=-10 ");
    s_range(CML_RANGE_SUFFIX, 0, 5000, 0, 1000, "bytes=-5000 ");
    section("a range that is answered with something else");
    static const char *const wrong[] = {"/ignores-range", "/206"};
    for (int i = 0; i < 2; ++i) {
        struct call call;
        atomic_store(&attempts, 0);
        call_new(&call, client, "GET", wrong[i]);
        cml_request_set_range(call.request, CML_RANGE_BOUNDED, 10, 20);
        uint8_t *room = call_into_buffer(&call, 400000);
        CHECK_ERROR(call_run(&call), CML_ERR_WRONG_RANGE);
        CHECK_EQ(room[0], 0);
        call_free(&call);
        free(room);
    }
}

static void test_failures(void) {
    section("answers that are errors, at once or after all retries");
    s_fails("/no-length", CML_ERR_NO_LENGTH, 2); /* said twice: it is how this server answers */
    s_fails("/both", CML_ERR_PROTOCOL, 4);
    s_fails("/garbage", CML_ERR_PROTOCOL, 4);
    s_fails("/206", CML_ERR_WRONG_RANGE, 2); /* this too */
    s_fails("/chunked-cut", CML_ERR_TRUNCATED, 4);
    s_fails("/503", CML_ERR_STATUS, 4);
    s_fails("/404", CML_ERR_STATUS, 1);
    s_fails("/304", CML_ERR_STATUS, 1);
    struct call call;
    uint8_t *room;
    struct cml_response_view view;
    const char *body;
    size_t length;
    CHECK_ERROR(s_get(&call, "/404", &room, 10), CML_ERR_STATUS);
    cml_request_failure(call.request, &view, &body, &length);
    CHECK(view.status == 404 && length == 9 && memcmp(body, "not there", 9) == 0);
    CHECK_EQ(room[0], 0);
    call_free(&call);
    free(room);
}

static void test_head(void) {
    section("HEAD");
    struct call call;
    call_new(&call, client, "HEAD", "/object/123456789");
    CHECK_ERROR(call_run(&call), CML_OK);
    struct cml_response_view view;
    cml_request_response(call.request, &view);
    CHECK(view.status == 200 && view.content_length == 123456789);
    CHECK(memmem(view.headers, view.headers_len, "ETag\0\"one\"\0", 11) != NULL);
    call_free(&call);
}

/* A header that HTTP does not allow never leaves: no attempt at another try can make it better. */
static void test_bad_requests(void) {
    section("requests that cannot be sent fail at once");
    struct call call;
    double before = check_now_s();
    call_new(&call, client, "GET", "/object/1");
    cml_request_add_header(call.request, "X-Bad", 5, "a\r\nb: c", 7);
    CHECK_ERROR(call_run(&call), CML_ERR_INTERNAL);
    CHECK_EQ(call.progress.attempts, 1);
    call_free(&call);
    call_new(&call, client, "GET", "/a b\r\n");
    CHECK_ERROR(call_run(&call), CML_ERR_INTERNAL);
    CHECK_EQ(call.progress.attempts, 1);
    call_free(&call);
    CHECK(check_now_s() - before < 1.0);
    CHECK(cml_request_new(client, "TOOLONGTOBEAMETHOD", "/", 1) == NULL);
}

int main(void) {
    engine_start(2, 64);
    server_start(&server, s_handle);
    client = client_of(&server);
    test_whole();
    test_collect();
    test_breaks();
    test_ranges();
    test_failures();
    test_head();
    test_bad_requests();
    cml_client_release(client);
    return engine_end(&server);
}
