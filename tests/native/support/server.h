/* A small HTTP server on a raw socket, scripted by one handler: it says exactly the bytes a test wants said.
 *
 * One thread accepts, one thread a connection reads heads and calls the handler; both end with server_stop. Handlers
 * run on those threads and use the send_* and read_* helpers; false from a handler closes the connection. The body of
 * every object is the same endless pattern, so that any piece of it can be checked wherever it lands.
 */
#ifndef CML_TEST_SERVER_H
#define CML_TEST_SERVER_H

#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVER_CONNECTIONS 1024

struct exchange {
    struct server *server;
    int fd;
    unsigned number;    /* of this request among those the server has seen, from 1 */
    unsigned on_socket; /* among those of its connection, from 1 */
    char method[16], path[256];
    uint64_t length; /* Content-Length of the request */
    uint64_t body_read;
    char head[8192];
    size_t head_len, have; /* bytes in head that belong to the head, and all that were read */
};

struct server {
    bool (*handler)(struct exchange *);
    int listener;
    uint16_t port;
    atomic_uint requests, accepted, open;
    atomic_bool stopping;
    pthread_t thread;
    pthread_mutex_t lock;
    int fds[SERVER_CONNECTIONS]; /* under lock; -1 when unused */
};

static inline uint8_t pattern_at(uint64_t at) {
    return (uint8_t)((at * 131) ^ (at >> 8) ^ (at >> 16));
}

static MAYBE_UNUSED bool is_pattern(const uint8_t *data, uint64_t from, size_t length) {
    for (size_t i = 0; i < length; ++i) {
        if (data[i] != pattern_at(from + i)) {
            fprintf(stderr, "  byte %zu of %zu is wrong\n", i, length);
            return false;
        }
    }
    return true;
}

/* ---- what handlers say ---- */

static MAYBE_UNUSED bool send_bytes(struct exchange *x, const void *data, size_t length) {
    for (const char *at = data; length > 0;) {
        ssize_t sent = send(x->fd, at, length, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        length -= (size_t)sent;
    }
    return true;
}

static MAYBE_UNUSED bool say(struct exchange *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
static MAYBE_UNUSED bool say(struct exchange *x, const char *format, ...) {
    char text[4096];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return send_bytes(x, text, (size_t)length);
}

static MAYBE_UNUSED bool send_pattern(struct exchange *x, uint64_t from, uint64_t to) {
    uint8_t block[16384];
    while (from < to) {
        size_t take = to - from < sizeof(block) ? (size_t)(to - from) : sizeof(block);
        for (size_t i = 0; i < take; ++i) {
            block[i] = pattern_at(from + i);
        }
        if (!send_bytes(x, block, take)) {
            return false;
        }
        from += take;
    }
    return true;
}

/* The connection is reset, not closed: what was not yet read at the other end may be lost. Return false after it. */
static MAYBE_UNUSED bool reset(struct exchange *x) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(x->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    return false;
}

/* Value of a request header, or NULL. Valid until the next call on this thread. */
static MAYBE_UNUSED const char *header(struct exchange *x, const char *name) {
    static _Thread_local char value[512];
    size_t name_len = strlen(name);
    for (char *line = x->head; line < x->head + x->head_len; line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *from = line + name_len + 1;
            from += strspn(from, " ");
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(from, "\r"), from);
            return value;
        }
    }
    return NULL;
}

/* The Range header as from and end (exclusive) of an object of that size; false if there is none. */
static MAYBE_UNUSED bool asked_range(struct exchange *x, uint64_t size, uint64_t *from, uint64_t *end) {
    const char *range = header(x, "Range");
    *from = 0;
    *end = size;
    if (range == NULL) {
        return false;
    }
    unsigned long long a = 0, b = 0;
    if (sscanf(range, "bytes=-%llu", &b) == 1) {
        *from = b < size ? size - b : 0;
    } else if (sscanf(range, "bytes=%llu-%llu", &a, &b) == 2) {
        *from = a;
        *end = b + 1 < size ? b + 1 : size;
    } else if (sscanf(range, "bytes=%llu-", &a) == 1) {
        *from = a;
    }
    return true;
}

/* The object of that size as a good server sends it: whole or by range, with this ETag (none if NULL). */
static MAYBE_UNUSED bool say_object_head(struct exchange *x, uint64_t size, const char *etag) {
    uint64_t from, end;
    bool partial = asked_range(x, size, &from, &end);
    bool ok = say(x, "HTTP/1.1 %s\r\nContent-Length: %llu\r\n", partial ? "206 Partial Content" : "200 OK",
                  (unsigned long long)(end - from));
    if (partial) {
        ok = ok && say(x, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)from,
                       (unsigned long long)end - 1, (unsigned long long)size);
    }
    return ok && (etag == NULL || say(x, "ETag: %s\r\n", etag)) && say(x, "\r\n");
}

static MAYBE_UNUSED bool send_object(struct exchange *x, uint64_t size, const char *etag) {
    uint64_t from, end;
    asked_range(x, size, &from, &end);
    return say_object_head(x, size, etag) && (strcmp(x->method, "HEAD") == 0 || send_pattern(x, from, end));
}

/* ---- what handlers read ---- */

/* Up to length bytes of the request's body; 0 at its end, -1 when the connection is gone. */
static MAYBE_UNUSED ssize_t read_body(struct exchange *x, void *out, size_t length) {
    uint64_t left = x->length - x->body_read;
    size_t take = left < length ? (size_t)left : length;
    if (take == 0) {
        return 0;
    }
    size_t early = x->have - x->head_len; /* came with the head */
    ssize_t got;
    if (early > 0) {
        got = (ssize_t)(take < early ? take : early);
        memcpy(out, x->head + x->head_len, (size_t)got);
        memmove(x->head + x->head_len, x->head + x->head_len + got, early - (size_t)got);
        x->have -= (size_t)got;
    } else {
        got = recv(x->fd, out, take, 0);
    }
    x->body_read += got > 0 ? (uint64_t)got : 0;
    return got > 0 ? got : -1;
}

/* The whole body; true if it came in full and is the pattern from `from` on. */
static MAYBE_UNUSED bool read_pattern(struct exchange *x, uint64_t from) {
    uint8_t block[65536];
    ssize_t got;
    while ((got = read_body(x, block, sizeof(block))) > 0) {
        if (!is_pattern(block, from, (size_t)got)) {
            return false;
        }
        from += (uint64_t)got;
    }
    return got == 0;
}

/* Until the client goes away, or two seconds: for handlers that leave it waiting. */
static MAYBE_UNUSED bool hang(struct exchange *x) {
    char byte;
    for (int i = 0; i < 400 && !atomic_load(&x->server->stopping); ++i) {
        ssize_t got = recv(x->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            break;
        }
        check_sleep_ms(5);
    }
    return false;
}

/* ---- the server itself ---- */

static inline bool server_read_head(struct exchange *x) {
    char *end;
    while ((end = memmem(x->head, x->have, "\r\n\r\n", 4)) == NULL) {
        ssize_t got = recv(x->fd, x->head + x->have, sizeof(x->head) - 1 - x->have, 0);
        if (got <= 0) {
            return false;
        }
        x->have += (size_t)got;
        x->head[x->have] = 0;
    }
    x->head_len = (size_t)(end + 4 - x->head);
    if (sscanf(x->head, "%15s %255s", x->method, x->path) != 2) {
        return false;
    }
    const char *length = header(x, "Content-Length");
    x->length = length != NULL ? strtoull(length, NULL, 10) : 0;
    x->body_read = 0;
    return true;
}

static inline void server_forget(struct server *server, int fd) {
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < SERVER_CONNECTIONS; ++i) {
        server->fds[i] = server->fds[i] == fd ? -1 : server->fds[i];
    }
    close(fd); /* under the lock: server_stop must not shut down another's descriptor of the same number */
    pthread_mutex_unlock(&server->lock);
    atomic_fetch_sub(&server->open, 1);
}

static void *server_converse(void *arg) {
    struct exchange *x = arg;
    bool goes_on = true;
    while (goes_on && server_read_head(x)) {
        x->number = atomic_fetch_add(&x->server->requests, 1) + 1;
        x->on_socket++;
        goes_on = x->server->handler(x);
        char rest[4096];
        while (goes_on && read_body(x, rest, sizeof(rest)) > 0) {
        }
        memmove(x->head, x->head + x->head_len, x->have - x->head_len);
        x->have -= x->head_len;
        x->head[x->have] = 0;
    }
    server_forget(x->server, x->fd);
    free(x);
    return NULL;
}

static inline void server_take(struct server *server, int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct exchange *x = calloc(1, sizeof(*x));
    x->server = server;
    x->fd = fd;
    atomic_fetch_add(&server->accepted, 1);
    atomic_fetch_add(&server->open, 1);
    pthread_mutex_lock(&server->lock);
    int at = 0;
    while (at < SERVER_CONNECTIONS - 1 && server->fds[at] >= 0) {
        ++at;
    }
    server->fds[at] = fd;
    pthread_mutex_unlock(&server->lock);
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_create(&thread, &attr, server_converse, x);
    pthread_attr_destroy(&attr);
}

static void *server_accept(void *arg) {
    struct server *server = arg;
    int fd;
    while ((fd = accept(server->listener, NULL, NULL)) >= 0 || !atomic_load(&server->stopping)) {
        if (fd >= 0) {
            server_take(server, fd);
        } else {
            check_sleep_ms(1); /* out of descriptors, when a test wants that */
        }
    }
    return NULL;
}

static MAYBE_UNUSED void server_start(struct server *server, bool (*handler)(struct exchange *)) {
    memset(server, 0, sizeof(*server));
    server->handler = handler;
    pthread_mutex_init(&server->lock, NULL);
    memset(server->fds, 0xff, sizeof(server->fds));
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    if (bind(server->listener, (struct sockaddr *)&address, length) != 0 || listen(server->listener, 1024) != 0) {
        perror("listen");
        exit(2);
    }
    getsockname(server->listener, (struct sockaddr *)&address, &length);
    server->port = ntohs(address.sin_port);
    pthread_create(&server->thread, NULL, server_accept, server);
}

static MAYBE_UNUSED void server_close_all(struct server *server) {
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < SERVER_CONNECTIONS; ++i) {
        if (server->fds[i] >= 0) {
            shutdown(server->fds[i], SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&server->lock);
}

static MAYBE_UNUSED void server_stop(struct server *server) {
    atomic_store(&server->stopping, true);
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    server_close_all(server);
    double until = check_now_s() + 10;
    while (atomic_load(&server->open) > 0 && check_now_s() < until) {
        check_sleep_ms(1);
    }
    CHECK_EQ(atomic_load(&server->open), 0);
}

#endif
