/* Uploads from memory and from files: what arrives is what was given, also at the second attempt; answers that come
 * before the body has gone; sources that fail.
 */
#include "support/engine.h"

#include <fcntl.h>
#include <sys/mman.h>

#define SIZE (4 * MIB)

static struct server server;
static struct cml_client *client, *signing;
static atomic_uint attempts;
static atomic_ullong arrived; /* bytes of the last body that came in full and right */

static bool s_ok(struct exchange *x) {
    return say(x, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"new\"\r\n\r\n");
}

static bool s_store(struct exchange *x, uint64_t from) {
    bool whole = read_pattern(x, from);
    atomic_store(&arrived, whole ? x->body_read : UINT64_MAX);
    return whole && s_ok(x);
}

/* An answer while most of the body is still to come. The connection stays open, and nothing more is read. */
static bool s_answer_early(struct exchange *x, const char *answer) {
    char some[1000];
    read_body(x, some, sizeof(some));
    say(x, "%s", answer);
    return hang(x);
}

static bool s_error_in_200(struct exchange *x, unsigned attempt) {
    static const char error[] = "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>";
    static const char good[] = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>";
    bool fails = strcmp(x->path, "/error-in-200/always") == 0 || attempt < 2;
    const char *body = fails ? error : good;
    return read_pattern(x, 0) && say(x, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
}

static bool s_handle(struct exchange *x) {
    unsigned attempt = atomic_fetch_add(&attempts, 1);
    char some[50000];
    if (strncmp(x->path, "/from/", 6) == 0) {
        return s_store(x, strtoull(x->path + 6, NULL, 10));
    }
    if (strcmp(x->path, "/resets") == 0 && attempt < 2) {
        read_body(x, some, sizeof(some));
        return reset(x);
    }
    if (strcmp(x->path, "/503") == 0 && attempt < 2) {
        return read_pattern(x, 0) && say(x, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    }
    if (strcmp(x->path, "/413") == 0) {
        return s_answer_early(x, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nbig!");
    }
    if (strcmp(x->path, "/413/empty") == 0) {
        return s_answer_early(x, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    }
    if (strcmp(x->path, "/413/close") == 0) {
        s_answer_early(x, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig!");
        return false;
    }
    if (strncmp(x->path, "/error-in-200", 13) == 0) {
        return s_error_in_200(x, attempt);
    }
    return s_store(x, 0);
}

static uint8_t *s_pattern(size_t size) {
    uint8_t *data = malloc(size + 1);
    for (size_t i = 0; i < size; ++i) {
        data[i] = pattern_at(i);
    }
    return data;
}

static int s_put(struct call *call, const char *path, const uint8_t *data, size_t size) {
    atomic_store(&attempts, 0);
    atomic_store(&arrived, 0);
    call_new(call, client, "PUT", path);
    cml_request_set_body_memory(call->request, &(struct cml_bytes){.data = data, .length = size}, 1);
    return call_run(call);
}

static void test_memory(void) {
    section("PUT from memory, sizes up to 4 MiB");
    static const size_t sizes[] = {0, 1, 2, 16383, 16384, 65536, 262144, 262145, 1000000, SIZE};
    uint8_t *data = s_pattern(SIZE);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        struct call call;
        CHECK_ERROR(s_put(&call, "/object", data, sizes[i]), CML_OK);
        CHECK_EQ(atomic_load(&arrived), sizes[i]);
        CHECK_EQ(call_status(&call), 200);
        call_free(&call);
    }
    section("a second attempt sends all of it again");
    static const char *const paths[] = {"/resets", "/503"};
    for (int i = 0; i < 2; ++i) {
        struct call call;
        CHECK_ERROR(s_put(&call, paths[i], data, SIZE), CML_OK);
        CHECK_EQ(atomic_load(&arrived), SIZE);
        CHECK_EQ(call.progress.attempts, 3);
        call_free(&call);
    }
    struct cml_client_stats stats;
    cml_client_stats(client, &stats);
    CHECK(stats.requests == 12 && stats.attempts == 16 && stats.retries == 4 && stats.errors == 0);
    free(data);
}

static int s_file(size_t size) {
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int fd = dup(fileno(file));
    fclose(file);
    uint8_t *data = s_pattern(size);
    CHECK_EQ(write(fd, data, size), size);
    free(data);
    return fd;
}

/* The kernel sends of files where the server can tell that they have changed since. */
static void s_make_signing(void) {
    struct cml_client_options options = client_options(&server);
    options.credentials = cml_credentials_new(NULL, NULL);
    cml_credentials_publish(options.credentials, "KEY", "secret", NULL, 0, 0);
    options.region = "us-east-1";
    options.service = "s3";
    options.sign_payload = true;
    signing = cml_client_new(&options);
    cml_credentials_release(options.credentials);
}

static int s_put_file(struct call *call, struct cml_client *by, const char *path, int fd, uint64_t offset, uint64_t size) {
    atomic_store(&attempts, 0);
    atomic_store(&arrived, 0);
    call_new(call, by, "PUT", path);
    cml_request_set_body_file(call->request, fd, offset, size);
    return call_run(call);
}

static void test_file(struct cml_client *by) {
    int fd = s_file(SIZE);
    struct call call;
    CHECK_ERROR(s_put_file(&call, by, "/object", fd, 0, SIZE), CML_OK);
    CHECK_EQ(atomic_load(&arrived), SIZE);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), SIZE); /* pread: the position stays the caller's */
    call_free(&call);
    CHECK_ERROR(s_put_file(&call, by, "/from/12345", fd, 12345, 1000000), CML_OK);
    CHECK_EQ(atomic_load(&arrived), 1000000);
    call_free(&call);
    CHECK_ERROR(s_put_file(&call, by, "/resets", fd, 0, SIZE), CML_OK);
    CHECK_EQ(atomic_load(&arrived), SIZE);
    call_free(&call);
    CHECK_ERROR(s_put_file(&call, by, "/object", fd, 0, SIZE + 1), CML_ERR_BODY_READ);
    CHECK_EQ(call.progress.attempts, 1);
    call_free(&call);
    close(fd);
    CHECK_ERROR(s_put_file(&call, by, "/object", fd, 0, 10), CML_ERR_BODY_READ);
    call_free(&call);
    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    CHECK_ERROR(s_put_file(&call, by, "/object", pipes[0], 0, 10), CML_ERR_BODY_READ);
    call_free(&call);
    close(pipes[0]);
    close(pipes[1]);
}

/* More than the kernel takes unread: the answer has to end the upload. */
static void test_early_answers(void) {
    section("an error that comes before the body has gone ends the upload at once");
    size_t size = 64 * MIB;
    uint8_t *data = calloc(1, size);
    static const char *const paths[] = {"/413", "/413/empty", "/413/close"};
    for (int i = 0; i < 3; ++i) {
        struct call call;
        check_detail = paths[i];
        double before = check_now_s();
        CHECK_ERROR(s_put(&call, paths[i], data, size), CML_ERR_STATUS);
        CHECK(check_now_s() - before < 1.5);
        CHECK_EQ(failure_status(&call), 413);
        CHECK_EQ(atomic_load(&attempts), 1);
        call_free(&call);
    }
    free(data);
}

static void s_complete(const char *path, int error, unsigned tries) {
    struct call call;
    atomic_store(&attempts, 0);
    call_new(&call, client, "POST", path);
    cml_request_set_flags(call.request, CML_FLAG_ERROR_IN_200);
    CHECK_ERROR(call_run(&call), error);
    CHECK_EQ(call.progress.attempts, tries);
    if (error == CML_ERR_STATUS) {
        struct cml_response_view view;
        const char *text;
        size_t length;
        cml_request_failure(call.request, &view, &text, &length);
        CHECK(view.status == 200 && memmem(text, length, "InternalError", 13) != NULL);
    } else {
        struct cml_buffer *body = cml_request_take_body(call.request);
        CHECK(body != NULL && memcmp(body->data, "<Complete", 9) == 0);
        cml_buffer_release(body);
    }
    call_free(&call);
}

static void test_error_in_200(void) {
    section("an <Error> in a 200 is an error, and tried again");
    s_complete("/error-in-200", CML_OK, 3);
    s_complete("/error-in-200/always", CML_ERR_STATUS, 4);
}

int main(void) {
    engine_start(2, 64);
    server_start(&server, s_handle);
    client = client_of(&server);
    s_make_signing();
    test_memory();
    section("PUT from a file: all of it, a part, one that is too short, none");
    test_file(client);
    section("the same by the kernel");
    test_file(signing);
    test_early_answers();
    test_error_in_200();
    cml_client_release(client);
    cml_client_release(signing);
    return engine_end(&server);
}
