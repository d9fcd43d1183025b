/* Endpoints: the connections to one scheme, host, port, proxy and set of TLS options, spread over the shards.
 *
 * Owns the connections and the queues of requests that wait for one. Limits are divided among the shards, so that no
 * lock is shared: all of a cml_endpoint_shard happens on its loop's thread. Who gets a connection is serve.c's.
 */
#include "bulk.h"
#include "log.h"

#include <aws/http/proxy.h>
#include <aws/io/socket.h>
#ifndef __APPLE__
#    include <s2n.h>
#endif
#include <stdlib.h>
#include <string.h>

#define TLS_ROOM_BYTES (8 << 10) /* for a request's head, and what records are wrapped in */

/* ---- making and sharing ---- */

/* s2n gives each record of 8 KiB to the socket by itself unless its buffer has room for more. aws-c-io has no option for
 * it; its context begins like this (s2n_tls_channel_handler.c). */
static void s_gather_records(struct aws_tls_ctx *ctx) {
#ifndef __APPLE__
    struct {
        struct aws_tls_ctx base;
        struct s2n_config *config;
    } *s2n = ctx->impl;
    s2n_config_set_send_buffer_size(s2n->config, CML_TLS_WRITE_BYTES + TLS_ROOM_BYTES);
#else
    (void)ctx;
#endif
}

static struct aws_tls_ctx *s_tls_ctx(bool verify, const char *ca_pem, size_t ca_pem_len) {
    struct aws_allocator *alloc = cml_runtime->alloc;
    struct aws_tls_ctx_options ctx_options;
    aws_tls_ctx_options_init_default_client(&ctx_options, alloc);
    aws_tls_ctx_options_set_minimum_tls_version(&ctx_options, AWS_IO_TLSv1_2);
    aws_tls_ctx_options_set_verify_peer(&ctx_options, verify);
    struct aws_tls_ctx *ctx = NULL;
    struct aws_byte_cursor pem = aws_byte_cursor_from_array(ca_pem, ca_pem_len);
    if (ca_pem == NULL ||
        aws_tls_ctx_options_override_default_trust_store(&ctx_options, &pem) == AWS_OP_SUCCESS) {
        ctx = aws_tls_client_ctx_new(alloc, &ctx_options);
    }
    if (ctx != NULL) {
        s_gather_records(ctx);
    }
    aws_tls_ctx_options_clean_up(&ctx_options);
    return ctx;
}

static int s_tls_options(struct aws_tls_connection_options *out, struct aws_tls_ctx *ctx, const char *host,
                         uint32_t timeout_ms) {
    aws_tls_connection_options_init_from_ctx(out, ctx);
    struct aws_byte_cursor name = aws_byte_cursor_from_c_str(host);
    out->timeout_ms = timeout_ms;
    return aws_tls_connection_options_set_server_name(out, cml_runtime->alloc, &name);
}

static char *s_copy(const char *text) {
    return text != NULL ? strdup(text) : NULL;
}

static int s_fill_tls(struct cml_endpoint *endpoint, const struct cml_client_options *options) {
    if (options->tls) {
        endpoint->tls_ctx = s_tls_ctx(options->tls_verify, options->ca_pem, options->ca_pem_len);
        if (endpoint->tls_ctx == NULL || s_tls_options(&endpoint->tls_options, endpoint->tls_ctx, endpoint->host,
                                                       options->connect_timeout_ms) != AWS_OP_SUCCESS) {
            return AWS_OP_ERR;
        }
        endpoint->tls = true;
    }
    if (options->proxy_host != NULL && options->proxy_tls) {
        endpoint->proxy_tls_ctx = s_tls_ctx(options->tls_verify, options->proxy_ca_pem, options->proxy_ca_pem_len);
        if (endpoint->proxy_tls_ctx == NULL ||
            s_tls_options(&endpoint->proxy_tls_options, endpoint->proxy_tls_ctx, options->proxy_host,
                          options->connect_timeout_ms) != AWS_OP_SUCCESS) {
            return AWS_OP_ERR;
        }
        endpoint->proxy_tls = true;
    }
    return AWS_OP_SUCCESS;
}

static void s_destroy(struct cml_endpoint *endpoint) {
    cml_bulk_clients_release(endpoint->bulk);
    if (endpoint->tls_ctx != NULL) {
        aws_tls_connection_options_clean_up(&endpoint->tls_options);
        aws_tls_ctx_release(endpoint->tls_ctx);
    }
    if (endpoint->proxy_tls_ctx != NULL) {
        aws_tls_connection_options_clean_up(&endpoint->proxy_tls_options);
        aws_tls_ctx_release(endpoint->proxy_tls_ctx);
    }
    for (uint32_t i = 0; i < endpoint->runtime->shard_count; ++i) {
        free(endpoint->shards[i].hedging);
    }
    free(endpoint->key);
    free(endpoint->host);
    free(endpoint->proxy_host);
    free(endpoint->proxy_user);
    free(endpoint->proxy_password);
    free(endpoint);
}

static uint32_t s_share(uint32_t limit, uint32_t shards, uint32_t index) {
    return limit == UINT32_MAX ? limit : limit / shards + (index < limit % shards);
}

static void s_init_shards(struct cml_endpoint *endpoint, struct cml_runtime *runtime, uint32_t limit, uint32_t idle) {
    endpoint->shard_count = limit < runtime->shard_count ? limit : runtime->shard_count;
    for (uint32_t i = 0; i < runtime->shard_count; ++i) {
        struct cml_endpoint_shard *home = &endpoint->shards[i];
        home->endpoint = endpoint;
        home->shard = &runtime->shards[i];
        if (i < endpoint->shard_count) {
            home->most_open = s_share(limit, endpoint->shard_count, i);
            home->most_idle = s_share(idle, endpoint->shard_count, i);
        }
        cml_link_init(&home->pump_link);
        cml_link_init(&home->link);
        cml_link_init(&home->paused);
        for (int kind = 0; kind < 2; ++kind) {
            cml_link_init(&home->idle[kind]);
            cml_link_init(&home->waiting[kind]);
        }
    }
}

static struct cml_endpoint *s_new(const struct cml_client_options *options) {
    struct cml_runtime *runtime = cml_runtime;
    struct cml_endpoint *endpoint =
        calloc(1, sizeof(*endpoint) + runtime->shard_count * sizeof(struct cml_endpoint_shard));
    atomic_init(&endpoint->refs, 1);
    endpoint->runtime = runtime;
    endpoint->key = s_copy(options->key);
    endpoint->host = s_copy(options->host);
    endpoint->port = options->port;
    endpoint->proxy_host = s_copy(options->proxy_host);
    endpoint->proxy_user = s_copy(options->proxy_user);
    endpoint->proxy_password = s_copy(options->proxy_password);
    endpoint->proxy_port = options->proxy_port;
    endpoint->order = options->in_order ? CML_IN_ORDER : CML_SPREAD;
    endpoint->connect_timeout_ms = options->connect_timeout_ms;
    endpoint->idle_timeout_ms = options->idle_timeout_ms;
    s_init_shards(endpoint, runtime, options->max_connections > 0 ? options->max_connections : 1, options->max_idle);
    if (s_fill_tls(endpoint, options) != AWS_OP_SUCCESS) {
        s_destroy(endpoint);
        return NULL;
    }
    return endpoint;
}

struct cml_endpoint *cml_endpoint_get(const struct cml_client_options *options) {
    struct cml_runtime *runtime = cml_runtime;
    pthread_mutex_lock(&runtime->endpoints_lock);
    struct cml_endpoint *endpoint = runtime->endpoints;
    while (endpoint != NULL && strcmp(endpoint->key, options->key) != 0) {
        endpoint = endpoint->next;
    }
    if (endpoint != NULL) {
        atomic_fetch_add(&endpoint->refs, 1);
    } else {
        endpoint = s_new(options);
        if (endpoint != NULL) {
            endpoint->next = runtime->endpoints;
            runtime->endpoints = endpoint;
        }
    }
    pthread_mutex_unlock(&runtime->endpoints_lock);
    return endpoint;
}

void cml_endpoint_release(struct cml_endpoint *endpoint) {
    struct cml_runtime *runtime = endpoint->runtime;
    pthread_mutex_lock(&runtime->endpoints_lock); /* so that no cml_endpoint_get finds it on its way out */
    bool last = atomic_fetch_sub(&endpoint->refs, 1) == 1;
    if (last) {
        struct cml_endpoint **link = &runtime->endpoints;
        while (*link != endpoint) {
            link = &(*link)->next;
        }
        *link = endpoint->next;
    }
    pthread_mutex_unlock(&runtime->endpoints_lock);
    if (last) {
        s_destroy(endpoint);
    }
}

/* ---- connections (loop thread) ---- */

static void _on_connection_shutdown(struct aws_http_connection *http, int error_code, void *user_data) {
    (void)error_code;
    struct cml_connection *connection = user_data;
    bool held = connection->http != NULL; /* the server closed it while it was idle */
    cml_endpoint_connection_gone(connection); /* no stream is left: aws-c-http completes them before this */
    if (held) {
        aws_http_connection_release(http);
    }
}

static void s_dial(struct cml_connection *connection);

/* What a plain port does: it takes the ClientHello for nonsense, says so in plain text, which s2n reads as the head of a
 * long record, and closes. */
static bool s_never_shook_hands(const struct cml_endpoint *endpoint) {
    return endpoint->tls && endpoint->proxy_host == NULL &&
           atomic_load_explicit(&endpoint->connections_opened, memory_order_relaxed) == 0;
}

static void s_connect_failed(struct cml_connection *connection, int error_code) {
    struct cml_endpoint_shard *home = connection->home;
    int error = cml_error_from_crt(error_code, true);
    if (error != CML_ERR_DNS) {
        atomic_store_explicit(&home->endpoint->found, true, memory_order_relaxed);
    } else if (error_code == AWS_IO_DNS_QUERY_FAILED &&
               atomic_load_explicit(&home->endpoint->found, memory_order_relaxed)) {
        error = CML_ERR_CONNECT; /* the resolver has addresses, and all of them have just refused others */
    }
    if (cml_resolver_has_another(connection, error_code)) {
        CML_LOG(CML_LOG_INFO, "an address of %s:%u: %s: trying another", home->endpoint->host, home->endpoint->port,
                aws_error_name(error_code));
        s_dial(connection);
        return;
    }
    CML_LOG(CML_LOG_WARN, "no connection to %s:%u: %s", home->endpoint->host, home->endpoint->port,
            aws_error_name(error_code));
    home->connecting[connection->windowed]--;
    if (error_code == AWS_IO_SOCKET_CLOSED && s_never_shook_hands(home->endpoint)) {
        error = CML_ERR_TLS;
    }
    bool no_descriptors = error_code == AWS_ERROR_MAX_FDS_EXCEEDED && cml_endpoint_wait_for_descriptors(home);
    struct cml_link *waiting = &home->waiting[connection->windowed];
    struct cml_request *unlucky = NULL;
    if (!cml_link_empty(waiting) && !no_descriptors) {
        unlucky = CML_CONTAINER_OF(waiting->next, struct cml_request, wait_link);
        cml_request_acquire(unlucky);
        cml_endpoint_unwait(unlucky);
        cml_request_note(unlucky, error, error_code);
        cml_dispatch(unlucky, CML_ON_UNREACHABLE);
    }
    cml_endpoint_connection_gone(connection);
    if (unlucky != NULL) {
        cml_request_release(unlucky);
    }
}

struct s_setup_news {
    struct aws_task task;
    struct cml_connection *connection;
    int error_code;
};

static void _on_setup_news(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task;
    struct s_setup_news *news = arg;
    if (status == AWS_TASK_STATUS_RUN_READY) {
        s_connect_failed(news->connection, news->error_code);
    }
    free(news);
}

/* Failures may come on a resolver's thread, or inside aws_http_client_connect itself: bring them to the loop. */
static void s_post_connect_failure(struct cml_connection *connection, int error_code) {
    struct s_setup_news *news = calloc(1, sizeof(*news));
    news->connection = connection;
    news->error_code = error_code;
    aws_task_init(&news->task, _on_setup_news, news, "cumulo_connect_failed");
    aws_event_loop_schedule_task_now(connection->home->shard->loop, &news->task);
}

static void _on_connection_setup(struct aws_http_connection *http, int error_code, void *user_data) {
    struct cml_connection *connection = user_data;
    struct cml_endpoint_shard *home = connection->home;
    if (http == NULL) {
        error_code = connection->tls_error != 0 ? connection->tls_error : error_code;
        s_post_connect_failure(connection, error_code != 0 ? error_code : AWS_ERROR_UNKNOWN);
        return;
    }
    home->connecting[connection->windowed]--;
    connection->http = http;
    connection->born_ns = cml_now_ns();
    atomic_store_explicit(&home->endpoint->found, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&home->endpoint->connections_opened, 1, memory_order_relaxed);
    cml_socket_adopt(connection);
    cml_endpoint_now_idle(connection);
}

/* In a handshake's callback: it failed because the connection did, which the CRT does not tell from a bad certificate. */
static bool s_peer_left(void) {
#ifdef __APPLE__
    return false;
#else
    int type = s2n_error_get_type(s2n_errno);
    return type == S2N_ERR_T_IO || type == S2N_ERR_T_CLOSED;
#endif
}

/* The CRT says "negotiation failed" for all of them; the user wants to know which. */
static int s_why_not_trusted(int error_code) {
#ifndef __APPLE__
    static const struct {
        const char *name;
        int error;
    } known[] = {
        {"S2N_ERR_CERT_UNTRUSTED", AWS_IO_TLS_UNKNOWN_ROOT_CERTIFICATE},
        {"S2N_ERR_CERT_EXPIRED", AWS_IO_TLS_PEER_CERTIFICATE_EXPIRED},
        {"S2N_ERR_CERT_NOT_YET_VALID", AWS_IO_TLS_CERTIFICATE_NOT_YET_VALID},
        {"S2N_ERR_CERT_INVALID_HOSTNAME", AWS_IO_TLS_HOST_NAME_MISMATCH},
        {"S2N_ERR_CERT_REVOKED", AWS_IO_TLS_PEER_CERTIFICATE_REVOKED},
    };
    const char *name = s2n_strerror_name(s2n_errno);
    for (size_t i = 0; name != NULL && i < sizeof(known) / sizeof(known[0]); ++i) {
        if (strcmp(name, known[i].name) == 0) {
            return known[i].error;
        }
    }
#endif
    return error_code;
}

/* After a failed handshake s2n would keep the connection for ten to thirty seconds, to tell an attacker nothing by the
 * time it takes. A client has nothing to hide there: closed as if by the peer, it is gone at once. */
static void _on_negotiated(struct aws_channel_handler *handler, struct aws_channel_slot *slot, int error_code,
                           void *user_data) {
    (void)handler;
    struct cml_connection *connection = user_data;
    if (error_code != 0) {
        connection->tls_error = s_peer_left() ? 0 : s_why_not_trusted(error_code);
        aws_channel_shutdown(slot->channel, AWS_IO_SOCKET_CLOSED);
    }
}

static struct aws_tls_connection_options s_told_of_failure(const struct aws_tls_connection_options *options,
                                                           struct cml_connection *connection) {
    struct aws_tls_connection_options told = *options; /* shallow: whoever keeps it copies it */
    told.on_negotiation_result = _on_negotiated;
    told.user_data = connection;
    return told;
}

void cml_endpoint_proxy_options(const struct cml_endpoint *endpoint, struct aws_http_proxy_options *proxy) {
    AWS_ZERO_STRUCT(*proxy);
    proxy->connection_type = endpoint->tls ? AWS_HPCT_HTTP_TUNNEL : AWS_HPCT_HTTP_FORWARD;
    proxy->host = aws_byte_cursor_from_c_str(endpoint->proxy_host);
    proxy->port = endpoint->proxy_port;
    if (endpoint->proxy_user != NULL) {
        proxy->auth_type = AWS_HPAT_BASIC;
        proxy->auth_username = aws_byte_cursor_from_c_str(endpoint->proxy_user);
        proxy->auth_password = aws_byte_cursor_from_c_str(endpoint->proxy_password ? endpoint->proxy_password : "");
    }
}

void cml_endpoint_connect(struct cml_endpoint_shard *home, bool windowed) {
    struct cml_endpoint *endpoint = home->endpoint;
    struct cml_connection *connection = calloc(1, sizeof(*connection));
    connection->home = home;
    connection->windowed = windowed;
    cml_link_init(&connection->idle_link);
    atomic_fetch_add(&endpoint->refs, 1);
    home->open++;
    home->connecting[windowed]++;
    home->shard->connections++;
    cml_live_add(CML_LIVE_CONNECTIONS, 1);
    s_dial(connection);
}

static void s_dial(struct cml_connection *connection) {
    struct cml_endpoint_shard *home = connection->home;
    struct cml_endpoint *endpoint = home->endpoint;
    cml_resolver_begin(connection);
    struct aws_socket_options socket = {
        .type = AWS_SOCKET_STREAM,
        .domain = AWS_SOCKET_IPV4,
        .connect_timeout_ms = endpoint->connect_timeout_ms,
        .keepalive = true,
        .tcp_nodelay = AWS_SOCKET_TCP_NODELAY_ON,
    };
    /* One read may fill it: smaller, and a body comes in more and smaller reads. */
    struct aws_http1_connection_options http1 = {.read_buffer_capacity = CML_READ_BUFFER_BYTES};
    struct aws_http_proxy_options proxy;
    struct aws_http_client_connection_options options = AWS_HTTP_CLIENT_CONNECTION_OPTIONS_INIT;
    options.allocator = endpoint->runtime->alloc;
    options.bootstrap = endpoint->runtime->resolvers[endpoint->order].bootstrap;
    options.host_name = aws_byte_cursor_from_c_str(endpoint->host);
    options.port = endpoint->port;
    options.socket_options = &socket;
    struct aws_tls_connection_options tls, proxy_tls;
    if (endpoint->tls) {
        tls = s_told_of_failure(&endpoint->tls_options, connection);
        options.tls_options = &tls;
    }
    if (endpoint->proxy_host != NULL) {
        cml_endpoint_proxy_options(endpoint, &proxy);
        if (endpoint->proxy_tls) {
            proxy_tls = s_told_of_failure(&endpoint->proxy_tls_options, connection);
            proxy.tls_options = &proxy_tls;
        }
        options.proxy_options = &proxy;
    }
    options.http1_options = &http1;
    options.manual_window_management = connection->windowed;
    options.initial_window_size = connection->windowed ? CML_SPILL_BYTES : SIZE_MAX;
    options.requested_event_loop = home->shard->loop;
    options.user_data = connection;
    options.on_setup = _on_connection_setup;
    options.on_shutdown = _on_connection_shutdown;
    if (aws_http_client_connect(&options) != AWS_OP_SUCCESS) {
        s_post_connect_failure(connection, aws_last_error());
    }
}
