/* Jobs of aws-c-s3: that end well, are cancelled, fail, and are under way when the process ends. That a cancel of a
 * download is complete when it returns, and that no upload is left at the server.
 *
 * The disk is real, but pwrite comes by here first: it may be slow or refuse.
 */
#include "support/engine.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PART (5 * MIB)
#define SIZE (12 * MIB + 345) /* three parts, the last one short */

static struct server server;
static struct cml_client *client;
static char host_header[32];
static atomic_uint attempts, creating, created, aborted, completed, stuck;
static atomic_ullong arrived; /* bytes of parts that came in full and right */

/* ---- the disk ---- */

static atomic_uint write_delay_ms, writing, written_after_stop;
static atomic_int write_error;
static atomic_bool stopped;

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    static ssize_t (*_Atomic real)(int, const void *, size_t, off_t);
    if (real == NULL) {
        void *found = dlsym(RTLD_NEXT, "pwrite64");
        memcpy((void *)&real, &found, sizeof(found));
    }
    atomic_fetch_add(&writing, 1);
    if (atomic_load(&write_delay_ms) > 0) {
        check_sleep_ms(atomic_load(&write_delay_ms));
    }
    ssize_t result = -1;
    if (atomic_load(&write_error) != 0) {
        errno = atomic_load(&write_error);
    } else {
        result = real(fd, data, length > 100 ? length - length / 3 : length, offset);
    }
    atomic_fetch_add(&written_after_stop, atomic_load(&stopped));
    atomic_fetch_sub(&writing, 1);
    return result;
}

static int s_file(void) {
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int fd = dup(fileno(file));
    CHECK(fd >= 0);
    fclose(file);
    return fd;
}

/* ---- the server ---- */

static bool s_say_xml(struct exchange *x, const char *body) {
    return say(x, "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
}

/* Until the client goes away. */
static bool s_stuck(struct exchange *x) {
    char some[50000];
    atomic_fetch_add(&stuck, 1);
    while (recv(x->fd, some, sizeof(some), 0) > 0) {
        check_sleep_ms(20);
    }
    atomic_fetch_sub(&stuck, 1);
    return false;
}

static bool s_create(struct exchange *x) {
    static const char answer[] = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
    atomic_fetch_add(&creating, 1);
    if (strncmp(x->path, "/slow-to-create", 15) == 0) {
        check_sleep_ms(200);
    }
    atomic_fetch_add(&created, 1);
    return s_say_xml(x, answer);
}

static bool s_part(struct exchange *x) {
    char some[50000];
    if (strncmp(x->path, "/stuck", 6) == 0) {
        read_body(x, some, sizeof(some));
        return s_stuck(x);
    }
    if (strncmp(x->path, "/refuses", 8) == 0) {
        return say(x, "HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") && false;
    }
    const char *number = strstr(x->path, "partNumber=");
    if (!read_pattern(x, (strtoull(number + 11, NULL, 10) - 1) * PART)) {
        return false;
    }
    atomic_fetch_add(&arrived, x->body_read);
    return say(x, "HTTP/1.1 200 OK\r\nETag: \"part\"\r\nContent-Length: 0\r\n\r\n");
}

static bool s_upload(struct exchange *x) {
    if (strcmp(x->method, "DELETE") == 0) {
        atomic_fetch_add(&aborted, 1);
        return say(x, "HTTP/1.1 204 Gone\r\n\r\n");
    }
    if (strcmp(x->method, "PUT") == 0) {
        return s_part(x);
    }
    if (strstr(x->path, "uploads") != NULL) {
        return s_create(x);
    }
    char some[5000];
    while (read_body(x, some, sizeof(some)) > 0) {
    }
    atomic_fetch_add(&completed, 1);
    return s_say_xml(x, "<CompleteMultipartUploadResult><ETag>\"new\"</ETag></CompleteMultipartUploadResult>");
}

/* "/trickle/n": a block of it every n milliseconds. */
static bool s_trickle(struct exchange *x) {
    unsigned pause_ms = (unsigned)strtoul(x->path + 9, NULL, 10);
    uint64_t from, end;
    asked_range(x, SIZE, &from, &end);
    bool ok = say_object_head(x, SIZE, "\"one\"");
    for (uint64_t at = from; ok && at < end; at += 100000) {
        ok = send_pattern(x, at, at + 100000 < end ? at + 100000 : end);
        check_sleep_ms(pause_ms);
    }
    return ok;
}

static bool s_handle(struct exchange *x) {
    unsigned attempt = atomic_fetch_add(&attempts, 1);
    if (strcmp(x->method, "GET") != 0) {
        return s_upload(x);
    }
    if (strncmp(x->path, "/trickle/", 9) == 0) {
        return s_trickle(x);
    }
    if (strcmp(x->path, "/stuck") == 0) {
        say_object_head(x, SIZE, "\"one\"");
        send_pattern(x, 0, 100000);
        return s_stuck(x);
    }
    if (strcmp(x->path, "/403") == 0) {
        return say(x, "HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nno!\n");
    }
    if (strcmp(x->path, "/503") == 0 || (strcmp(x->path, "/503/twice") == 0 && attempt < 2)) {
        return say(x, "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n");
    }
    if (strcmp(x->path, "/429/once") == 0 && attempt == 0) {
        return say(x, "HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n");
    }
    if (strcmp(x->path, "/breaks") == 0 && attempt % 2 == 0) {
        say_object_head(x, SIZE, "\"one\"");
        send_pattern(x, 0, 1000);
        return reset(x);
    }
    return send_object(x, SIZE, "\"one\"");
}

/* ---- jobs ---- */

static void s_again(void) {
    atomic_store(&attempts, 0);
    atomic_store(&creating, 0);
    atomic_store(&created, 0);
    atomic_store(&aborted, 0);
    atomic_store(&completed, 0);
    atomic_store(&arrived, 0);
    atomic_store(&write_delay_ms, 0);
    atomic_store(&write_error, 0);
    atomic_store(&stopped, false);
    atomic_store(&written_after_stop, 0);
}

static void s_job(struct call *call, const char *method, const char *path, enum cml_bulk_job job) {
    struct cml_bulk_options options = {
        .job = job, .part_bytes = PART, .max_concurrency = 4, .foreign_memory = job == CML_BULK_GET};
    call_new(call, client, method, path);
    if (job == CML_BULK_GET || job == CML_BULK_GET_FILE) {
        cml_request_set_sink(call->request, CML_SINK_BUFFER, 0);
        cml_request_set_range(call->request, CML_RANGE_BOUNDED, 0, SIZE);
    }
    CHECK(cml_request_set_bulk(call->request, &options));
}

static uint8_t *s_map(void) {
    return mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static uint8_t *s_get(struct call *call, const char *path) {
    uint8_t *room = s_map();
    s_job(call, "GET", path, CML_BULK_GET);
    CHECK(cml_request_feed(call->request, room, SIZE));
    return room;
}

static int s_get_file(struct call *call, const char *path) {
    int fd = s_file();
    s_job(call, "GET", path, CML_BULK_GET_FILE);
    CHECK_EQ(cml_request_feed_file(call->request, fd, 77, SIZE), CML_FED);
    CHECK_EQ(cml_request_feed_file(call->request, fd, 77, SIZE), CML_FED_REFUSED);
    return fd;
}

static uint8_t *s_put(struct call *call, const char *path) {
    uint8_t *data = s_map();
    for (size_t i = 0; i < SIZE; ++i) {
        data[i] = pattern_at(i);
    }
    s_job(call, "PUT", path, CML_BULK_PUT);
    cml_request_set_body_memory(call->request, &(struct cml_bytes){.data = data, .length = SIZE}, 1);
    return data;
}

static bool s_until(atomic_uint *counter, unsigned least) {
    double until = check_now_s() + LONG_MS / 1000.0;
    while (atomic_load(counter) < least && check_now_s() < until) {
        check_sleep_ms(1);
    }
    return CHECK(atomic_load(counter) >= least);
}

static bool s_file_holds(int fd, uint64_t at) {
    uint8_t *data = s_map();
    bool ok = pread(fd, data, SIZE, (off_t)at) == (ssize_t)SIZE && is_pattern(data, 0, SIZE);
    munmap(data, SIZE);
    return ok;
}

/* ---- the tests ---- */

static void test_downloads(void) {
    section("downloads that end well, to memory and to a file; what heals");
    static const char *const paths[] = {"/object", "/trickle/1", "/503/twice", "/429/once", "/breaks"};
    for (int i = 0; i < 5; ++i) {
        struct call call;
        check_detail = paths[i];
        s_again();
        uint8_t *room = s_get(&call, paths[i]);
        CHECK_ERROR(call_run(&call), CML_OK);
        CHECK(is_pattern(room, 0, SIZE));
        CHECK_EQ(call.progress.delivered, SIZE);
        call_free(&call);
        munmap(room, SIZE);
        s_again();
        int fd = s_get_file(&call, paths[i]);
        CHECK_ERROR(call_run(&call), CML_OK);
        CHECK_EQ(atomic_load(&writing), 0);
        CHECK(s_file_holds(fd, 77));
        call_free(&call);
        close(fd);
    }
}

static void s_write_all(struct call *call, const uint8_t *data) {
    for (uint64_t at = 0; at <= SIZE && call->ends == 0;) {
        size_t take = SIZE - at < 700000 ? (size_t)(SIZE - at) : 700000;
        uint64_t before = call->progress.pieces_done;
        int64_t taken = cml_request_write(call->request, data + at, take, take == 0);
        if (taken == CML_WRITE_LATER) {
            call_wait_pieces(call, before + 1);
        } else if (!CHECK(taken >= 0) || take == 0) {
            return;
        }
        at += taken > 0 ? (uint64_t)taken : 0;
    }
}

static void test_uploads(void) {
    section("uploads that end well: from memory, and written piece by piece");
    struct call call;
    s_again();
    uint8_t *data = s_put(&call, "/upload");
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK_EQ(atomic_load(&arrived), SIZE);
    CHECK_EQ(atomic_load(&completed), 1);
    call_free(&call);
    s_again();
    s_job(&call, "PUT", "/upload", CML_BULK_PUT_WRITES);
    call_submit(&call);
    s_write_all(&call, data);
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_OK);
    CHECK_EQ(atomic_load(&arrived), SIZE);
    CHECK_EQ(atomic_load(&completed), 1);
    CHECK_EQ(atomic_load(&aborted), 0);
    call_free(&call);
    munmap(data, SIZE);
}

static void s_check_cancelled(struct call *call) {
    CHECK(call_wait(call, LONG_MS));
    CHECK_ERROR(call->progress.error, CML_ERR_CANCELLED);
    call_free(call);
}

/* On a machine that has much else to do a download may have ended first. */
static void s_check_stopped(struct call *call) {
    CHECK(call_wait(call, LONG_MS));
    CHECK(call->progress.error == CML_ERR_CANCELLED || call->progress.error == CML_OK);
    call_free(call);
}

/* The memory is gone when the cancel has returned: a byte that came later would be a crash. */
static void test_cancelled_downloads(void) {
    section("a cancel of a download is complete when it returns, at any moment");
    struct call call;
    s_again();
    for (unsigned i = 0; i < 40; ++i) {
        uint8_t *room = s_get(&call, i % 3 == 0 ? "/stuck" : "/trickle/4");
        call_submit(&call);
        check_sleep_ms(i);
        cml_request_cancel(call.request);
        munmap(room, SIZE);
        s_check_stopped(&call);
    }
    for (unsigned i = 0; i < 40; ++i) {
        atomic_store(&write_delay_ms, i % 4);
        int fd = s_get_file(&call, "/trickle/4");
        call_submit(&call);
        check_sleep_ms(200 + 2 * i); /* some of it is written by then */
        cml_request_cancel(call.request);
        atomic_store(&stopped, true);
        CHECK_EQ(atomic_load(&writing), 0);
        check_sleep_ms(5);
        CHECK_EQ(atomic_load(&written_after_stop), 0);
        close(fd);
        s_check_stopped(&call);
        s_again();
    }
}

static void test_cancelled_uploads(void) {
    section("a cancelled upload is taken back, also while it is being created");
    struct call call;
    for (int i = 0; i < 3; ++i) {
        s_again();
        uint8_t *data = s_put(&call, "/stuck");
        call_submit(&call);
        s_until(&stuck, 1);
        cml_request_cancel(call.request);
        s_check_cancelled(&call);
        CHECK_EQ(atomic_load(&aborted), 1);
        munmap(data, SIZE);
        s_again();
        data = s_put(&call, "/slow-to-create");
        call_submit(&call);
        s_until(&creating, 1);
        cml_request_cancel(call.request);
        s_check_cancelled(&call);
        CHECK_EQ(atomic_load(&created), 1);
        CHECK_EQ(atomic_load(&aborted), 1);
        CHECK_EQ(atomic_load(&arrived), 0);
        munmap(data, SIZE);
    }
}

static void s_check_failed(const char *path, int error, int status) {
    struct call call;
    check_detail = path;
    s_again();
    uint8_t *room = s_get(&call, path);
    CHECK_ERROR(call_run(&call), error);
    CHECK_EQ(failure_status(&call), status);
    call_free(&call);
    munmap(room, SIZE);
}

static void test_failures(void) {
    section("jobs that fail: refused, throttled for too long, a disk that is full");
    s_check_failed("/403", CML_ERR_STATUS, 403);
    CHECK_EQ(atomic_load(&attempts), 1);
    s_check_failed("/503", CML_ERR_STATUS, 503);
    CHECK_EQ(atomic_load(&attempts), 4);
    struct call call;
    s_again();
    atomic_store(&write_error, ENOSPC);
    int fd = s_get_file(&call, "/object");
    CHECK_ERROR(call_run(&call), CML_ERR_FILE);
    CHECK_EQ(call.progress.os_error, ENOSPC);
    call_free(&call);
    close(fd);
    s_again();
    uint8_t *data = s_put(&call, "/refuses");
    CHECK_ERROR(call_run(&call), CML_ERR_STATUS);
    CHECK_EQ(failure_status(&call), 403);
    CHECK_EQ(atomic_load(&aborted), 1);
    call_free(&call);
    munmap(data, SIZE);
}

/* The last: nothing can be sent after it. */
static void test_exit(void) {
    section("the process ends with jobs under way");
    struct call gets[3], files[3], puts[3], slow;
    uint8_t *rooms[3], *bodies[3];
    int fds[3];
    s_again();
    for (int i = 0; i < 3; ++i) {
        rooms[i] = s_get(&gets[i], i == 0 ? "/stuck" : "/trickle/100");
        fds[i] = s_get_file(&files[i], "/trickle/100");
        bodies[i] = s_put(&puts[i], "/stuck");
        call_submit(&gets[i]);
        call_submit(&files[i]);
        call_submit(&puts[i]);
    }
    uint8_t *body = s_put(&slow, "/slow-to-create");
    call_submit(&slow);
    s_until(&creating, 4);
    s_until(&stuck, 3);
    CHECK(cml_runtime_quiesce(5000));
    struct call *calls[] = {&gets[0], &gets[1], &gets[2], &files[0], &files[1],
                            &files[2], &puts[0], &puts[1], &puts[2], &slow};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); ++i) {
        CHECK(call_wait(calls[i], LONG_MS));
        CHECK_ERROR(calls[i]->progress.error, CML_ERR_SHUTDOWN);
        call_free(calls[i]);
    }
    CHECK_EQ(atomic_load(&aborted), 4);
    for (int i = 0; i < 3; ++i) {
        munmap(rooms[i], SIZE);
        munmap(bodies[i], SIZE);
        close(fds[i]);
    }
    section("a job after the end is refused");
    munmap(body, SIZE);
    body = s_get(&slow, "/object");
    CHECK_ERROR(call_run(&slow), CML_ERR_SHUTDOWN);
    call_free(&slow);
    munmap(body, SIZE);
}

int main(void) {
    engine_start(2, 256);
    server_start(&server, s_handle);
    struct cml_client_options options = client_options(&server);
    snprintf(host_header, sizeof(host_header), "127.0.0.1:%u", server.port);
    options.max_connections = 64;
    options.host_header = host_header; /* aws-c-s3 connects to what it says */
    client = cml_client_new(&options);
    CHECK(cml_client_can_bulk(client));
    CHECK_EQ(cml_client_prepare_bulk(client), 0);
    test_downloads();
    test_uploads();
    test_cancelled_downloads();
    test_cancelled_uploads();
    test_failures();
    test_exit();
    cml_client_release(client);
    return engine_end(&server);
}
