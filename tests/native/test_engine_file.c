/* Bodies that go to a file: whole, in parts, behind a slow disk, onto a full one; and that no byte is written to a
 * descriptor once a cancel has returned.
 *
 * The disk is real, but what writes to it comes by here first: it may sleep, fail, be interrupted or write less, as a
 * test says.
 */
#include "support/engine.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define SIZE (9 * MIB + 12345) /* more than all buffers of a request, and no multiple of one */

static struct server server;
static atomic_uint attempts;

/* ---- the disk ---- */

static atomic_uint write_delay_ms, writes, writing, written_after_stop;
static atomic_int write_error, error_after; /* an errno, and the number of the first write that fails with it */
static atomic_bool stopped;

/* How bodies may come to the disk: through pipes, by copies from a pipe to a file that takes nothing from one, or through
 * buffers since there are no pipes. */
enum way { PIPES, PIPES_COPIED, BUFFERS, WAYS };
static const char *const way_names[WAYS] = {"pipes", "pipes that are copied from", "buffers"};
static atomic_int way;
static atomic_uint spliced;

/* What becomes of a write of `length` bytes: fewer, or an errno as a negative number. */
static ssize_t s_begin_write(size_t length) {
    unsigned number = atomic_fetch_add(&writes, 1);
    atomic_fetch_add(&writing, 1);
    if (atomic_load(&write_delay_ms) > 0) { /* for each 256 KiB */
        check_sleep_ms(atomic_load(&write_delay_ms) / (atomic_load(&way) == PIPES_COPIED ? 4 : 1));
    }
    if (atomic_load(&write_error) != 0 && (int)number >= atomic_load(&error_after)) {
        return -atomic_load(&write_error);
    }
    return number % 7 == 3 ? -EINTR : number % 5 == 1 && length > 100 ? (ssize_t)(length / 3) : (ssize_t)length;
}

static ssize_t s_end_write(ssize_t result) {
    if (atomic_load(&stopped)) {
        atomic_fetch_add(&written_after_stop, 1);
    }
    atomic_fetch_sub(&writing, 1);
    return result;
}

static void *s_next(const char *name, void *_Atomic *kept) {
    if (*kept == NULL) {
        *kept = dlsym(RTLD_NEXT, name);
    }
    return *kept;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    static void *_Atomic kept;
    ssize_t (*real)(int, const void *, size_t, off_t);
    *(void **)&real = s_next("pwrite64", &kept);
    ssize_t take = s_begin_write(length);
    errno = take < 0 ? (int)-take : 0;
    return s_end_write(take < 0 ? -1 : real(fd, data, (size_t)take, offset));
}

ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags) {
    static void *_Atomic kept;
    ssize_t (*real)(int, off64_t *, int, off64_t *, size_t, unsigned);
    *(void **)&real = s_next("splice", &kept);
    if (to_at == NULL) {
        return real(from, from_at, to, to_at, length, flags);
    }
    if (atomic_load(&way) == PIPES_COPIED) {
        errno = EINVAL;
        return -1;
    }
    atomic_fetch_add(&spliced, 1);
    ssize_t take = s_begin_write(length);
    errno = take < 0 ? (int)-take : 0;
    return s_end_write(take < 0 ? -1 : real(from, from_at, to, to_at, (size_t)take, flags));
}

int pipe2(int ends[2], int flags) {
    static void *_Atomic kept;
    int (*real)(int *, int);
    *(void **)&real = s_next("pipe2", &kept);
    if (atomic_load(&way) == BUFFERS) {
        errno = EMFILE;
        return -1;
    }
    return real(ends, flags);
}

static void s_disk(unsigned delay_ms, int error, int after) {
    atomic_store(&writes, 0);
    atomic_store(&write_delay_ms, delay_ms);
    atomic_store(&write_error, error);
    atomic_store(&error_after, after);
    atomic_store(&stopped, false);
    atomic_store(&written_after_stop, 0);
}

static int s_file(void) {
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int fd = dup(fileno(file));
    CHECK(fd >= 0);
    fclose(file);
    return fd;
}

static bool s_holds(int fd, uint64_t at, uint64_t from, uint64_t end) {
    uint8_t *data = malloc((size_t)(end - from));
    bool ok = pread(fd, data, (size_t)(end - from), (off_t)at) == (ssize_t)(end - from) &&
              is_pattern(data, from, (size_t)(end - from));
    free(data);
    return ok;
}

static uint64_t s_size(int fd) {
    struct stat status;
    fstat(fd, &status);
    return (uint64_t)status.st_size;
}

/* ---- the server ---- */

static bool s_chunked(struct exchange *x) {
    bool ok = say(x, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (uint64_t at = 0; ok && at < SIZE; at += 100000) {
        uint64_t next = at + 100000 < SIZE ? at + 100000 : SIZE;
        ok = say(x, "%llx\r\n", (unsigned long long)(next - at)) && send_pattern(x, at, next) && say(x, "\r\n");
    }
    return ok && say(x, "0\r\n\r\n");
}

static bool s_trickle(struct exchange *x, uint64_t from, uint64_t end) {
    bool ok = say_object_head(x, SIZE, "\"one\"");
    for (uint64_t at = from; ok && at < end; at += 100000) {
        ok = send_pattern(x, at, at + 100000 < end ? at + 100000 : end);
        check_sleep_ms(2);
    }
    return ok;
}

/* The object's bytes to `end`, in packets that are each on a page of their own: it takes a place in a pipe. */
static bool s_packets(struct exchange *x, uint64_t packet, uint64_t end) {
    bool ok = say_object_head(x, SIZE, "\"one\"");
    int pages = s_file();
    off_t page = 0;
    for (uint64_t from = 0; ok && from < end; from += packet) {
        uint8_t block[4096];
        size_t length = from + packet < end ? (size_t)packet : (size_t)(end - from);
        for (size_t i = 0; i < length; ++i) {
            block[i] = pattern_at(from + i);
        }
        off_t at = page;
        ok = lseek(pages, page, SEEK_SET) == page && write(pages, block, length) == (ssize_t)length &&
             sendfile(x->fd, pages, &at, length) == (ssize_t)length;
        page += sizeof(block);
    }
    close(pages);
    return ok;
}

static bool s_handle(struct exchange *x) {
    bool first = atomic_fetch_add(&attempts, 1) == 0;
    uint64_t from, end;
    asked_range(x, SIZE, &from, &end);
    if (strcmp(x->path, "/chunked") == 0) {
        return s_chunked(x);
    }
    if (strcmp(x->path, "/trickle") == 0) {
        return s_trickle(x, from, end);
    }
    if (strncmp(x->path, "/small/", 7) == 0) {
        return send_object(x, strtoull(x->path + 7, NULL, 10), "\"s\"");
    }
    if (strncmp(x->path, "/tiny/", 6) == 0 && first) {
        return s_packets(x, 100, 100 * strtoull(x->path + 6, NULL, 10)) && false;
    }
    if (strncmp(x->path, "/packets/", 9) == 0) {
        return s_packets(x, strtoull(x->path + 9, NULL, 10), SIZE);
    }
    if (strcmp(x->path, "/breaks") == 0 && first) {
        say_object_head(x, SIZE, "\"one\"");
        send_pattern(x, from, 5 * MIB + 777);
        return false;
    }
    if (strcmp(x->path, "/breaks-weak") == 0) { /* what comes first is wrong: the whole has to come once more */
        say_object_head(x, SIZE, "W/\"one\"");
        return send_pattern(x, first ? 1 : from, first ? 5 * MIB + 777 : end) && !first;
    }
    return send_object(x, SIZE, "\"one\"");
}

static void s_get(struct call *call, struct cml_client *client, const char *path) {
    atomic_store(&attempts, 0);
    call_new(call, client, "GET", path);
    cml_request_set_sink(call->request, CML_SINK_STREAM, 0);
}

/* ---- the tests ---- */

static void s_check_whole(struct cml_client *client, const char *path, uint64_t length, bool early) {
    struct call call;
    int fd = s_file();
    s_get(&call, client, path);
    cml_request_set_flags(call.request, CML_FLAG_ANNOUNCE_HEADERS);
    if (early) {
        CHECK_EQ(cml_request_feed_file(call.request, fd, 0, length), CML_FED);
    }
    call_submit(&call);
    if (!early) {
        for (int i = 0; i < 1000 && !call.progress.headers_ready; ++i) {
            call_watch(&call, 10);
        }
        CHECK(call.progress.headers_ready && !call.progress.finished);
        CHECK_EQ(cml_request_feed_file(call.request, fd, 0, length), CML_FED);
    }
    CHECK(!cml_request_feed(call.request, &call, 10));
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_OK);
    CHECK_EQ(call.progress.delivered, SIZE);
    CHECK_EQ(atomic_load(&writing), 0); /* the end comes after the last write */
    CHECK_EQ(s_size(fd), SIZE);
    CHECK(s_holds(fd, 0, 0, SIZE));
    call_free(&call);
    close(fd);
}

static void test_whole(void) {
    section("a body to a file: length known and not; before submission and after the headers");
    struct cml_client *client = client_of(&server);
    for (unsigned delay = 0; delay < 4; delay += 3) {
        s_disk(delay, 0, 0);
        s_check_whole(client, "/chunked", UINT64_MAX, true);
        s_check_whole(client, "/chunked", UINT64_MAX, false);
        s_check_whole(client, "/object", SIZE, true);
        s_check_whole(client, "/object", SIZE, false);
    }
    cml_client_release(client);
}

static void test_part(void) {
    section("a range of it, to its place; a place shorter than the body");
    struct cml_client *client = client_of(&server);
    struct call call;
    int fd = s_file();
    s_disk(0, 0, 0);
    s_get(&call, client, "/object");
    cml_request_set_sink(call.request, CML_SINK_BUFFER, 0); /* it waits for the disk nonetheless */
    cml_request_set_range(call.request, CML_RANGE_BOUNDED, 2 * MIB, 7 * MIB);
    CHECK_EQ(cml_request_feed_file(call.request, fd, 1000, 5 * MIB), CML_FED);
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK_EQ(s_size(fd), 1000 + 5 * MIB);
    CHECK(s_holds(fd, 1000, 2 * MIB, 7 * MIB));
    call_free(&call);
    s_get(&call, client, "/object");
    CHECK_EQ(cml_request_feed_file(call.request, fd, 8 * MIB, 2 * MIB), CML_FED);
    call_submit(&call);
    for (int i = 0; i < 500 && s_size(fd) < 10 * MIB; ++i) {
        call_watch(&call, 10);
    }
    CHECK(!call.progress.finished); /* the rest has no place to go to */
    CHECK_EQ(s_size(fd), 10 * MIB);
    cml_request_cancel(call.request);
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_ERR_CANCELLED);
    call_free(&call);
    close(fd);
    cml_client_release(client);
}

static void test_pieces(void) {
    section("pieces in two files, given early or one after the other; each is announced when it is written");
    struct cml_client *client = client_of(&server);
    for (unsigned i = 0; i < 12; ++i) {
        struct call call;
        int one = s_file(), two = s_file();
        uint64_t first = i % 3 ? 3 * MIB + 5 : 2 * MIB, rest = SIZE - first;
        s_disk(i % 2 ? 2 : 0, 0, 0);
        s_get(&call, client, i % 4 < 2 ? "/object" : "/breaks");
        CHECK_EQ(cml_request_feed_file(call.request, one, 7, first), CML_FED);
        if (i < 6) {
            CHECK_EQ(cml_request_feed_file(call.request, two, 0, rest - 10), CML_FED);
        }
        call_submit(&call);
        CHECK(call_wait_pieces(&call, 1));
        CHECK_EQ(s_size(one), first + 7);
        CHECK(s_holds(one, 7, 0, first));
        if (i >= 6) {
            CHECK(call.progress.pieces_done == 1 && !call.progress.finished);
            CHECK_EQ(cml_request_feed_file(call.request, two, 0, rest - 10), CML_FED);
        }
        CHECK(call_wait_pieces(&call, 2));
        CHECK_EQ(s_size(two), rest - 10);
        enum cml_fed fed = cml_request_feed_file(call.request, two, rest - 10, 20);
        if (CHECK(fed != CML_FED_REFUSED) && fed == CML_FED_AGAIN) {
            call.ends = 0; /* the end had come, with ten bytes waiting */
            call.progress.finished = false;
        }
        CHECK(cml_request_feed_file(call.request, two, rest + 20, 20) != CML_FED_REFUSED); /* nothing is left for it */
        CHECK_EQ(cml_request_feed_file(call.request, two, rest, 20), CML_FED_REFUSED);
        CHECK(call_wait_pieces(&call, 3));
        CHECK(call_wait(&call, LONG_MS));
        CHECK_ERROR(call.progress.error, CML_OK);
        CHECK(call.progress.pieces_done == 3 && call.progress.delivered == SIZE && call.progress.waiting == 0);
        CHECK_EQ(s_size(two), rest);
        CHECK(s_holds(two, 0, first, SIZE));
        call_watch(&call, 20); /* news that is still on its way */
        call_free(&call);
        close(one);
        close(two);
    }
    cml_client_release(client);
}

static void s_check_short(struct cml_client *client, uint64_t size, bool wait) {
    struct call call;
    int fd = s_file();
    char path[40];
    snprintf(path, sizeof(path), "/small/%llu", (unsigned long long)size);
    s_get(&call, client, path);
    call_submit(&call);
    bool ended = wait && CHECK(call_wait(&call, LONG_MS));
    call.ends = 0;
    enum cml_fed fed = cml_request_feed_file(call.request, fd, 3, size);
    CHECK(ended ? fed == CML_FED_AGAIN : fed != CML_FED_REFUSED);
    CHECK(call_wait(&call, LONG_MS));
    while (fed == CML_FED_AGAIN && !call.progress.finished) {
        call.ends = 0; /* both ends have news of their own */
        CHECK(call_wait(&call, LONG_MS));
    }
    CHECK_ERROR(call.progress.error, CML_OK);
    CHECK_EQ(s_size(fd), size + 3);
    CHECK(s_holds(fd, 3, 0, size));
    call_free(&call);
    close(fd);
}

static void test_short(void) {
    section("a short body that is here already: it has ended, and ends once more when it is written");
    struct cml_client *client = client_of(&server);
    static const uint64_t sizes[] = {1, 50000, 4000000};
    struct cml_pool_stats stats;
    cml_pool_stats(&stats);
    s_disk(5, 0, 0);
    for (int i = 0; i < 3; ++i) {
        s_check_short(client, sizes[i], false);
        s_check_short(client, sizes[i], true);
        cml_pool_set_limit(0); /* not fetched unasked: it waits in the spill, or in the connection */
        s_check_short(client, sizes[i], false);
        s_check_short(client, sizes[i], sizes[i] < 60000);
        cml_pool_set_limit(stats.limit_bytes);
    }
    cml_client_release(client);
}

static void test_broken(void) {
    section("a body that breaks off goes on; without a strong ETag it begins anew, over what was written");
    struct cml_client *client = client_of(&server);
    for (unsigned delay = 0; delay <= 20; delay += 10) {
        for (int i = 0; i < 2; ++i) {
            struct call call;
            int fd = s_file();
            s_disk(delay, 0, 0);
            s_get(&call, client, i == 0 ? "/breaks" : "/breaks-weak");
            CHECK_EQ(cml_request_feed_file(call.request, fd, 0, SIZE), CML_FED);
            CHECK_ERROR(call_run(&call), CML_OK);
            CHECK_EQ(call.progress.attempts, 2);
            CHECK(s_holds(fd, 0, 0, SIZE));
            call_free(&call);
            close(fd);
        }
    }
    cml_client_release(client);
}

static void test_tiny(void) {
    section("a connection that ends when a pipe is full to the last of its places, or nearly so");
    struct cml_client_options options = client_options(&server);
    options.stall_timeout_ms = 4 * LONG_MS;
    struct cml_client *client = cml_client_new(&options);
    for (unsigned packets = 250; packets <= 260; ++packets) {
        struct call call;
        char path[40];
        int fd = s_file();
        s_disk(0, 0, 0);
        snprintf(path, sizeof(path), "/tiny/%u", packets);
        s_get(&call, client, path);
        CHECK_EQ(cml_request_feed_file(call.request, fd, 0, SIZE), CML_FED);
        CHECK_ERROR(call_run(&call), CML_OK);
        CHECK_EQ(call.progress.attempts, 2);
        CHECK(s_holds(fd, 0, 0, SIZE));
        call_free(&call);
        close(fd);
    }
    cml_client_release(client);
}

static void test_packets(void) {
    section("packets that fill a pipe before it has many bytes; and so few that they are copied");
    struct cml_client *client = client_of(&server);
    static const uint64_t sizes[] = {500, 1200, 1448, 2900};
    for (unsigned i = 0; i < 8; ++i) {
        struct call call;
        char path[40];
        int fd = s_file();
        s_disk(i % 2 ? 1 : 0, 0, 0);
        snprintf(path, sizeof(path), "/packets/%llu", (unsigned long long)sizes[i / 2]);
        unsigned before = atomic_load(&spliced);
        s_get(&call, client, path);
        CHECK_EQ(cml_request_feed_file(call.request, fd, 0, SIZE), CML_FED);
        CHECK_ERROR(call_run(&call), CML_OK);
        CHECK_EQ(call.progress.attempts, 1);
        CHECK_EQ(s_size(fd), SIZE);
        CHECK(s_holds(fd, 0, 0, SIZE));
        call_free(&call);
        close(fd);
    }
    cml_client_release(client);
}

static void test_slow_disk(void) {
    section("a disk slower than the stall timeout holds up nobody else, and not much is held in memory");
    struct cml_client_options options = client_options(&server);
    options.stall_timeout_ms = 200;
    struct cml_client *client = cml_client_new(&options);
    struct call call, other;
    int fd = s_file();
    s_disk(30, 0, 0);
    s_get(&call, client, "/object");
    CHECK_EQ(cml_request_feed_file(call.request, fd, 0, SIZE), CML_FED);
    call_submit(&call);
    unsigned between = 0;
    while (!call.progress.finished && between < 2000) {
        call_new(&other, client, "GET", "/small/1000");
        uint8_t *room = call_into_buffer(&other, 1000);
        CHECK_ERROR(call_run(&other), CML_OK);
        call_free(&other);
        free(room);
        cml_request_progress(call.request, &call.progress);
        CHECK(cml_live_get(CML_LIVE_BUFFERS) <= 4);
        between++;
    }
    CHECK(between > 20);
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_OK);
    CHECK_EQ(call.progress.attempts, 1);
    CHECK(s_holds(fd, 0, 0, SIZE));
    call_free(&call);
    close(fd);
    cml_client_release(client);
}

static void s_check_error(struct cml_client *client, const char *path, unsigned delay_ms, int error, int after) {
    struct call call;
    int fd = s_file();
    s_disk(delay_ms, error, after);
    s_get(&call, client, path);
    CHECK_EQ(cml_request_feed_file(call.request, fd, 0, SIZE), CML_FED);
    CHECK_ERROR(call_run(&call), CML_ERR_FILE);
    CHECK_EQ(call.progress.os_error, error);
    CHECK_EQ(call.progress.attempts, 1);
    CHECK_EQ(atomic_load(&writing), 0);
    unsigned count = atomic_load(&writes);
    call_watch(&call, 20);
    CHECK_EQ(atomic_load(&writes), count);
    call_free(&call);
    close(fd);
}

static void test_errors(void) {
    section("a write that fails ends the request, says why, and is the last");
    struct cml_client *client = client_of(&server);
    static const int errors[] = {ENOSPC, EIO, EDQUOT, EFBIG};
    for (int i = 0; i < 16; ++i) { /* early ones, and ones after the last byte has come */
        s_check_error(client, i % 2 ? "/object" : "/trickle", (unsigned)i % 3, errors[i % 4], i < 12 ? i : 37);
    }
    struct call call;
    s_disk(0, 0, 0);
    s_get(&call, client, "/small/50000");
    CHECK_EQ(cml_request_feed_file(call.request, 99999, 0, SIZE), CML_FED);
    CHECK_ERROR(call_run(&call), CML_ERR_FILE);
    CHECK_EQ(call.progress.os_error, EBADF);
    call_free(&call);
    cml_client_release(client);
}

static void test_cancel(void) {
    section("after a cancel has returned nothing is written, at whatever moment it comes");
    struct cml_client *client = client_of(&server);
    uint64_t seed = 7;
    for (unsigned i = 0; i < 40; ++i) {
        struct call call;
        int fd = s_file();
        s_disk(i % 4, 0, 0);
        s_get(&call, client, i % 3 ? "/object" : "/trickle");
        CHECK_EQ(cml_request_feed_file(call.request, fd, 0, SIZE), CML_FED);
        call_submit(&call);
        check_sleep_ms((unsigned)(check_random(&seed) % 60));
        cml_request_cancel(call.request);
        CHECK_EQ(atomic_load(&writing), 0);
        atomic_store(&stopped, true);
        CHECK(call_wait(&call, LONG_MS));
        CHECK(call.progress.error == CML_ERR_CANCELLED || call.progress.error == CML_OK);
        close(fd);
        call_free(&call);
        check_sleep_ms(5);
        CHECK_EQ(atomic_load(&written_after_stop), 0);
    }
    cml_client_release(client);
}

static void test_many(void) {
    section("sixty-four parts at a time into one file");
    enum { COUNT = 64 };
    struct cml_client *client = client_of(&server);
    static struct call calls[COUNT];
    uint64_t step = SIZE / COUNT + 1;
    int fd = s_file();
    s_disk(0, 0, 0);
    for (int round = 0; round < 5; ++round) {
        for (uint64_t i = 0; i < COUNT; ++i) {
            uint64_t from = i * step, end = (i + 1) * step < SIZE ? (i + 1) * step : SIZE;
            s_get(&calls[i], client, "/object");
            cml_request_set_range(calls[i].request, CML_RANGE_BOUNDED, from, end);
            CHECK_EQ(cml_request_feed_file(calls[i].request, fd, from, end - from), CML_FED);
            call_submit(&calls[i]);
        }
        for (int i = 0; i < COUNT; ++i) {
            CHECK(call_wait(&calls[i], LONG_MS));
            CHECK_ERROR(calls[i].progress.error, CML_OK);
            call_free(&calls[i]);
        }
        CHECK(s_holds(fd, 0, 0, SIZE));
        CHECK_EQ(ftruncate(fd, 0), 0);
    }
    close(fd);
    cml_client_release(client);
}

static void test_checked(void) {
    section("a body that is summed up is read, not spliced");
    struct cml_client *client = client_of(&server);
    struct call call;
    int fd = s_file();
    s_disk(0, 0, 0);
    unsigned before = atomic_load(&spliced);
    s_get(&call, client, "/object");
    CHECK(cml_request_set_digest(call.request, "CRC32C"));
    CHECK_EQ(cml_request_feed_file(call.request, fd, 0, SIZE), CML_FED);
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK(s_holds(fd, 0, 0, SIZE));
    CHECK_EQ(atomic_load(&spliced), before);
    call_free(&call);
    close(fd);
    cml_client_release(client);
}

static void s_test_all(void) {
    test_whole();
    test_part();
    test_pieces();
    test_short();
    test_broken();
    test_tiny();
    test_packets();
    test_slow_disk();
    test_errors();
    test_cancel();
    test_many();
    test_checked();
}

int main(void) {
    server_start(&server, s_handle);
    engine_start(2, 64);
    for (int i = 0; i < WAYS; ++i) {
        printf("-- through %s\n", way_names[i]);
        atomic_store(&way, i);
        unsigned before = atomic_load(&spliced);
        s_test_all();
        CHECK((atomic_load(&spliced) > before) == (i == PIPES));
    }
    s_disk(0, 0, 0);
    return engine_end(&server);
}
