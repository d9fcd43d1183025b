/* Which of a host's addresses a new connection goes to.
 *
 * The CRT's resolver asks the name server again each second while a host is in use, forgets an address 30 s after it was
 * last named, sets those aside that have refused a connection, and hands out the others in turn. Two things are added:
 *
 * - Each process begins somewhere else: name servers and libc give one order to all. With randomize_addresses off it is
 *   the order of the name server instead, and the first address that works: such endpoints have a resolver of their own,
 *   which is told one address of a family at a time.
 * - A connection that finds no one listening tries the other addresses before anybody is told.
 *
 * Resolver threads call the resolve functions; all else runs on loops. What they share is under s_lock.
 */
#include "internal.h"
#include "log.h"

#include <aws/common/device_random.h>
#include <aws/common/string.h>
#include <aws/io/host_resolver.h>
#include <aws/io/io.h>
#include <stdlib.h>
#include <string.h>

#define FORGET_FAILURES_NS 30000000000ull

/* ---- the order ---- */

static int s_resolve_shuffled(struct aws_allocator *alloc, const struct aws_string *host, struct aws_array_list *out,
                              void *user_data) {
    if (aws_default_dns_resolve(alloc, host, out, user_data) != AWS_OP_SUCCESS) {
        return AWS_OP_ERR;
    }
    for (size_t left = aws_array_list_length(out); left > 1; --left) {
        uint64_t random = 0;
        aws_device_random_u64(&random);
        size_t chosen = (size_t)(random % left);
        if (chosen != left - 1) {
            aws_array_list_swap(out, chosen, left - 1);
        }
    }
    return AWS_OP_SUCCESS;
}

/* A host whose addresses are used in their order; kept for the life of the process. */
struct s_in_order {
    struct s_in_order *next;
    char *host;
    uint32_t skipped; /* addresses of each family at the front that failed */
    uint32_t most;    /* addresses of the family that has more */
    uint64_t failed_ns;
};
static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static struct s_in_order *s_hosts; /* under s_lock, with all in it */

static struct s_in_order *s_host(const char *name) {
    struct s_in_order *host = s_hosts;
    while (host != NULL && strcmp(host->host, name) != 0) {
        host = host->next;
    }
    if (host == NULL) {
        host = calloc(1, sizeof(*host));
        host->host = strdup(name);
        host->next = s_hosts;
        s_hosts = host;
    }
    return host;
}

static uint32_t s_count_family(const struct aws_array_list *all, enum aws_address_record_type family) {
    uint32_t count = 0;
    for (size_t i = 0; i < aws_array_list_length(all); ++i) {
        struct aws_host_address *address = NULL;
        aws_array_list_get_at_ptr(all, (void **)&address, i);
        count += address->record_type == family;
    }
    return count;
}

/* Leaves the one of the family whose turn it is. */
static void s_keep_one(struct aws_array_list *all, enum aws_address_record_type family, uint32_t skipped) {
    uint32_t count = s_count_family(all, family), at = 0;
    for (size_t i = 0; i < aws_array_list_length(all);) {
        struct aws_host_address *address = NULL;
        aws_array_list_get_at_ptr(all, (void **)&address, i);
        if (address->record_type == family && at++ != skipped % count) {
            aws_host_address_clean_up(address);
            aws_array_list_erase(all, i);
        } else {
            ++i;
        }
    }
}

static int s_resolve_in_order(struct aws_allocator *alloc, const struct aws_string *name, struct aws_array_list *out,
                              void *user_data) {
    if (aws_default_dns_resolve(alloc, name, out, user_data) != AWS_OP_SUCCESS) {
        return AWS_OP_ERR;
    }
    uint32_t a = s_count_family(out, AWS_ADDRESS_RECORD_TYPE_A);
    uint32_t aaaa = s_count_family(out, AWS_ADDRESS_RECORD_TYPE_AAAA);
    pthread_mutex_lock(&s_lock);
    struct s_in_order *host = s_host(aws_string_c_str(name));
    if (host->failed_ns + FORGET_FAILURES_NS < cml_now_ns()) {
        host->skipped = 0; /* the first may work again */
    }
    host->most = a > aaaa ? a : aaaa;
    uint32_t skipped = host->skipped;
    pthread_mutex_unlock(&s_lock);
    s_keep_one(out, AWS_ADDRESS_RECORD_TYPE_A, skipped);
    s_keep_one(out, AWS_ADDRESS_RECORD_TYPE_AAAA, skipped);
    return AWS_OP_SUCCESS;
}

/* ---- both resolvers ---- */

static int s_start(struct cml_runtime *runtime, struct cml_resolver *resolver, aws_resolve_host_implementation_fn *how) {
    struct aws_host_resolver_default_options options = {.max_entries = 64, .el_group = runtime->loops};
    resolver->crt = aws_host_resolver_new_default(runtime->alloc, &options);
    if (resolver->crt == NULL) {
        return AWS_OP_ERR;
    }
    struct aws_host_resolution_config config = aws_host_resolver_init_default_resolution_config();
    config.impl = how;
    struct aws_client_bootstrap_options bootstrap = {
        .event_loop_group = runtime->loops,
        .host_resolver = resolver->crt,
        .host_resolution_config = &config,
    };
    resolver->bootstrap = aws_client_bootstrap_new(runtime->alloc, &bootstrap);
    return resolver->bootstrap != NULL ? AWS_OP_SUCCESS : AWS_OP_ERR;
}

int cml_resolvers_start(struct cml_runtime *runtime) {
    if (s_start(runtime, &runtime->resolvers[CML_SPREAD], s_resolve_shuffled) != AWS_OP_SUCCESS) {
        return AWS_OP_ERR;
    }
    return s_start(runtime, &runtime->resolvers[CML_IN_ORDER], s_resolve_in_order);
}

void cml_resolvers_drop(struct cml_runtime *runtime) {
    for (int i = 0; i < 2; ++i) {
        if (runtime->resolvers[i].bootstrap != NULL) {
            aws_client_bootstrap_release(runtime->resolvers[i].bootstrap);
        }
        if (runtime->resolvers[i].crt != NULL) {
            aws_host_resolver_release(runtime->resolvers[i].crt);
        }
    }
}

void cml_resolvers_after_fork_in_child(void) {
    pthread_mutex_init(&s_lock, NULL); /* a thread of the parent's may hold it; its list is then of unknown shape */
    s_hosts = NULL;
}

/* ---- the next address ---- */

static const char *s_dialled(const struct cml_endpoint *endpoint) {
    return endpoint->proxy_host != NULL ? endpoint->proxy_host : endpoint->host;
}

static bool s_nobody_listens(int error_code) {
    switch (error_code) {
        case AWS_IO_SOCKET_CONNECTION_REFUSED:
        case AWS_IO_SOCKET_TIMEOUT:
        case AWS_IO_SOCKET_NO_ROUTE_TO_HOST:
        case AWS_IO_SOCKET_NETWORK_DOWN:
        case AWS_IO_SOCKET_CONNECT_ABORTED:
            return true;
        default:
            return false;
    }
}

/* The address that failed is skipped from here on, if no other connection has seen to that; so is what the resolver keeps.
 * That ends questions which are under way: they are asked again. */
static uint32_t s_left_in_order(struct cml_runtime *runtime, struct cml_connection *connection, struct aws_string *name,
                                bool was_asked_in_vain) {
    pthread_mutex_lock(&s_lock);
    struct s_in_order *host = s_host(aws_string_c_str(name));
    bool first = connection->skipped == host->skipped && !was_asked_in_vain;
    host->failed_ns = first ? cml_now_ns() : host->failed_ns;
    host->skipped += first;
    connection->skipped = host->skipped;
    uint32_t left = host->most > 0 ? host->most - !was_asked_in_vain : 0;
    pthread_mutex_unlock(&s_lock);
    if (first) {
        struct aws_host_resolver_purge_host_options purge = {.host = name};
        aws_host_resolver_purge_host_cache(runtime->resolvers[CML_IN_ORDER].crt, &purge);
    }
    return left;
}

void cml_resolver_begin(struct cml_connection *connection) {
    const struct cml_endpoint *endpoint = connection->home->endpoint;
    if (endpoint->order == CML_IN_ORDER) {
        pthread_mutex_lock(&s_lock);
        connection->skipped = s_host(s_dialled(endpoint))->skipped;
        pthread_mutex_unlock(&s_lock);
    }
}

bool cml_resolver_has_another(struct cml_connection *connection, int error_code) {
    struct cml_endpoint *endpoint = connection->home->endpoint;
    struct cml_runtime *runtime = endpoint->runtime;
    bool in_vain = endpoint->order == CML_IN_ORDER && error_code == AWS_IO_DNS_QUERY_FAILED;
    if ((!in_vain && !s_nobody_listens(error_code)) || connection->tls_error != 0) {
        return false;
    }
    struct aws_string *name = aws_string_new_from_c_str(runtime->alloc, s_dialled(endpoint));
    size_t left = endpoint->order == CML_IN_ORDER
                      ? s_left_in_order(runtime, connection, name, in_vain)
                      : aws_host_resolver_get_host_address_count(runtime->resolvers[CML_SPREAD].crt, name,
                                                                 AWS_GET_HOST_ADDRESS_COUNT_RECORD_TYPE_A |
                                                                     AWS_GET_HOST_ADDRESS_COUNT_RECORD_TYPE_AAAA);
    aws_string_destroy(name);
    if (connection->tries++ == 0) { /* in order, each may have been skipped by others while it asked */
        connection->addresses = (endpoint->order == CML_IN_ORDER ? 2 : 1) * (uint32_t)left + 1;
    }
    return left > 0 && connection->tries < connection->addresses;
}
