/* What is read from a connection's socket, where to, and when; and what is written. Loop thread.
 *
 * aws-c-io reads into a message of its own, which aws-c-http takes apart. Here its socket's read is stood in for:
 * - Bytes that are certainly the body's go straight to where the body goes. The message that carries them is lent that
 *   memory, and has its own back when it is released; aws-c-http only counts them, and the body finds them in place.
 *   Those of a file may stay in the kernel: they are spliced to a pipe, and the memory that is lent nobody can read.
 * - A read that brought less than there was room for has emptied the socket: the next would only say so. Not so once the
 *   other side has hung up: then the next says that, and the loop will not say it again.
 * - What a paused body has no room for stays in the socket: aws-c-http would keep 256 KiB of it, to be copied later.
 * - While a long body is awaited the kernel wakes the loop for a large piece of it (SO_RCVLOWAT), not for each segment.
 *
 * Always true: bytes go in place only while the request's lock is held and a revoke has not come; in place means all of
 * them at once: nothing that came before waits in aws-c-http, and its windows are open that far. The mark is never above
 * what this response has still to bring, so that whatever ends it wakes the loop. Of a body that trickles in below the
 * mark the kernel knows the progress: see cml_socket_unread. Encrypted connections have none of the first and the third.
 */
#include "internal.h"
#include "pipes.h"

#include <aws/http/connection.h>
#include <aws/io/channel.h>
#include <aws/io/io.h>
#include <aws/io/socket.h>
#include <aws/io/socket_channel_handler.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define HEAD_BYTES ((size_t)32 << 10)      /* read at first: headers and a short body; what follows may go in place */
#define SHORT_BODY_BYTES ((uint64_t)128 << 10) /* of known size: comes with its headers, in one read */
#define LEAST_IN_PLACE ((size_t)16 << 10)  /* less is copied: it is in the cache */
#define LEAST_MARK ((uint64_t)64 << 10)
#define MOST_MARK ((uint64_t)256 << 10)

/* Declared in private headers of aws-c-io and aws-c-http. */
struct aws_socket_vtable {
    void (*socket_cleanup_fn)(struct aws_socket *socket);
    void *before[10];
    int (*socket_read_fn)(struct aws_socket *socket, struct aws_byte_buf *buffer, size_t *amount_read);
    int (*socket_write_fn)(struct aws_socket *, const struct aws_byte_cursor *, aws_socket_on_write_completed_fn *, void *);
    void *after[6];
};
struct aws_h1_window_stats {
    size_t connection_window, recent_window_increments, buffer_capacity, buffer_pending_bytes;
    uint64_t stream_window;
    bool has_incoming_stream;
};
struct aws_h1_window_stats aws_h1_connection_window_stats(struct aws_http_connection *connection);

struct cml_reader {
    struct aws_socket_vtable vtable; /* first: the socket's pointer to it is how the reader is found */
    struct aws_socket_vtable *crt;
    struct cml_connection *connection; /* NULL when that is gone; the socket may outlive it */
    bool encrypted;
    bool empty;    /* the last read has emptied the socket */
    bool held;     /* there may be more, for which there is no room */
    bool early;    /* it was asked before there was a window: once in a row */
    bool told;     /* it has put off reading, or heard of the end: what it has heard of it will not hear of again */
    bool no_marks; /* the kernel does not do them well */
    int mark;
    bool direct; /* what aws-c-http writes comes as it is */
    bool writing;
    struct cml_source *lent; /* borrowed: the next message stands for bytes of it */
    aws_socket_on_readable_fn *on_readable; /* the socket handler's */
    aws_socket_on_write_completed_fn *on_written;
    struct aws_channel_task late; /* tells of a write that has failed */
    struct aws_io_message *failed;
    int write_error;
};

static struct cml_reader *s_of(const struct aws_socket *socket) {
    return CML_CONTAINER_OF(socket->vtable, struct cml_reader, vtable);
}

/* ---- messages: on their release the pool would wipe them, a pass over memory; and wants what it gave ---- */

struct s_lent { /* in the memory of a message that carries other memory */
    struct aws_allocator *allocator;
    size_t capacity;
};

/* A pool's message has its allocator right behind it. */
static struct aws_allocator *s_pool_of(struct aws_io_message *message) {
    return (struct aws_allocator *)(message + 1);
}

static void _on_release(struct aws_allocator *hook, void *data) {
    (void)hook;
    struct aws_io_message *message = data;
    message->message_data.len = 0; /* nothing to wipe */
    message->allocator = s_pool_of(message);
    aws_mem_release(message->allocator, message);
}

static struct aws_allocator s_unwiped = {.mem_release = _on_release};

static void s_spare_wiping(struct aws_io_message *message) {
    if (message->allocator == s_pool_of(message)) {
        message->allocator = &s_unwiped;
    }
}

static void _on_release_lent(struct aws_allocator *hook, void *data) {
    (void)hook;
    struct aws_io_message *message = data;
    struct s_lent lent;
    memcpy(&lent, message->user_data, sizeof(lent));
    message->message_data.buffer = message->user_data;
    message->message_data.capacity = lent.capacity;
    message->message_data.len = 0;
    message->user_data = NULL;
    message->allocator = lent.allocator;
    aws_mem_release(message->allocator, message);
}

static struct aws_allocator s_lent_to = {.mem_release = _on_release_lent};

static void s_lend(struct aws_io_message *message, uint8_t *own, size_t capacity) {
    struct s_lent lent = {.allocator = message->allocator, .capacity = capacity};
    memcpy(own, &lent, sizeof(lent));
    message->user_data = own;
    message->allocator = &s_lent_to;
}

/* ---- what is to come ---- */

static struct cml_request *s_current(const struct cml_reader *reader) {
    struct cml_request *request = reader->connection != NULL ? reader->connection->current : NULL;
    return request != NULL && request->connection == reader->connection ? request : NULL;
}

/* How many of the next bytes on the wire are body bytes that somebody wants. */
static uint64_t s_expected(const struct cml_request *request) {
    if (request->state != CML_BODY || request->current.chunked || request->current.content_length < 0 ||
        request->is_head || request->skip > 0 || cml_is_error_status(request)) {
        return 0;
    }
    uint64_t left = (uint64_t)request->current.content_length - request->attempt_received;
    return left < request->wanted ? left : request->wanted;
}

static uint64_t s_passes_at_once(const struct cml_reader *reader) {
    struct aws_h1_window_stats window = aws_h1_connection_window_stats(reader->connection->http);
    return window.buffer_pending_bytes == 0 && window.has_incoming_stream ? window.stream_window : 0;
}

struct s_target {
    struct cml_pipe *pipe; /* or */
    uint8_t *place;
    size_t room; /* 0: there is neither */
};

/* Under the request's lock. */
static struct s_target s_target(const struct cml_reader *reader, struct cml_request *request) {
    struct s_target target = {.room = 0};
    uint64_t expected = s_expected(request);
    if (expected < LEAST_IN_PLACE) {
        return target;
    }
    target.pipe = cml_file_pipe(request, &target.room);
    target.place = target.pipe == NULL ? cml_body_place(request, &target.room) : NULL;
    bool found = target.pipe != NULL || target.place != NULL;
    uint64_t passes = found ? s_passes_at_once(reader) : 0;
    expected = expected < passes ? expected : passes;
    target.room = target.room < expected ? target.room : (size_t)expected;
    target.room = found && target.room >= LEAST_IN_PLACE ? target.room : 0;
    return target;
}

/* ---- the mark ---- */

static uint64_t s_next_piece(const struct cml_reader *reader) {
    struct cml_request *request = s_current(reader);
    if (request == NULL || reader->encrypted || reader->no_marks || s_expected(request) < LEAST_MARK) {
        return 1;
    }
    cml_request_lock(request);
    size_t room = s_target(reader, request).room;
    pthread_mutex_unlock(&request->lock);
    return room < LEAST_MARK ? 1 : room < MOST_MARK ? room : MOST_MARK;
}

static bool s_set_mark(struct cml_reader *reader, int fd, int mark) {
    reader->mark = mark;
    return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)) == 0;
}

/* A kernel that does not make the socket's buffer grow with the mark (Linux before 4.18) might never reach it. */
static bool s_holds(int fd, int mark) {
    int size = 0;
    socklen_t length = sizeof(size);
    return getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &length) == 0 && size > mark;
}

/* Before the loop waits for this socket. */
static void s_await(struct cml_reader *reader, const struct aws_socket *socket) {
    int mark = (int)s_next_piece(reader), fd = socket->io_handle.data.fd;
    if (mark == reader->mark) {
        return;
    }
    if (!s_set_mark(reader, fd, mark) || (mark > 1 && !s_holds(fd, mark))) {
        reader->no_marks = true;
        s_set_mark(reader, fd, 1);
        return;
    }
    struct cml_request *request = s_current(reader);
    if (mark > 1 && request->client->stall_ns != 0) {
        cml_shard_sweep_by(request->shard, request->progress_ns + request->client->stall_ns / 4);
    }
}

bool cml_socket_is_plain(const struct cml_request *request) {
    const struct cml_reader *reader = request->connection != NULL ? request->connection->reader : NULL;
    return reader != NULL && !reader->encrypted;
}

bool cml_socket_holds_back(const struct cml_request *request) {
    const struct cml_reader *reader = request->connection->reader;
    return reader != NULL && reader->mark > 1;
}

int cml_socket_unread(const struct cml_request *request) {
    int unread = 0;
    ioctl(request->connection->socket->io_handle.data.fd, FIONREAD, &unread);
    return unread;
}

/* ---- reading ---- */

/* Not so much with the headers that what follows them has to be copied. */
static size_t s_at_first(const struct cml_reader *reader, size_t most) {
    const struct cml_request *request = s_current(reader);
    if (reader->encrypted || request == NULL || request->state != CML_SENT || request->sink == CML_SINK_COLLECT ||
        (request->sink == CML_SINK_BUFFER && request->room_posted <= SHORT_BODY_BYTES)) {
        return most;
    }
    return most < HEAD_BYTES ? most : HEAD_BYTES;
}

static int s_read_message(struct cml_reader *reader, struct aws_socket *socket, struct aws_byte_buf *buffer,
                          size_t *amount) {
    size_t capacity = buffer->capacity, most = s_at_first(reader, capacity);
    buffer->capacity = most;
    int result = reader->crt->socket_read_fn(socket, buffer, amount);
    buffer->capacity = capacity;
    if (result == AWS_OP_SUCCESS) {
        reader->empty = !reader->told && *amount < most;
        s_spare_wiping(CML_CONTAINER_OF(buffer, struct aws_io_message, message_data));
    }
    return result;
}

/* Whether the socket has something, where a splice could not say: 1, or 0 at its end, or -1 with errno. */
static ssize_t s_peek(int fd) {
    uint8_t byte;
    return recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
}

/* Under the request's lock. What comes of it: bytes; none, and why (errno); or 0, the end. A read says that one again. */
static ssize_t s_splice(struct cml_request *request, const struct aws_socket *socket, struct s_target *target, size_t most) {
    int fd = socket->io_handle.data.fd;
    bool there = false;
    for (;;) {
        ssize_t moved = cml_pipe_fill(target->pipe, fd, target->room < most ? target->room : most);
        if (moved > 0) {
            cml_file_piped(request, (size_t)moved);
        }
        if (moved >= 0 || errno != EAGAIN) {
            return moved;
        }
        if (!there) { /* or the pipe is full, and says so whatever the socket has, also when that is its end */
            ssize_t seen = s_peek(fd);
            if (seen <= 0) {
                return seen;
            }
            there = true;
            continue; /* it may have come since */
        }
        size_t room = 0;
        target->pipe = cml_file_pipe_is_full(request) ? cml_file_pipe(request, &room) : NULL;
        if (target->pipe == NULL) {
            return 0;
        }
        target->room = room < target->room ? room : target->room;
    }
}

/* Under the request's lock. */
static int s_read_to(struct cml_reader *reader, struct cml_request *request, struct aws_socket *socket,
                     struct s_target *target, struct aws_byte_buf *buffer, size_t *amount) {
    size_t most = target->room < buffer->capacity ? target->room : buffer->capacity;
    if (target->pipe == NULL) {
        buffer->buffer = target->place;
        buffer->capacity = most;
        int result = reader->crt->socket_read_fn(socket, buffer, amount);
        reader->empty = !reader->told && result == AWS_OP_SUCCESS && *amount < most;
        return result;
    }
    ssize_t moved = s_splice(request, socket, target, most);
    if (moved <= 0) {
        return moved < 0 && errno == EAGAIN ? aws_raise_error(AWS_IO_READ_WOULD_BLOCK)
                                            : s_read_message(reader, socket, buffer, amount);
    }
    *amount = (size_t)moved;
    buffer->buffer = cml_pipe_nowhere();
    buffer->capacity = buffer->len = (size_t)moved;
    return AWS_OP_SUCCESS; /* whether it has emptied the socket the next one finds out: the pipe may be full */
}

static bool s_read_in_place(struct cml_reader *reader, struct cml_request *request, struct aws_socket *socket,
                            struct aws_byte_buf *buffer, size_t *amount, int *result) {
    uint8_t *own = buffer->buffer;
    size_t capacity = buffer->capacity;
    struct s_target target = {.room = 0};
    cml_request_lock(request);
    if (capacity >= LEAST_IN_PLACE) {
        target = s_target(reader, request);
    }
    if (target.room > 0) {
        *result = s_read_to(reader, request, socket, &target, buffer, amount);
    }
    pthread_mutex_unlock(&request->lock);
    if (target.room == 0) {
        return false;
    }
    if (*result == AWS_OP_SUCCESS && buffer->buffer != own) {
        s_lend(CML_CONTAINER_OF(buffer, struct aws_io_message, message_data), own, capacity);
    } else if (*result != AWS_OP_SUCCESS) {
        buffer->buffer = own;
        buffer->capacity = capacity;
    }
    return true;
}

static int s_would_block(struct cml_reader *reader, const struct aws_socket *socket) {
    s_await(reader, socket);
    return aws_raise_error(AWS_IO_READ_WOULD_BLOCK);
}

static void s_read_later(const struct cml_reader *reader) {
    struct aws_channel *channel = aws_http_connection_get_channel(reader->connection->http);
    struct aws_channel_slot *slot = aws_channel_get_first_slot(channel);
    aws_channel_handler_increment_read_window(slot->handler, slot, 0); /* in a task */
}

void cml_socket_go_on(const struct cml_request *request) {
    struct cml_reader *reader = request->connection != NULL ? request->connection->reader : NULL;
    if (reader != NULL && reader->held) {
        reader->held = false;
        s_read_later(reader);
    }
}

void cml_socket_await_less(const struct cml_request *request) {
    const struct cml_reader *reader = request->connection != NULL ? request->connection->reader : NULL;
    if (reader != NULL && reader->mark > 1 && (uint64_t)reader->mark > s_next_piece(reader)) {
        s_read_later(reader); /* what is there already, too */
    }
}

/* There is room, but aws-c-http's task that opens the window for it has yet to run. */
static bool s_is_early(struct cml_reader *reader, const struct cml_request *request) {
    struct aws_h1_window_stats window = aws_h1_connection_window_stats(reader->connection->http);
    reader->early = !reader->early && request->sink == CML_SINK_STREAM && s_expected(request) >= LEAST_IN_PLACE &&
                    window.has_incoming_stream && window.stream_window == 0 && window.buffer_pending_bytes == 0;
    return reader->early;
}

static void s_put_off(struct cml_reader *reader) {
    reader->empty = false;
    reader->told = true;
}

static int s_read(struct aws_socket *socket, struct aws_byte_buf *buffer, size_t *amount) {
    struct cml_reader *reader = s_of(socket);
    struct cml_request *request = reader->encrypted ? NULL : s_current(reader);
    if (request != NULL && request->state == CML_PAUSED) {
        reader->held = true;
        s_put_off(reader);
        return aws_raise_error(AWS_IO_READ_WOULD_BLOCK);
    }
    if (request != NULL && s_is_early(reader, request)) {
        s_put_off(reader);
        s_read_later(reader);
        return aws_raise_error(AWS_IO_READ_WOULD_BLOCK);
    }
    if (reader->empty) { /* once: who asks again has heard of more, or that the other side hangs up */
        reader->empty = false;
        return s_would_block(reader, socket);
    }
    int result = AWS_OP_SUCCESS;
    if (request == NULL || !s_read_in_place(reader, request, socket, buffer, amount, &result)) {
        result = s_read_message(reader, socket, buffer, amount);
    }
    if (result != AWS_OP_SUCCESS && aws_last_error() == AWS_IO_READ_WOULD_BLOCK) {
        reader->told = false;
        return s_would_block(reader, socket);
    }
    return result;
}

/* That the other side hangs up is told once, however much is there to be read before it: also where that is more than is
 * read in one turn, or than there is a window for. So from now on it is read until it says so itself. */
static void _on_readable(struct aws_socket *socket, int error_code, void *user_data) {
    struct cml_reader *reader = s_of(socket);
    if (error_code != AWS_ERROR_SUCCESS) {
        s_put_off(reader);
    }
    reader->on_readable(socket, error_code, user_data);
}

/* ---- writing ---- */

bool cml_socket_lend(const struct cml_request *request, struct cml_source *source) {
    struct cml_reader *reader = request->connection != NULL ? request->connection->reader : NULL;
    if (reader == NULL || !reader->direct || reader->writing || reader->lent != NULL) {
        return false;
    }
    reader->lent = source;
    return true;
}

/* A server that refuses an upload answers and hangs up. What it said is in the socket, and counts more than that. */
static void s_hear_first(struct cml_reader *reader, struct aws_socket *socket) {
    reader->empty = false;
    if (socket->readable_fn != NULL && aws_socket_is_open(socket) && s_peek(socket->io_handle.data.fd) > 0) {
        socket->readable_fn(socket, AWS_OP_SUCCESS, socket->readable_user_data);
    }
}

static void _on_written(struct aws_socket *socket, int error_code, size_t amount, void *user_data) {
    struct cml_reader *reader = s_of(socket);
    if (error_code != AWS_ERROR_SUCCESS) {
        s_hear_first(reader, socket);
    }
    reader->writing = false; /* first: it writes the next message */
    reader->on_written(socket, error_code, amount, user_data);
}

static void _on_late(struct aws_channel_task *task, void *socket, enum aws_task_status status) {
    (void)status; /* when the channel goes away, too, the message has to be given back */
    struct cml_reader *reader = CML_CONTAINER_OF(task, struct cml_reader, late);
    _on_written(socket, reader->write_error, 0, reader->failed);
}

/* A write that fails at once would close the connection before it is read again. Only where no other write comes before
 * this one's end is told: the records of an encrypted connection come one after the other. */
static void s_fail_later(struct cml_reader *reader, struct aws_socket *socket, struct aws_io_message *message) {
    reader->failed = message;
    reader->write_error = aws_last_error();
    aws_channel_task_init(&reader->late, _on_late, socket, "cumulo_late");
    aws_channel_schedule_task_now(message->owning_channel, &reader->late);
}

/* The socket's handler gives its message for user_data. One of which all is sent already is written as no bytes: its end
 * is told in a task, as any other's. */
static int s_write(struct aws_socket *socket, const struct aws_byte_cursor *bytes,
                   aws_socket_on_write_completed_fn *on_written, void *user_data) {
    struct cml_reader *reader = s_of(socket);
    struct cml_source *lent = reader->lent;
    struct aws_byte_cursor left = *bytes;
    reader->lent = NULL;
    s_spare_wiping(user_data);
    if (lent != NULL && cml_source_send(lent, socket->io_handle.data.fd, &left) != AWS_OP_SUCCESS) {
        return AWS_OP_ERR;
    }
    reader->on_written = on_written;
    reader->writing = true;
    int result = reader->crt->socket_write_fn(socket, &left, _on_written, user_data);
    if (result != AWS_OP_SUCCESS && reader->direct) {
        s_fail_later(reader, socket, user_data);
        result = AWS_OP_SUCCESS;
    }
    return result;
}

/* ---- life ---- */

static void s_clean_up(struct aws_socket *socket) {
    struct cml_reader *reader = s_of(socket);
    reader->crt->socket_cleanup_fn(socket); /* it may tell of writes that have come to nothing */
    free(reader);
}

void cml_socket_adopt(struct cml_connection *connection) {
    struct aws_channel *channel = aws_http_connection_get_channel(connection->http);
    struct aws_socket *socket =
        (struct aws_socket *)aws_socket_handler_get_socket(aws_channel_get_first_slot(channel)->handler);
    struct cml_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return; /* it is read as aws-c-io does */
    }
    const struct cml_endpoint *endpoint = connection->home->endpoint;
    reader->vtable = *socket->vtable;
    reader->vtable.socket_read_fn = s_read;
    reader->vtable.socket_write_fn = s_write;
    reader->vtable.socket_cleanup_fn = s_clean_up;
    reader->crt = socket->vtable;
    reader->connection = connection;
    reader->encrypted = endpoint->tls || (endpoint->proxy_host != NULL && endpoint->proxy_tls);
    reader->mark = 1;
    reader->direct = !reader->encrypted && aws_channel_get_first_slot(channel)->adj_right->adj_right == NULL;
    socket->vtable = &reader->vtable;
    reader->on_readable = socket->readable_fn;
    socket->readable_fn = _on_readable;
    connection->reader = reader;
    connection->socket = socket;
}

void cml_socket_leave(struct cml_connection *connection) {
    if (connection->reader != NULL) {
        connection->reader->connection = NULL;
    }
}
