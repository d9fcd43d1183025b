/* Who gets a connection (loop thread).
 *
 * Limits are divided among the shards, so that no lock is shared. Connections come in two kinds, with and without flow
 * control, since aws-c-http fixes that when it connects; waiting requests likewise.
 *
 * Law: whenever a connection comes, goes, fails or falls idle, a response pauses or a request starts to wait,
 * cml_endpoint_pump runs. It serves the oldest waiter, opens connections for waiters, makes room (an idle connection of
 * the other kind or of another endpoint, or that of a paused response), or knows that a busy one will come back. Who
 * has waited for FAIR_NS comes before those whose kind or endpoint happens to have the connection.
 */
#include "internal.h"

#include <stdlib.h>

#define FAIR_NS 100000000ull /* switching costs a connect: no connection changes hands more often than that */
#define NO_FDS_WAIT_NS 50000000ull
#define PAUSE_NS 20000000ull /* a consumer that is about to read has begun by then */

static bool s_shard_is_full(const struct cml_shard *shard) {
    return shard->connections >= shard->most_connections;
}

/* ---- leaving: connections whose place will be free in a moment ---- */

static void s_set_leaving(struct cml_connection *connection, bool leaving) {
    if (connection->leaving != leaving) {
        connection->leaving = leaving;
        connection->home->leaving += leaving ? 1 : -1;
        connection->home->shard->leaving += leaving ? 1 : -1;
    }
}

static void s_drop_idle(struct cml_connection *connection) {
    cml_link_remove(&connection->idle_link);
    s_set_leaving(connection, true);
    struct aws_http_connection *http = connection->http;
    connection->http = NULL;
    aws_http_connection_release(http); /* shuts it down; cml_endpoint_connection_gone follows */
}

/* Also frees it: all that happens to a connection ends here. */
void cml_endpoint_connection_gone(struct cml_connection *connection) {
    struct cml_endpoint_shard *home = connection->home;
    struct cml_endpoint *endpoint = home->endpoint;
    s_set_leaving(connection, false);
    cml_socket_leave(connection);
    home->open--;
    home->shard->connections--;
    cml_link_remove(&connection->idle_link);
    free(connection);
    cml_live_add(CML_LIVE_CONNECTIONS, -1);
    if (home->open == 0 && home->waiting_count[0] + home->waiting_count[1] == 0) {
        cml_link_remove(&home->link);
    }
    cml_endpoint_pump(home);
    cml_endpoint_release(endpoint);
}

/* ---- serving ---- */

static bool s_serve(struct cml_endpoint_shard *home, int kind) {
    if (cml_link_empty(&home->waiting[kind]) || cml_link_empty(&home->idle[kind])) {
        return false;
    }
    struct cml_request *request = CML_CONTAINER_OF(home->waiting[kind].next, struct cml_request, wait_link);
    if (atomic_load_explicit(&request->messages, memory_order_relaxed) & CML_MSG_CANCEL) {
        cml_dispatch(request, CML_ON_CANCEL); /* its letter is in the inbox behind what brought us here */
        return true;
    }
    struct cml_connection *connection = CML_CONTAINER_OF(home->idle[kind].next, struct cml_connection, idle_link);
    if (!aws_http_connection_new_requests_allowed(connection->http)) {
        s_drop_idle(connection); /* the server closed it a moment ago */
        return true;
    }
    cml_link_remove(&connection->idle_link);
    cml_request_acquire(request);
    cml_endpoint_unwait(request);
    request->connection = connection;
    cml_dispatch(request, CML_ON_CONNECTION);
    cml_request_release(request);
    return true;
}

/* One that its own waiters have not had for long is not given to others: it would be dropped before it was used. */
static bool s_drop_one_idle(struct cml_endpoint_shard *home, int kind) {
    if (cml_link_empty(&home->idle[kind])) {
        return false;
    }
    struct cml_connection *oldest = CML_CONTAINER_OF(home->idle[kind].prev, struct cml_connection, idle_link);
    if (home->waiting_count[kind] > 0 && oldest->born_ns + FAIR_NS > cml_now_ns()) {
        return false;
    }
    s_drop_idle(oldest);
    return true;
}

static bool s_evict_one(struct cml_endpoint_shard *home) {
    if (cml_link_empty(&home->paused)) {
        return false;
    }
    struct cml_request *paused = CML_CONTAINER_OF(home->paused.next, struct cml_request, wait_link);
    if (paused->progress_ns + PAUSE_NS > cml_now_ns()) {
        cml_shard_sweep_by(home->shard, paused->progress_ns + PAUSE_NS);
        return false;
    }
    cml_link_remove(&paused->wait_link);
    if (!cml_is_resumable(paused) && !cml_body_forget(paused)) {
        return s_evict_one(home); /* its consumer has come meanwhile, and what that gets can't be gone on with */
    }
    s_set_leaving(paused->connection, true);
    cml_dispatch(paused, CML_ON_EVICT);
    return true;
}

/* Gives up something unused so that a waiter may have its place, which comes when the shutdown is through. */
static void s_make_room(struct cml_endpoint_shard *home, int kind) {
    bool full = s_shard_is_full(home->shard);
    if ((full ? home->shard->leaving : home->leaving) > 0 || s_drop_one_idle(home, !kind)) {
        return;
    }
    struct cml_link *all = &home->shard->endpoints;
    for (struct cml_link *link = all->next; full && link != all; link = link->next) {
        struct cml_endpoint_shard *other = CML_CONTAINER_OF(link, struct cml_endpoint_shard, link);
        if (other != home && (s_drop_one_idle(other, 0) || s_drop_one_idle(other, 1))) {
            return;
        }
    }
    if (s_evict_one(home)) {
        return;
    }
    for (struct cml_link *link = all->next; full && link != all; link = link->next) {
        if (s_evict_one(CML_CONTAINER_OF(link, struct cml_endpoint_shard, link))) {
            return;
        }
    }
}

static bool s_may_connect(const struct cml_endpoint_shard *home) {
    return home->open < home->most_open && !s_shard_is_full(home->shard) && home->connect_after_ns == 0;
}

/* Since when the oldest request of that kind has waited for what is not on its way to it; UINT64_MAX when that is not
 * long yet. */
static uint64_t s_overdue(const struct cml_endpoint_shard *home, int kind, uint64_t now) {
    if (home->waiting_count[kind] == 0 || home->connecting[kind] > 0 || !cml_link_empty(&home->idle[kind])) {
        return UINT64_MAX;
    }
    uint64_t since = CML_CONTAINER_OF(home->waiting[kind].next, struct cml_request, wait_link)->waiting_since_ns;
    return since + FAIR_NS <= now ? since : UINT64_MAX;
}

static void s_pump(struct cml_endpoint_shard *home) {
    uint64_t now = cml_now_ns();
    int first = s_overdue(home, 1, now) < s_overdue(home, 0, now);
    for (int i = 0; i < 2; ++i) {
        int kind = i == 0 ? first : !first;
        while (s_serve(home, kind)) {
        }
        while (home->waiting_count[kind] > home->connecting[kind] && s_may_connect(home)) {
            cml_endpoint_connect(home, kind);
        }
        if (home->waiting_count[kind] > 0 && home->connecting[kind] == 0) {
            s_make_room(home, kind);
        }
    }
}

static void s_mark(struct cml_endpoint_shard *home) {
    if (cml_link_empty(&home->pump_link)) {
        cml_link_push_back(&home->shard->to_pump, &home->pump_link);
    }
}

static struct cml_endpoint_shard *s_next_marked(struct cml_shard *shard) {
    struct cml_endpoint_shard *next = NULL;
    uint64_t now = cml_now_ns(), oldest = UINT64_MAX;
    for (struct cml_link *link = shard->to_pump.next; link != &shard->to_pump; link = link->next) {
        struct cml_endpoint_shard *home = CML_CONTAINER_OF(link, struct cml_endpoint_shard, pump_link);
        for (int kind = 0; kind < 2; ++kind) {
            uint64_t since = s_overdue(home, kind, now);
            if (next == NULL || since < oldest) {
                next = home;
                oldest = since;
            }
        }
    }
    return next;
}

/* Never nested: what is served may fail at once and give its connection back, ten thousand times in a row. A marked
 * endpoint lives on: a request that waits or a connection holds it. */
void cml_endpoint_pump(struct cml_endpoint_shard *home) {
    s_mark(home);
    if (!home->shard->pumping) {
        cml_shard_pump(home->shard);
    }
}

void cml_shard_pump(struct cml_shard *shard) {
    if (cml_link_empty(&shard->to_pump)) {
        return;
    }
    /* With no place left, or just one that has come free, what happened here may be news for every endpoint. */
    struct cml_link *all = &shard->endpoints;
    bool scarce = shard->connections + 1 >= shard->most_connections;
    for (struct cml_link *link = all->next; scarce && link != all; link = link->next) {
        struct cml_endpoint_shard *other = CML_CONTAINER_OF(link, struct cml_endpoint_shard, link);
        if (other->waiting_count[0] + other->waiting_count[1] > 0) {
            s_mark(other);
        }
    }
    shard->pumping = true;
    for (struct cml_endpoint_shard *next; (next = s_next_marked(shard)) != NULL;) {
        cml_link_remove(&next->pump_link);
        s_pump(next);
    }
    shard->pumping = false;
}

/* ---- waiting, giving back, growing old ---- */

void cml_endpoint_wait(struct cml_request *request) {
    struct cml_endpoint_shard *home = &request->client->endpoint->shards[request->shard->index];
    int kind = request->sink == CML_SINK_STREAM;
    if (cml_link_empty(&home->link)) {
        cml_link_push_back(&home->shard->endpoints, &home->link);
    }
    request->waiting_since_ns = cml_now_ns();
    cml_link_push_back(&home->waiting[kind], &request->wait_link);
    home->waiting_count[kind]++;
}

void cml_endpoint_unwait(struct cml_request *request) {
    struct cml_endpoint_shard *home = &request->client->endpoint->shards[request->shard->index];
    cml_link_remove(&request->wait_link);
    home->waiting_count[request->sink == CML_SINK_STREAM]--;
    if (home->open == 0 && home->waiting_count[0] + home->waiting_count[1] == 0) {
        cml_link_remove(&home->link); /* nothing here holds the endpoint any more */
    }
}

void cml_endpoint_now_idle(struct cml_connection *connection) {
    struct cml_endpoint_shard *home = connection->home;
    s_set_leaving(connection, false);
    connection->idle_since_ns = cml_now_ns();
    cml_link_push_front(&home->idle[connection->windowed], &connection->idle_link);
    if (home->endpoint->idle_timeout_ms != 0) {
        cml_shard_sweep_by(home->shard,
                           connection->idle_since_ns + (uint64_t)home->endpoint->idle_timeout_ms * 1000000ull);
    }
    cml_endpoint_pump(home);
}

static bool s_enough_idle(const struct cml_endpoint_shard *home) {
    if (home->most_idle == UINT32_MAX || home->waiting_count[0] + home->waiting_count[1] > 0) {
        return false;
    }
    uint32_t idle = 0;
    for (int kind = 0; kind < 2; ++kind) {
        for (const struct cml_link *link = home->idle[kind].next; link != &home->idle[kind]; link = link->next) {
            idle++;
        }
    }
    return idle >= home->most_idle;
}

void cml_endpoint_give_back(struct cml_connection *connection, bool reusable) {
    connection->current = NULL;
    if (reusable && aws_http_connection_new_requests_allowed(connection->http) &&
        !s_enough_idle(connection->home)) {
        connection->served++;
        cml_endpoint_now_idle(connection);
    } else {
        s_drop_idle(connection);
    }
}

/* The process has no descriptor left: those who wait go on with the connections there are, if there are any, and new
 * ones are tried in a while. */
bool cml_endpoint_wait_for_descriptors(struct cml_endpoint_shard *home) {
    uint32_t coming = home->connecting[0] + home->connecting[1] + home->leaving;
    if (home->open <= coming + 1) { /* one is the connection that failed */
        return false;
    }
    home->connect_after_ns = cml_now_ns() + NO_FDS_WAIT_NS;
    cml_shard_sweep_by(home->shard, home->connect_after_ns);
    return true;
}

void cml_endpoint_sweep(struct cml_endpoint_shard *home, uint64_t now_ns, uint64_t *next_ns) {
    uint64_t limit = (uint64_t)home->endpoint->idle_timeout_ms * 1000000ull;
    for (int kind = 0; kind < 2 && limit != 0; ++kind) {
        /* The list's end is the longest idle. */
        while (!cml_link_empty(&home->idle[kind])) {
            struct cml_connection *oldest =
                CML_CONTAINER_OF(home->idle[kind].prev, struct cml_connection, idle_link);
            if (oldest->idle_since_ns + limit > now_ns) {
                *next_ns = oldest->idle_since_ns + limit < *next_ns ? oldest->idle_since_ns + limit : *next_ns;
                break;
            }
            s_drop_idle(oldest);
        }
    }
    if (!cml_link_empty(&home->paused)) {
        s_mark(home); /* it may have been paused long enough to make room for others */
    }
    if (home->connect_after_ns > now_ns) {
        *next_ns = home->connect_after_ns < *next_ns ? home->connect_after_ns : *next_ns;
    } else if (home->connect_after_ns != 0) {
        home->connect_after_ns = 0;
        s_mark(home);
    }
}
