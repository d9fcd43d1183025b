/* The CRT's side of one attempt: builds and signs the message, feeds the upload, and turns aws-c-http's callbacks into
 * events. All of it runs on the loop's thread. The stream holds one reference on the request, taken last before it is
 * activated and given back in _on_complete.
 */
#include "bulk.h"

#include <aws/http/http.h>
#include <aws/io/channel.h>
#include <aws/io/socket.h>
#include <aws/io/socket_channel_handler.h>
#include <aws/io/stream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#ifdef __linux__
#    include <sys/ioctl.h>
#    include <termios.h>
#endif

/* ---- the message ---- */

static void s_add(struct aws_http_message *message, const char *name, size_t name_len, const char *value,
                  size_t value_len) {
    struct aws_http_header header = {
        .name = aws_byte_cursor_from_array(name, name_len),
        .value = aws_byte_cursor_from_array(value, value_len),
    };
    aws_http_message_add_header(message, header);
}

static void s_add_text(struct aws_http_message *message, const char *name, const char *value) {
    s_add(message, name, strlen(name), value, strlen(value));
}

static void s_add_body(struct cml_request *request, struct aws_http_message *message) {
    bool sends_body = request->method[0] == 'P'; /* PUT, POST, PATCH */
    if (request->body_length == 0 && !sends_body) {
        return;
    }
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)request->body_length);
    s_add_text(message, "Content-Length", text);
    if (request->body_length > 0) {
        struct aws_input_stream *source = cml_source_new(request);
        aws_http_message_set_body_stream(message, source);
        aws_input_stream_release(source); /* the message holds it now */
    }
}

static bool s_is_if_match(const struct cml_request *request, uint32_t at) {
    return request->headers[at].name_len == 8 &&
           strncasecmp(request->arena + request->headers[at].name, "if-match", 8) == 0;
}

/* A request's own header stands in for its client's. */
static bool s_overrides(const struct cml_request *request, const struct cml_header *header) {
    for (uint32_t i = 0; i < request->header_count; ++i) {
        if (request->headers[i].name_len == header->name_len &&
            strncasecmp(request->arena + request->headers[i].name, header->name, header->name_len) == 0) {
            return true;
        }
    }
    return false;
}

struct aws_http_message *cml_transport_message(struct cml_request *request) {
    struct cml_client *client = request->client;
    struct aws_http_message *message = aws_http_message_new_request(aws_default_allocator());
    aws_http_message_set_request_method(message, aws_byte_cursor_from_c_str(request->method));
    aws_http_message_set_request_path(message, aws_byte_cursor_from_array(request->arena, request->path_len));
    s_add_text(message, "Host", client->host_header);
    for (size_t i = 0; i < client->header_count; ++i) {
        const struct cml_header *header = &client->headers[i];
        if (!s_overrides(request, header)) {
            s_add(message, header->name, header->name_len, header->value, header->value_len);
        }
    }
    bool goes_on = request->received > 0 && request->committed;
    for (uint32_t i = 0; i < request->header_count; ++i) {
        if (goes_on && s_is_if_match(request, i)) {
            continue; /* the response's own, below, has met it */
        }
        s_add(message, request->arena + request->headers[i].name, request->headers[i].name_len,
              request->arena + request->headers[i].value, request->headers[i].value_len);
    }
    char range[64];
    if (cml_request_attempt_range(request, range)) {
        s_add_text(message, "Range", range);
    }
    if (goes_on) {
        s_add_text(message, "If-Match", cml_response_etag(&request->response));
    }
    s_add_body(request, message);
    return message;
}

/* ---- callbacks ---- */

/* Of a client that hedges, wires are apart from requests: two may be exchanged, and end in any order. */
static struct cml_wire *s_wire(struct cml_request *request) {
    struct cml_wire *wire = &request->own_wire;
    if (request->client->hedge) {
        wire = malloc(sizeof(*wire));
        if (wire == NULL) {
            abort(); /* as the CRT does */
        }
    }
    wire->owner = request;
    cml_request_acquire(request); /* twin: s_unwire */
    return wire;
}

static void s_unwire(struct cml_wire *wire) {
    struct cml_request *owner = wire->owner;
    if (wire != &owner->own_wire) {
        free(wire);
    }
    cml_request_release(owner); /* twin: s_wire */
}

static struct cml_request *s_owner(void *user_data) {
    return ((struct cml_wire *)user_data)->owner;
}

static int _on_headers(struct aws_http_stream *stream, enum aws_http_header_block block,
                       const struct aws_http_header *headers, size_t count, void *user_data) {
    (void)stream;
    struct cml_request *request = s_owner(user_data);
    if (block == AWS_HTTP_HEADER_BLOCK_MAIN && request->state != CML_DONE) {
        for (size_t i = 0; i < count; ++i) {
            if (!cml_response_add(&request->current, &headers[i])) {
                return aws_raise_error(AWS_ERROR_HTTP_PROTOCOL_ERROR);
            }
        }
    }
    return AWS_OP_SUCCESS;
}

static int _on_headers_done(struct aws_http_stream *stream, enum aws_http_header_block block, void *user_data) {
    struct cml_request *request = s_owner(user_data);
    if (block == AWS_HTTP_HEADER_BLOCK_MAIN && request->state != CML_DONE) {
        aws_http_stream_get_incoming_response_status(stream, &request->current.status);
        request->got_headers = true;
        request->progress_ns = cml_now_ns();
        cml_dispatch(request, CML_ON_HEADERS);
    }
    return AWS_OP_SUCCESS;
}

static int _on_body(struct aws_http_stream *stream, const struct aws_byte_cursor *data, void *user_data) {
    (void)stream;
    cml_request_on_data(s_owner(user_data), data->ptr, data->len);
    return AWS_OP_SUCCESS;
}

static void _on_complete(struct aws_http_stream *stream, int error_code, void *user_data) {
    struct cml_wire *wire = user_data;
    struct cml_request *request = wire->owner;
    struct cml_connection *connection = request->connection;
    request->wire = NULL;
    request->connection = NULL;
    request->stream = NULL;
    aws_http_stream_release(stream);
    if (error_code != 0 && request->state != CML_ABORTING) {
        int error = cml_error_from_crt(error_code, false);
        cml_request_note(request, error == CML_ERR_RESET && request->got_headers ? CML_ERR_TRUNCATED : error, error_code);
    }
    cml_dispatch(request, error_code == 0 ? CML_ON_END : CML_ON_BROKEN);
    cml_endpoint_give_back(connection, error_code == 0);
    s_unwire(wire);
}

/* ---- what request.c calls ---- */

int cml_transport_send(struct cml_request *request, struct aws_credentials *credentials) {
    struct aws_http_message *message = cml_transport_message(request);
    request->source_at = 0;
    request->got_headers = false;
    if (credentials != NULL && cml_authorize(request, message, credentials) != AWS_OP_SUCCESS) {
        aws_http_message_release(message);
        return aws_last_error();
    }
    struct cml_wire *wire = s_wire(request);
    struct aws_http_make_request_options options = {
        .self_size = sizeof(options),
        .request = message,
        .user_data = wire,
        .on_response_headers = _on_headers,
        .on_response_header_block_done = _on_headers_done,
        .on_response_body = _on_body,
        .on_complete = _on_complete,
    };
    struct aws_http_stream *stream = aws_http_connection_make_request(request->connection->http, &options);
    aws_http_message_release(message);
    if (stream == NULL) {
        int error = aws_last_error();
        s_unwire(wire);
        return error;
    }
    if (aws_http_stream_activate(stream) != AWS_OP_SUCCESS) {
        int error = aws_last_error();
        aws_http_stream_release(stream);
        s_unwire(wire);
        return error;
    }
    request->wire = wire;
    request->stream = stream;
    request->connection->current = request;
    return 0;
}

void cml_transport_abort(struct cml_request *request) {
    aws_http_stream_cancel(request->stream, AWS_ERROR_HTTP_STREAM_CANCELLED);
    /* A connection that the server has closed already ignores the cancel and waits until the stream has taken in what
     * had come: let it, the bytes are dropped. */
    if (request->sink == CML_SINK_STREAM) {
        aws_http_stream_update_window(request->stream, SIZE_MAX);
        cml_socket_go_on(request);
    }
}

int cml_transport_unsent(const struct cml_request *request) {
    int unsent = -1;
#ifdef __linux__
    struct aws_channel *channel = aws_http_connection_get_channel(request->connection->http);
    struct aws_channel_slot *first = aws_channel_get_first_slot(channel);
    const struct aws_socket *socket = aws_socket_handler_get_socket(first->handler);
    if (ioctl(socket->io_handle.data.fd, TIOCOUTQ, &unsent) != 0) {
        return -1;
    }
#else
    (void)request;
#endif
    return unsent;
}

void cml_transport_open_window(struct cml_request *request, uint64_t bytes) {
    if (request->stream != NULL && bytes > 0) {
        aws_http_stream_update_window(request->stream, bytes > SIZE_MAX ? SIZE_MAX : (size_t)bytes);
        cml_socket_go_on(request);
    }
}
