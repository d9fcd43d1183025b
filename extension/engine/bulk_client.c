/* The clients of aws-c-s3: made when a bulk job first needs one, shared by all stores that reach an endpoint alike.
 *
 * aws-c-s3 knows endpoints within a client by their host's name only, so there is one client for each of our endpoints
 * (scheme, host, port, TLS context, proxy, connection limits) and each set of timeouts and retries. Region, service and
 * keys come with each job. A client has threads of its own, five on two event loops: few is good. It goes when its
 * endpoint goes; its end is aws-c-s3's own business, on its own threads, and nobody waits for it.
 *
 * Also: where jobs find their credentials. Our snapshots, at each signature; S3 Express sessions are made by our own
 * refresher and only passed on.
 */
#include "bulk.h"

#include <aws/http/proxy.h>
#include <aws/s3/s3express_credentials_provider.h>
#include <stdlib.h>

#define GBPS 40.0                          /* only sets how many connections there may be: 100 */
#define LEAST_MEMORY ((uint64_t)256 << 20) /* aws-c-s3 takes no less; our pool decides */
#define CREDENTIALS_POLL_NS 20000000ull

struct cml_bulk_client {
    struct cml_bulk_client *next;
    uint64_t stall_ns;
    uint32_t max_retries, backoff_init_ms, backoff_max_ms;
    bool s3express;
    struct aws_s3_client *s3;
};

/* Held while a client is made, which may take a second on some EC2 instances: jobs come here from Python's threads. */
static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- S3 Express: the snapshot is a session's already ---- */

static int s_pass_on(struct aws_s3express_credentials_provider *provider, const struct aws_credentials *original,
                     const struct aws_credentials_properties_s3express *properties,
                     aws_on_get_credentials_callback_fn callback, void *user_data) {
    (void)provider, (void)properties;
    callback((struct aws_credentials *)original, AWS_ERROR_SUCCESS, user_data);
    return AWS_OP_SUCCESS;
}

static void s_express_destroy(struct aws_s3express_credentials_provider *provider) {
    aws_simple_completion_callback *done = provider->shutdown_complete_callback;
    void *user_data = provider->shutdown_user_data;
    aws_mem_release(provider->allocator, provider);
    if (done != NULL) {
        done(user_data);
    }
}

static struct aws_s3express_credentials_provider_vtable s_express_vtable = {
    .get_credentials = s_pass_on,
    .destroy = s_express_destroy,
};

static struct aws_s3express_credentials_provider *s_express_new(struct aws_allocator *alloc,
                                                                struct aws_s3_client *client,
                                                                aws_simple_completion_callback *on_shutdown,
                                                                void *shutdown_user_data, void *user_data) {
    (void)client, (void)user_data;
    struct aws_s3express_credentials_provider *provider = aws_mem_calloc(alloc, 1, sizeof(*provider));
    aws_s3express_credentials_provider_init_base(provider, alloc, &s_express_vtable, NULL);
    provider->shutdown_complete_callback = on_shutdown;
    provider->shutdown_user_data = shutdown_user_data;
    return provider;
}

/* ---- making one ---- */

static uint32_t s_connections(const struct cml_endpoint *endpoint) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < endpoint->shard_count; ++i) {
        most += endpoint->shards[i].most_open;
    }
    return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

static void s_retries(const struct cml_client *client, struct aws_s3_client_config *config) {
    config->retry_config.max_retries = client->max_retries;
    config->retry_config.backoff_scale_factor_ms = client->backoff_init_ms > 0 ? client->backoff_init_ms : 1;
    config->retry_config.max_backoff_secs = (client->backoff_max_ms + 999) / 1000;
    config->retry_config.retry_mode =
        client->max_retries > 0 ? AWS_S3_RETRY_MODE_EXPONENTIAL_BACKOFF : AWS_S3_RETRY_MODE_NONE;
}

static struct aws_s3_client *s_s3_client_new(struct cml_client *client) {
    struct cml_endpoint *endpoint = client->endpoint;
    struct cml_runtime *runtime = endpoint->runtime;
    /* Each job brings its own keys; a client has to have some. */
    struct aws_credentials *nobody = aws_credentials_new_anonymous(runtime->alloc);
    struct aws_signing_config_aws signing = {.credentials = nobody, .algorithm = AWS_SIGNING_ALGORITHM_V4};
    struct aws_http_proxy_options proxy;
    struct proxy_env_var_settings no_environment = {.env_var_type = AWS_HPEV_DISABLE};
    uint64_t stall_s = client->stall_ns / 1000000000ull;
    struct aws_http_connection_monitoring_options monitoring = {
        .minimum_throughput_bytes_per_second = client->stall_ns > 0 ? 1 : 0,
        .allowable_throughput_failure_interval_seconds = stall_s < 2 ? 2 : (uint32_t)stall_s,
    };
    struct aws_s3_client_config config = {
        .max_active_connections_override = s_connections(endpoint),
        .client_bootstrap = runtime->resolvers[CML_SPREAD].bootstrap,
        .tls_mode = endpoint->tls ? AWS_MR_TLS_ENABLED : AWS_MR_TLS_DISABLED,
        .tls_connection_options = endpoint->tls ? &endpoint->tls_options : NULL,
        .signing_config = &signing,
        .part_size = (uint64_t)8 << 20,
        .throughput_target_gbps = GBPS,
        .memory_limit_in_bytes = LEAST_MEMORY,
        .max_part_size = (uint64_t)5 << 30,
        .proxy_ev_settings = &no_environment,
        .connect_timeout_ms = endpoint->connect_timeout_ms,
        .monitoring_options = &monitoring,
        .buffer_pool_factory_fn = cml_bulk_pool_new,
        .enable_s3express = client->auth == CML_AUTH_S3EXPRESS,
        .s3express_provider_override_factory = s_express_new,
    };
    s_retries(client, &config);
    if (endpoint->proxy_host != NULL) {
        cml_endpoint_proxy_options(endpoint, &proxy);
        proxy.tls_options = endpoint->proxy_tls ? &endpoint->proxy_tls_options : NULL;
        config.proxy_options = &proxy;
    }
    struct aws_s3_client *s3 = aws_s3_client_new(runtime->alloc, &config);
    aws_credentials_release(nobody);
    return s3;
}

static bool s_suits(const struct cml_bulk_client *bulk, const struct cml_client *client) {
    return bulk->stall_ns == client->stall_ns && bulk->max_retries == client->max_retries &&
           bulk->backoff_init_ms == client->backoff_init_ms && bulk->backoff_max_ms == client->backoff_max_ms &&
           bulk->s3express == (client->auth == CML_AUTH_S3EXPRESS);
}

/* Under lock. */
static struct cml_bulk_client *s_find(const struct cml_client *client) {
    struct cml_bulk_client *bulk = client->endpoint->bulk;
    while (bulk != NULL && !s_suits(bulk, client)) {
        bulk = bulk->next;
    }
    return bulk;
}

/* Under lock. */
static struct cml_bulk_client *s_add(struct cml_client *client) {
    struct aws_s3_client *s3 = s_s3_client_new(client);
    if (s3 == NULL) {
        return NULL;
    }
    struct cml_bulk_client *bulk = aws_mem_calloc(aws_default_allocator(), 1, sizeof(*bulk));
    bulk->stall_ns = client->stall_ns;
    bulk->max_retries = client->max_retries;
    bulk->backoff_init_ms = client->backoff_init_ms;
    bulk->backoff_max_ms = client->backoff_max_ms;
    bulk->s3express = client->auth == CML_AUTH_S3EXPRESS;
    bulk->s3 = s3;
    bulk->next = client->endpoint->bulk;
    client->endpoint->bulk = bulk;
    return bulk;
}

struct aws_s3_client *cml_bulk_client_get(struct cml_client *client) {
    pthread_mutex_lock(&s_lock);
    struct cml_bulk_client *bulk = s_find(client);
    if (bulk == NULL) {
        bulk = s_add(client);
    }
    pthread_mutex_unlock(&s_lock);
    return bulk != NULL ? bulk->s3 : NULL;
}

bool cml_client_bulk_is_ready(struct cml_client *client) {
    if (pthread_mutex_trylock(&s_lock) != 0) {
        return false;
    }
    bool made = s_find(client) != NULL;
    pthread_mutex_unlock(&s_lock);
    return made;
}

void cml_bulk_clients_release(struct cml_bulk_client *first) {
    while (first != NULL) {
        struct cml_bulk_client *next = first->next;
        aws_s3_client_release(first->s3);
        aws_mem_release(aws_default_allocator(), first);
        first = next;
    }
}

void cml_bulk_clients_after_fork_in_child(void) {
    pthread_mutex_init(&s_lock, NULL);
}

/* ---- credentials ---- */

struct s_wait { /* a signature that waits for a refresher; looks again every few milliseconds */
    struct aws_task task;
    struct aws_event_loop *loop;
    struct cml_request *request; /* referenced */
    aws_on_get_credentials_callback_fn *callback;
    void *user_data;
};

static void s_look_later(struct s_wait *wait) {
    aws_event_loop_schedule_task_future(wait->loop, &wait->task, cml_now_ns() + CREDENTIALS_POLL_NS);
}

/* True when the callback was called. */
static bool s_try(struct cml_request *request, aws_on_get_credentials_callback_fn *callback, void *user_data) {
    struct aws_credentials *credentials = NULL;
    uint64_t publication = 0;
    switch (cml_credentials_get(request->client->credentials, NULL, &credentials, &publication)) {
        case CML_HAVE_CREDENTIALS:
            atomic_store_explicit(&request->bulk->publication, publication, memory_order_relaxed);
            callback(credentials, AWS_ERROR_SUCCESS, user_data);
            aws_credentials_release(credentials);
            return true;
        case CML_NO_CREDENTIALS:
            callback(NULL, AWS_AUTH_CREDENTIALS_PROVIDER_DELEGATE_FAILURE, user_data);
            return true;
        default:
            return false;
    }
}

static void _on_look(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task;
    struct s_wait *wait = arg;
    cml_request_lock(wait->request);
    bool stopped = wait->request->bulk->stopped || status != AWS_TASK_STATUS_RUN_READY;
    pthread_mutex_unlock(&wait->request->lock);
    if (stopped) {
        wait->callback(NULL, AWS_ERROR_S3_CANCELED, wait->user_data);
    } else if (!s_try(wait->request, wait->callback, wait->user_data)) {
        s_look_later(wait);
        return;
    }
    cml_request_release(wait->request);
    aws_mem_release(aws_default_allocator(), wait);
}

static int s_get_credentials(void *delegate, aws_on_get_credentials_callback_fn callback, void *user_data) {
    struct cml_request *request = delegate;
    if (s_try(request, callback, user_data)) {
        return AWS_OP_SUCCESS;
    }
    struct s_wait *wait = aws_mem_calloc(aws_default_allocator(), 1, sizeof(*wait));
    cml_request_acquire(request); /* twin: _on_look */
    wait->request = request;
    wait->callback = callback;
    wait->user_data = user_data;
    wait->loop = request->client->endpoint->runtime->shards[0].loop;
    aws_task_init(&wait->task, _on_look, wait, "cumulo_bulk_credentials");
    s_look_later(wait);
    return AWS_OP_SUCCESS;
}

static void _on_provider_gone(void *user_data) {
    cml_request_release(user_data); /* twin: cml_bulk_credentials_new */
}

struct aws_credentials_provider *cml_bulk_credentials_new(struct cml_request *request) {
    struct aws_credentials_provider_delegate_options options = {
        .shutdown_options = {.shutdown_callback = _on_provider_gone, .shutdown_user_data = request},
        .get_credentials = s_get_credentials,
        .delegate_user_data = request,
    };
    cml_request_acquire(request);
    return aws_credentials_provider_new_delegate(request->client->endpoint->runtime->alloc, &options);
}
