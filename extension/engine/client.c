/* Clients and the making of requests: everything here may run on any thread; nothing here does I/O. */
#include "bulk.h"
#include "loop.h"
#include "pace.h"

#include <stdlib.h>
#include <string.h>

#define LARGE (1 << 20)
#define FULL_SHARD 256 /* requests under way on a shard before the next shard is used */

static char *s_copy(const char *text) {
    return text != NULL ? strdup(text) : NULL;
}

static bool s_copy_headers(struct cml_client *client, const struct cml_client_options *options) {
    size_t total = 0;
    for (size_t i = 0; i < options->header_count; ++i) {
        total += options->headers[i].name_len + options->headers[i].value_len;
    }
    client->header_arena = malloc(total + 1);
    client->headers = calloc(options->header_count + 1, sizeof(struct cml_header));
    if (client->header_arena == NULL || client->headers == NULL) {
        return false;
    }
    char *at = client->header_arena;
    for (size_t i = 0; i < options->header_count; ++i) {
        const struct cml_header *from = &options->headers[i];
        client->headers[i] = (struct cml_header){at, from->name_len, at + from->name_len, from->value_len};
        memcpy(at, from->name, from->name_len);
        memcpy(at + from->name_len, from->value, from->value_len);
        at += from->name_len + from->value_len;
    }
    client->header_count = options->header_count;
    return true;
}

static void s_destroy(struct cml_client *client) {
    if (client->generation == cml_runtime_generation()) { /* after a fork they are the parent's and not touched */
        if (client->endpoint != NULL) {
            cml_endpoint_release(client->endpoint);
        }
        if (client->pace != NULL) {
            cml_pace_release(client->pace);
        }
    }
    cml_credentials_release(client->credentials);
    free(client->host_header);
    free(client->region);
    free(client->service);
    free(client->header_arena);
    free(client->headers);
    free(client);
    cml_live_add(CML_LIVE_CLIENTS, -1);
}

struct cml_client *cml_client_new(const struct cml_client_options *options) {
    struct cml_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return NULL;
    }
    cml_live_add(CML_LIVE_CLIENTS, 1);
    atomic_init(&client->refs, 1);
    client->generation = cml_runtime_generation();
    client->host_header = s_copy(options->host_header);
    client->region = s_copy(options->region);
    client->service = s_copy(options->service);
    client->sign_payload = options->sign_payload;
    client->auth = options->auth;
    client->hedge = options->hedge;
    client->stall_ns = options->stall_timeout_ms * 1000000ull;
    client->total_ns = options->total_timeout_ms * 1000000ull;
    client->retry_timeout_ns = options->retry_timeout_ms * 1000000ull;
    client->max_retries = options->max_retries;
    client->backoff_init_ms = options->backoff_init_ms;
    client->backoff_max_ms = options->backoff_max_ms;
    client->backoff_base = options->backoff_base;
    client->credentials = options->credentials;
    if (client->credentials != NULL) {
        cml_credentials_acquire(client->credentials);
    }
    client->endpoint = cml_endpoint_get(options);
    if (client->endpoint == NULL || !s_copy_headers(client, options)) {
        s_destroy(client);
        return NULL;
    }
    client->pace = cml_pace_get(options->pace_key != NULL ? options->pace_key : options->key);
    return client;
}

void cml_client_acquire(struct cml_client *client) {
    atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
}

void cml_client_release(struct cml_client *client) {
    if (client != NULL && atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) == 1) {
        s_destroy(client);
    }
}

void cml_client_stats(struct cml_client *client, struct cml_client_stats *out) {
    out->requests = atomic_load_explicit(&client->requests, memory_order_relaxed);
    out->attempts = atomic_load_explicit(&client->attempts, memory_order_relaxed);
    out->retries = atomic_load_explicit(&client->retries, memory_order_relaxed);
    out->errors = atomic_load_explicit(&client->errors, memory_order_relaxed);
    out->throttled = atomic_load_explicit(&client->throttled, memory_order_relaxed);
    out->hedges = atomic_load_explicit(&client->hedges, memory_order_relaxed);
    out->hedges_won = atomic_load_explicit(&client->hedges_won, memory_order_relaxed);
    out->bytes_received = atomic_load_explicit(&client->bytes_received, memory_order_relaxed);
    out->bytes_sent = atomic_load_explicit(&client->bytes_sent, memory_order_relaxed);
    out->connections_opened = atomic_load_explicit(&client->endpoint->connections_opened, memory_order_relaxed);
}

int cml_last_crt_error(void) {
    return aws_last_error();
}

/* ---- making a request ---- */

struct cml_request *cml_request_new(struct cml_client *client, const char *method, const char *path, size_t path_len) {
    struct cml_request *request = calloc(1, sizeof(*request));
    size_t cap = path_len + 256;
    char *arena = malloc(cap);
    if (request == NULL || arena == NULL || strlen(method) >= sizeof(request->method)) {
        free(request);
        free(arena);
        return NULL;
    }
    atomic_init(&request->refs, 1);
    request->generation = client->generation;
    request->client = client;
    cml_client_acquire(client);
    strcpy(request->method, method);
    request->is_head = strcmp(method, "HEAD") == 0;
    request->arena = arena;
    request->arena_cap = cap;
    memcpy(arena, path, path_len);
    request->arena_len = request->path_len = path_len;
    request->sink = CML_SINK_COLLECT;
    request->collect_limit = (uint64_t)64 << 20;
    request->body_fd = -1;
    request->pieces = request->own_pieces;
    request->piece_slots = CML_PIECES;
    pthread_mutex_init(&request->lock, NULL);
    atomic_init(&request->lock_generation, cml_runtime_generation());
    cml_link_init(&request->live_link);
    cml_link_init(&request->wait_link);
    cml_link_init(&request->pace_link);
    cml_link_init(&request->credentials_link);
    cml_live_add(CML_LIVE_REQUESTS, 1);
    return request;
}

static bool s_arena_reserve(struct cml_request *request, size_t more) {
    if (request->arena_len + more <= request->arena_cap) {
        return true;
    }
    size_t cap = (request->arena_len + more) * 2;
    char *grown = realloc(request->arena, cap);
    if (grown == NULL) {
        return false;
    }
    request->arena = grown;
    request->arena_cap = cap;
    return true;
}

static bool s_headers_reserve(struct cml_request *request) {
    if (request->header_count < request->header_cap) {
        return true;
    }
    uint32_t cap = request->header_cap > 0 ? 2 * request->header_cap : 8;
    struct cml_header_at *grown = realloc(request->headers, cap * sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    request->headers = grown;
    request->header_cap = cap;
    return true;
}

void cml_request_add_header(struct cml_request *request, const char *name, size_t name_len, const char *value,
                            size_t value_len) {
    if (!s_headers_reserve(request) || !s_arena_reserve(request, name_len + value_len)) {
        abort(); /* as the CRT does when memory is out: a request must not go out without its header */
    }
    uint32_t at = (uint32_t)request->arena_len;
    memcpy(request->arena + at, name, name_len);
    memcpy(request->arena + at + name_len, value, value_len);
    request->headers[request->header_count].name = at;
    request->headers[request->header_count].name_len = (uint32_t)name_len;
    request->headers[request->header_count].value = at + (uint32_t)name_len;
    request->headers[request->header_count].value_len = (uint32_t)value_len;
    request->header_count++;
    request->arena_len += name_len + value_len;
}

void cml_request_set_range(struct cml_request *request, enum cml_range kind, uint64_t start, uint64_t end) {
    request->range = kind;
    request->range_from = start;
    request->range_to = end;
}

void cml_request_set_flags(struct cml_request *request, uint32_t flags) {
    request->flags = flags;
}

void cml_request_add_flags(struct cml_request *request, uint32_t flags) {
    request->flags |= flags;
}

void cml_request_set_timeout(struct cml_request *request, uint64_t total_ms) {
    request->total_ns = total_ms * 1000000ull;
}

bool cml_request_set_body_memory(struct cml_request *request, const struct cml_bytes *spans, uint32_t count) {
    struct cml_bytes *own = count <= 1 ? &request->own_span : calloc(count, sizeof(*own));
    if (own == NULL) {
        return false;
    }
    memcpy(own, spans, count * sizeof(*own));
    request->body_spans = own;
    request->body_span_count = count;
    request->body_length = 0;
    for (uint32_t i = 0; i < count; ++i) {
        request->body_length += own[i].length;
    }
    return true;
}

bool cml_request_signs_payload(const struct cml_request *request) {
    return cml_signs(request) && request->client->sign_payload;
}

bool cml_request_set_payload_sha256(struct cml_request *request, const char *hex) {
    free(request->payload_sha256);
    request->payload_sha256 = strdup(hex);
    return request->payload_sha256 != NULL;
}

void cml_request_set_body_file(struct cml_request *request, int fd, uint64_t offset, uint64_t length) {
    request->body_fd = fd;
    request->body_offset = offset;
    request->body_length = length;
}

void cml_request_set_sink(struct cml_request *request, enum cml_sink sink, uint64_t collect_limit) {
    request->sink = sink;
    request->collect_limit = collect_limit;
}

void cml_request_set_user_data(struct cml_request *request, void *user_data) {
    request->user_data = user_data;
}

void *cml_request_user_data(const struct cml_request *request) {
    return request->user_data;
}

/* Small requests go to the first shard that is not full: a few busy connections on one loop cost less than the same
 * spread over many. Large uploads go where the least is under way: their hashing and encryption want processors. */
static struct cml_shard *s_choose_shard(const struct cml_request *request) {
    const struct cml_endpoint *endpoint = request->client->endpoint;
    struct cml_shard *shards = endpoint->runtime->shards, *least = &shards[0];
    bool large = request->body_length >= LARGE ||
                 (request->range == CML_RANGE_BOUNDED && request->range_to - request->range_from >= LARGE);
    uint32_t fewest = UINT32_MAX;
    for (uint32_t i = 0; i < endpoint->shard_count; ++i) {
        uint32_t busy = atomic_load_explicit(&shards[i].in_flight, memory_order_relaxed);
        if (busy < FULL_SHARD && !large) {
            return &shards[i];
        }
        if (busy < fewest) {
            fewest = busy;
            least = &shards[i];
        }
    }
    return least;
}

/* A loop that waits for a disk keeps all its requests waiting. */
static void s_read_ahead(const struct cml_request *request) {
    if (request->body_length >= LARGE && request->body_span_count == 0) {
        cml_disk_read_ahead(request->body_fd, request->body_offset, request->body_length);
    }
}

/* False when it has no shard of its own and is under way already. */
static bool s_give_to_shard(struct cml_request *request, struct cml_queue *queue) {
    request->queue = queue;
    cml_queue_acquire(queue);
    if (request->bulk != NULL) {
        cml_bulk_submit(request);
        return false;
    }
    request->shard = s_choose_shard(request);
    request->started_ns = cml_now_ns(); /* its turn, when it has to wait for one, comes by that */
    atomic_fetch_add_explicit(&request->shard->in_flight, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&request->client->requests, 1, memory_order_relaxed);
    if (request->flags & CML_FLAG_CLEAN_UP) {
        atomic_fetch_add(&request->client->endpoint->runtime->cleaning_up, 1);
    }
    cml_request_acquire(request); /* the engine's reference; twin: cml_request_conclude */
    return true;
}

void cml_request_submit(struct cml_request *request, struct cml_queue *queue) {
    if (s_give_to_shard(request, queue)) {
        s_read_ahead(request);
        cml_shard_post(request, CML_MSG_SUBMIT);
    }
}

static void s_turn_until_news(struct aws_event_loop *loop, const struct cml_queue *queue, int timeout_ms) {
    uint64_t until = cml_now_ns() + (uint64_t)timeout_ms * 1000000ull;
    int left_ms = timeout_ms;
    while (!cml_queue_has_news(queue) && left_ms > 0 && cml_loop_turn(loop, left_ms)) {
        uint64_t now = cml_now_ns();
        left_ms = now < until ? (int)((until - now + 999999) / 1000000) : 0;
    }
}

bool cml_request_submit_and_wait(struct cml_request *request, struct cml_queue *queue, int timeout_ms) {
    if (!s_give_to_shard(request, queue)) {
        return cml_queue_wait_in_turn(queue, timeout_ms);
    }
    struct aws_event_loop *loop = request->shard->loop;
    /* Not for a large upload: the loop's thread does its hashing and writing beside this one. */
    bool leads = request->body_length < LARGE && cml_loop_lead(loop);
    s_read_ahead(request);
    cml_shard_post(request, CML_MSG_SUBMIT);
    if (!leads) {
        return cml_queue_wait_in_turn(queue, timeout_ms);
    }
    s_turn_until_news(loop, queue, timeout_ms);
    cml_loop_leave(loop);
    return cml_queue_has_news(queue);
}

void cml_request_acquire(struct cml_request *request) {
    atomic_fetch_add_explicit(&request->refs, 1, memory_order_relaxed);
}

void cml_request_release(struct cml_request *request) {
    if (atomic_fetch_sub_explicit(&request->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    cml_live_add(CML_LIVE_REQUESTS, -1);
    cml_response_free(&request->response);
    cml_response_free(&request->current);
    cml_sum_stop(&request->sum);
    cml_buffer_release(request->collected);
    cml_buffer_release(request->prefetched);
    cml_file_free(request->file);
    free(request->spill);
    free(request->payload_sha256);
    if (request->body_spans != &request->own_span) {
        free((void *)request->body_spans);
    }
    if (request->pieces != request->own_pieces) {
        free(request->pieces);
    }
    free(request->error_body);
    free(request->headers);
    free(request->arena);
    cml_bulk_free(request->bulk);
    pthread_mutex_destroy(&request->lock);
    cml_queue_release(request->queue);
    cml_client_release(request->client);
    free(request);
}

void cml_request_cancel(struct cml_request *request) {
    cml_request_revoke(request);
    if (request->generation != cml_runtime_generation()) {
        return;
    }
    cml_request_lock(request);
    bool finished = request->finished;
    pthread_mutex_unlock(&request->lock);
    if (finished) {
        return; /* results are often let go before the note of their end is drained: no reason to wake the loop */
    }
    if (request->bulk != NULL) {
        cml_bulk_cancel(request);
    } else if (request->shard != NULL) {
        cml_shard_post(request, CML_MSG_CANCEL);
    }
}

/* ---- reading the outcome ---- */

static void s_view(const struct cml_response *response, struct cml_response_view *out) {
    out->status = response->status;
    out->headers = response->headers;
    out->headers_len = response->len;
    out->content_length = response->content_length;
    out->has_range = response->has_range;
    out->range_start = response->range_start;
    out->range_end = response->range_end;
    out->total = response->total;
}

void cml_request_response(struct cml_request *request, struct cml_response_view *out) {
    s_view(&request->response, out);
}

void cml_request_failure(struct cml_request *request, struct cml_response_view *out, const char **body, size_t *len) {
    s_view(&request->current, out);
    *body = request->error_body;
    *len = request->error_len;
}

struct cml_buffer *cml_request_prefetched(struct cml_request *request) {
    if (request->prefetched != NULL) {
        cml_buffer_acquire(request->prefetched);
    }
    return request->prefetched;
}

struct cml_buffer *cml_request_take_body(struct cml_request *request) {
    struct cml_buffer *body = request->collected;
    request->collected = NULL;
    return body;
}
