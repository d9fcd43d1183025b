/* An upload's body on its way to the socket. Loop thread.
 *
 * aws-c-http reads a body into a message, which aws-c-io writes. On a connection in the clear the message of a large piece
 * only stands for it: when it comes to the socket, the bytes are sent from where they are, memory or a file, and only what
 * the socket has no room for is copied. Between the read and the write nothing else runs: the encoder's turn is both.
 *
 * Always true: the caller's memory is read only while the request's lock is held and a revoke has not come.
 */
#include "internal.h"

#include <aws/http/http.h>
#include <aws/io/stream.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#    include <sys/sendfile.h>
#endif
#ifndef MSG_NOSIGNAL
#    define MSG_NOSIGNAL 0 /* where the socket itself is told, by aws-c-io */
#endif

#define LEAST_LENT ((size_t)64 << 10)      /* less is copied: it is in the cache */
#define MOST_PARTS 16                      /* of memory that are sent at a time */

struct s_place {
    uint64_t at; /* in the body */
    uint32_t span; /* of memory, and how far into it */
    size_t span_at;
};

struct cml_source {
    struct aws_input_stream base;
    struct cml_request *request; /* referenced: the encoder may outlive the attempt by a moment */
    struct s_place next;
    struct s_place lent; /* what the message stands for: from here, */
    uint8_t *stand_in;   /* in place of these bytes, */
    size_t lent_length;  /* so many */
};

/* ---- under the request's lock ---- */

static bool s_is_file(const struct cml_source *source) {
    return source->request->body_span_count == 0;
}

/* What the next bytes of memory in one piece are; the place moves behind them. */
static struct cml_bytes s_step(const struct cml_source *source, struct s_place *place, size_t most) {
    const struct cml_bytes *span = &source->request->body_spans[place->span];
    size_t left = span->length - place->span_at;
    struct cml_bytes piece = {.data = span->data + place->span_at, .length = left < most ? left : most};
    place->at += piece.length;
    place->span_at += piece.length;
    if (place->span_at == span->length) {
        place->span++;
        place->span_at = 0;
    }
    return piece;
}

static bool s_read_file(const struct cml_source *source, struct s_place *place, uint8_t *to, size_t length) {
    while (length > 0) {
        const struct cml_request *request = source->request;
        ssize_t got = pread(request->body_fd, to, length, (off_t)(request->body_offset + place->at));
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return false; /* also when it is shorter than it was */
        }
        size_t take = got > 0 ? (size_t)got : 0;
        place->at += take;
        to += take;
        length -= take;
    }
    return true;
}

static int s_copy(const struct cml_source *source, struct s_place *place, uint8_t *to, size_t length) {
    if (s_is_file(source)) {
        return s_read_file(source, place, to, length) ? AWS_OP_SUCCESS : aws_raise_error(AWS_IO_STREAM_READ_FAILED);
    }
    while (length > 0) {
        struct cml_bytes piece = s_step(source, place, length);
        memcpy(to, piece.data, piece.length);
        to += piece.length;
        length -= piece.length;
    }
    return AWS_OP_SUCCESS;
}

static void s_skip(const struct cml_source *source, struct s_place *place, size_t length) {
    if (s_is_file(source)) {
        place->at += length;
        return;
    }
    while (length > 0) {
        length -= s_step(source, place, length).length;
    }
}

/* How much of the next bytes one call can send. The kernel is given a file's pages, not a copy of them: who changes the
 * file before they have gone out, be it after a cancel, changes what goes out. So the server has to be able to tell. */
static size_t s_sendable(const struct cml_source *source, size_t most) {
    if (s_is_file(source)) {
#ifdef __linux__
        return cml_request_signs_payload(source->request) ? most : 0;
#else
        return 0;
#endif
    }
    struct s_place place = source->next;
    size_t length = 0;
    for (int parts = 0; parts < MOST_PARTS && length < most; ++parts) {
        length += s_step(source, &place, most - length).length;
    }
    return length;
}

/* ---- the encoder reads ---- */

static bool s_lend(struct cml_source *source, uint8_t *stand_in, size_t *length) {
    size_t most = s_sendable(source, *length);
    if (most < LEAST_LENT || !cml_socket_lend(source->request, source)) {
        return false;
    }
    source->lent = source->next;
    source->stand_in = stand_in;
    source->lent_length = *length = most;
    s_skip(source, &source->next, most);
    return true;
}

/* 0 bytes without end of stream would spin the encoder, so a short source is an error at once. */
static int s_read(struct aws_input_stream *stream, struct aws_byte_buf *dest) {
    struct cml_source *source = CML_CONTAINER_OF(stream, struct cml_source, base);
    struct cml_request *request = source->request;
    uint64_t left = request->body_length - source->next.at;
    size_t room = dest->capacity - dest->len;
    if (request->client->endpoint->tls && room > CML_TLS_WRITE_BYTES) {
        room = CML_TLS_WRITE_BYTES;
    }
    size_t take = left < room ? (size_t)left : room;
    if (take == 0) {
        return AWS_OP_SUCCESS;
    }
    int result = AWS_OP_SUCCESS;
    uint8_t *to = dest->buffer + dest->len;
    cml_request_lock(request);
    if (request->revoked) {
        result = aws_raise_error(AWS_ERROR_HTTP_STREAM_CANCELLED);
    } else if (!s_lend(source, to, &take)) {
        result = s_copy(source, &source->next, to, take);
    }
    pthread_mutex_unlock(&request->lock);
    if (result == AWS_OP_SUCCESS) {
        dest->len += take;
        request->source_at = source->next.at;
        request->progress_ns = request->sent_till_ns = cml_now_ns();
    }
    return result;
}

/* ---- the socket writes ---- */

static size_t s_send_memory(const struct cml_source *source, int socket, uint8_t *head, size_t head_length) {
    struct iovec parts[1 + MOST_PARTS] = {{.iov_base = head, .iov_len = head_length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1};
    struct s_place place = source->lent;
    for (size_t left = source->lent_length; left > 0;) {
        struct cml_bytes piece = s_step(source, &place, left);
        parts[message.msg_iovlen++] = (struct iovec){.iov_base = (void *)piece.data, .iov_len = piece.length};
        left -= piece.length;
    }
    ssize_t sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent > 0 ? (size_t)sent : 0;
}

#ifdef __linux__
/* sendfile can't be told to raise no SIGPIPE. It may also come when a part was sent before the other side was gone. */
static ssize_t s_sendfile(int socket, int file, off_t at, size_t length) {
    static const struct timespec now = {0};
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    ssize_t sent = sendfile(socket, file, &at, length);
    if (sent != (ssize_t)length) {
        sigtimedwait(&pipe, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sent;
}

static size_t s_send_file(const struct cml_source *source, int socket, uint8_t *head, size_t head_length) {
    ssize_t sent = head_length > 0 ? send(socket, head, head_length, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) : 0;
    if (sent != (ssize_t)head_length) {
        return sent > 0 ? (size_t)sent : 0;
    }
    const struct cml_request *request = source->request;
    ssize_t more = s_sendfile(socket, request->body_fd, (off_t)(request->body_offset + source->lent.at), source->lent_length);
    return head_length + (more > 0 ? (size_t)more : 0);
}
#endif

/* What could not be sent, for whatever reason, is copied: who writes it then meets the reason again. */
static int s_send(struct cml_source *source, int socket, struct aws_byte_cursor *message) {
    size_t head_length = message->len - source->lent_length;
#ifdef __linux__
    size_t sent = s_is_file(source) ? s_send_file(source, socket, message->ptr, head_length)
                                    : s_send_memory(source, socket, message->ptr, head_length);
#else
    size_t sent = s_send_memory(source, socket, message->ptr, head_length);
#endif
    size_t of_body = sent > head_length ? sent - head_length : 0;
    struct s_place place = source->lent;
    s_skip(source, &place, of_body);
    aws_byte_cursor_advance(message, sent);
    return s_copy(source, &place, source->stand_in + of_body, source->lent_length - of_body);
}

int cml_source_send(struct cml_source *source, int socket, struct aws_byte_cursor *message) {
    struct cml_request *request = source->request;
    if (message->len < source->lent_length ||
        message->ptr + message->len != source->stand_in + source->lent_length) {
        return aws_raise_error(AWS_ERROR_INVALID_STATE); /* another message: what this one stands for was never sent */
    }
    cml_request_lock(request);
    int result = request->revoked ? aws_raise_error(AWS_ERROR_HTTP_STREAM_CANCELLED) : s_send(source, socket, message);
    pthread_mutex_unlock(&request->lock);
    return result;
}

/* ---- the stream ---- */

static int s_status(struct aws_input_stream *stream, struct aws_stream_status *status) {
    struct cml_source *source = CML_CONTAINER_OF(stream, struct cml_source, base);
    status->is_end_of_stream = source->next.at >= source->request->body_length;
    status->is_valid = true;
    return AWS_OP_SUCCESS;
}

static int s_length(struct aws_input_stream *stream, int64_t *out) {
    *out = (int64_t)CML_CONTAINER_OF(stream, struct cml_source, base)->request->body_length;
    return AWS_OP_SUCCESS;
}

static int s_seek(struct aws_input_stream *stream, int64_t offset, enum aws_stream_seek_basis basis) {
    (void)stream, (void)offset, (void)basis;
    return aws_raise_error(AWS_IO_STREAM_SEEK_UNSUPPORTED); /* a retry makes a new source */
}

static const struct aws_input_stream_vtable s_vtable = {
    .seek = s_seek,
    .read = s_read,
    .get_status = s_status,
    .get_length = s_length,
};

static void s_destroy(void *object) {
    struct cml_source *source = object;
    cml_request_release(source->request);
    aws_mem_release(aws_default_allocator(), source);
}

struct aws_input_stream *cml_source_new(struct cml_request *request) {
    struct cml_source *source = aws_mem_calloc(aws_default_allocator(), 1, sizeof(*source));
    source->base.vtable = &s_vtable;
    aws_ref_count_init(&source->base.ref_count, source, s_destroy);
    source->request = request;
    cml_request_acquire(request);
    return &source->base;
}
